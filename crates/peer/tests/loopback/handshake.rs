//! Who is let in.

use crate::node::{CLUSTER, PATIENCE, any_port, echo, node, node_with, part, within};
use crate::stranger::{Stranger, hello};
use bytes::Bytes;
use model::NodeId;
use peer::codec::greeting::{GREETING_BYTES, SECRET_BYTES, Versions};
use peer::{Identity, Lane, NotSent, Options, PeerError, Peers, Refusal, Secret, Verdict, identify};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

fn refused(verdict: Verdict) -> PeerError {
    PeerError::NotSent(NotSent::Refused(verdict))
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let two = node(2, echo()).await;
    let other = Peers::start(NodeId(1), CLUSTER + 1, any_port(), echo(), Options::default()).await.unwrap();
    other.set_address(NodeId(2), two.address());
    within(async {
        for lane in Lane::ALL {
            let error = other.call(NodeId(2), 0, lane, part("x"), PATIENCE).await.unwrap_err();
            assert_eq!(error, refused(Verdict::OtherCluster));
            assert!(error.to_string().contains("another cluster"), "{error}");
        }
        assert_eq!((two.counts().refused(), two.counts().requests_received), (3, 0));
        assert_eq!(two.counts().refused_for(Refusal::Cluster), 3);
    })
    .await;
}

#[tokio::test]
async fn another_node_at_the_address_is_noticed() {
    let two = node(2, echo()).await;
    let one = node(1, echo()).await;
    one.set_address(NodeId(3), two.address());
    let error = within(one.call(NodeId(3), 0, Lane::Bulk, part("x"), PATIENCE)).await;
    assert_eq!(error, Err(refused(Verdict::OtherNode)));
    assert_eq!(two.counts().refused_for(Refusal::Node), 1);
}

#[tokio::test]
async fn versions_are_negotiated() {
    let two = node(2, echo()).await;
    within(async {
        let speaking =
            |oldest, newest| peer::codec::hello::Hello { versions: Versions { oldest, newest }, ..hello(Lane::Bulk) };
        let (_, answer) = Stranger::dial(two.address(), speaking(1, 7)).await;
        assert_eq!(answer.outcome, Ok(1));
        let (mut newer, answer) = Stranger::dial(two.address(), speaking(2, 7)).await;
        assert_eq!((answer.outcome, answer.versions), (Err(Verdict::NoCommonVersion), Versions::OURS));
        newer.closed().await;
        let (mut older, answer) = Stranger::dial(two.address(), speaking(0, 0)).await;
        assert_eq!((answer.outcome, answer.versions), (Err(Verdict::NoCommonVersion), Versions::OURS));
        older.closed().await;
        let (_, answer) =
            Stranger::dial(two.address(), peer::codec::hello::Hello { lane: 77, ..hello(Lane::Bulk) }).await;
        assert_eq!(answer.outcome, Err(Verdict::UnknownLane));
        assert_eq!([Refusal::Version, Refusal::Lane].map(|why| two.counts().refused_for(why)), [2, 1]);
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_or_half_a_word_is_cut() {
    let options = Options { handshake_timeout: Duration::from_millis(50), ..Options::default() };
    let two = node_with(2, echo(), options).await;
    within(async {
        let mut silent = Stranger::connect(two.address()).await;
        silent.closed().await;
        let mut halting = Stranger::connect(two.address()).await;
        halting.send(&hello(Lane::Bulk).encode()[..60]).await;
        halting.closed().await;
        assert_eq!((two.counts().refused(), two.counts().refused_for(Refusal::Slow)), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn strangers_who_say_nothing_do_not_keep_others_out() {
    let options = Options { handshake_timeout: Duration::from_millis(200), ..Options::default() };
    let two = node_with(2, echo(), options).await;
    let one = node(1, echo()).await;
    one.set_address(NodeId(2), two.address());
    within(async {
        let mut silent = Vec::new();
        for _ in 0..3 * peer::limit::HANDSHAKES_MAX {
            silent.push(Stranger::connect(two.address()).await);
        }
        assert_eq!(one.call(NodeId(2), 0, Lane::Control, part("x"), PATIENCE).await.unwrap(), "x");
    })
    .await;
}

#[tokio::test]
async fn another_protocol_is_cut_at_its_first_words() {
    let two = node(2, echo()).await;
    within(async {
        for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], &[0; 200]] {
            let mut stranger = Stranger::connect(two.address()).await;
            stranger.send(words).await;
            stranger.closed().await;
        }
        assert_eq!([Refusal::Garbage, Refusal::Insecure].map(|why| two.counts().refused_for(why)), [2, 1]);
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { handshake_timeout: Duration::from_millis(50), ..Options::default() };
    let one = node_with(1, echo(), options).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    let error = within(one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE)).await;
    assert_eq!(error, Err(NotSent::Unreachable(ErrorKind::TimedOut).into()));
}

#[tokio::test]
async fn who_is_there_can_be_asked() {
    let two = node(2, echo()).await;
    within(async {
        let identity = identify(two.address(), None, PATIENCE).await;
        assert_eq!(identity, Ok(Identity { cluster: CLUSTER, node: NodeId(2) }));
        assert_eq!((two.counts().refused(), two.counts().accepted), (0, 0));
        let address = two.address();
        two.stop().await;
        assert_eq!(identify(address, None, PATIENCE).await, Err(NotSent::Unreachable(ErrorKind::ConnectionRefused)));
    })
    .await;
}

fn knowing(secret: &[u8]) -> Options {
    Options { secret: Some(Secret::new(secret)), handshake_timeout: Duration::from_secs(1), ..Options::default() }
}

#[tokio::test]
async fn who_knows_the_secret_is_let_in_and_nobody_else() {
    let two = node_with(2, echo(), knowing(b"right")).await;
    within(async {
        let ask = async |options: Options| {
            let one = node_with(1, echo(), options).await;
            one.set_address(NodeId(2), two.address());
            let answer = one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE).await;
            one.stop().await;
            answer
        };
        assert_eq!(ask(knowing(b"right")).await.unwrap(), "x");
        assert_eq!(ask(knowing(b"wrong")).await, Err(refused(Verdict::OtherSecret)));
        assert_eq!(ask(Options::default()).await, Err(refused(Verdict::OneSidedSecret)));
        assert_eq!(ask(knowing(b"right")).await.unwrap(), "x");
        assert_eq!((two.counts().requests_received, two.counts().refused_for(Refusal::Secret)), (2, 2));
        // Who it is may be asked without: a node that is to join needs to know.
        assert!(identify(two.address(), None, PATIENCE).await.is_ok());
    })
    .await;
}

/// What a node that knows the secret is told that calls who is at `address`.
async fn told(address: SocketAddr) -> Result<Bytes, PeerError> {
    let one = node_with(1, echo(), knowing(b"right")).await;
    one.set_address(NodeId(2), address);
    let answer = within(one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE)).await;
    one.stop().await;
    answer
}

#[tokio::test]
async fn a_node_without_the_secret_says_so() {
    let two = node(2, echo()).await;
    assert_eq!(told(two.address()).await, Err(refused(Verdict::OneSidedSecret)));
    assert_eq!((two.counts().accepted, two.counts().refused()), (0, 1));
}

#[tokio::test]
async fn whoever_does_not_prove_the_secret_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (error, mut liar) = tokio::join!(told(address), Stranger::accept(&listener));
    assert_eq!(error, Err(refused(Verdict::OtherSecret)));
    // Not a byte more than the hello.
    assert_eq!(liar.stream.read_u8().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// A conversation of two that know the secret, heard by a third: the hello, the answer and the proof.
async fn overheard(address: SocketAddr) -> [Vec<u8>; 3] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let listening = async {
        let (mut one, mut two) = (listener.accept().await.unwrap().0, TcpStream::connect(address).await.unwrap());
        let hello = pass(&mut one, &mut two, GREETING_BYTES).await;
        let answer = pass(&mut two, &mut one, GREETING_BYTES).await;
        let proof = pass(&mut one, &mut two, SECRET_BYTES).await;
        copy_bidirectional(&mut one, &mut two).await.unwrap();
        [hello, answer, proof]
    };
    let (answer, heard) = within(async { tokio::join!(told(between), listening) }).await;
    assert_eq!(answer.unwrap(), "x");
    heard
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).await.unwrap();
    to.write_all(&bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn what_was_overheard_is_of_no_use() {
    let two = node_with(2, echo(), knowing(b"right")).await;
    let [hello, answer, proof] = overheard(two.address()).await;
    assert_eq!(two.counts().accepted, 1);

    // As the answer to another hello.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replaying = async {
        let mut one = listener.accept().await.unwrap().0;
        one.read_exact(&mut [0; GREETING_BYTES]).await.unwrap();
        one.write_all(&answer).await.unwrap();
        one
    };
    let (error, _one) = tokio::join!(told(listener.local_addr().unwrap()), replaying);
    assert_eq!(error, Err(refused(Verdict::OtherSecret)));

    // As the same hello and its proof.
    within(async {
        let mut stranger = Stranger::connect(two.address()).await;
        stranger.send(&hello).await;
        stranger.stream.read_exact(&mut [0; GREETING_BYTES]).await.unwrap();
        stranger.send(&proof).await;
        stranger.closed().await;
    })
    .await;
    assert_eq!((two.counts().accepted, two.counts().refused()), (1, 1));
}

#[tokio::test]
async fn who_claims_to_be_another_and_proves_nothing_does_not_take_its_place() {
    let two = node_with(2, echo(), knowing(b"right")).await;
    let one = node_with(1, echo(), knowing(b"right")).await;
    one.set_address(NodeId(2), two.address());
    within(async {
        assert_eq!(one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE).await.unwrap(), "x");
        let liar = peer::codec::hello::Hello { from: NodeId(1), nonce: [7; 32], ..hello(Lane::Bulk) };
        for proof in [[0; 32], [9; 32]] {
            let (mut stranger, answer) = Stranger::dial(two.address(), liar).await;
            assert_eq!(answer.outcome, Ok(1));
            stranger.send(&proof).await;
            stranger.closed().await;
        }
        assert_eq!(two.counts().accepted, 1);
        assert_eq!(one.call(NodeId(2), 0, Lane::Bulk, part("y"), PATIENCE).await.unwrap(), "y");
        assert_eq!(one.counts().dialled, 1);
    })
    .await;
}
