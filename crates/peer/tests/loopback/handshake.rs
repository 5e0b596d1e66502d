//! Who is let in.

use crate::node::{CLUSTER, PATIENCE, any_port, echo, node, node_with, part, within};
use crate::stranger::{Stranger, hello};
use model::NodeId;
use peer::codec::greeting::Versions;
use peer::{Identity, Lane, NotSent, Options, PeerError, Peers, Verdict, identify};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpListener;

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
        assert_eq!((two.counts().refused, two.counts().requests_received), (3, 0));
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
        let (_, answer) =
            Stranger::dial(two.address(), peer::codec::hello::Hello { lane: 77, ..hello(Lane::Bulk) }).await;
        assert_eq!(answer.outcome, Err(Verdict::UnknownLane));
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
        assert_eq!(two.counts().refused, 2);
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
        assert_eq!(two.counts().refused, 3);
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
        let identity = identify(two.address(), PATIENCE).await;
        assert_eq!(identity, Ok(Identity { cluster: CLUSTER, node: NodeId(2) }));
        assert_eq!((two.counts().refused, two.counts().accepted), (0, 0));
        let address = two.address();
        two.stop().await;
        assert_eq!(identify(address, PATIENCE).await, Err(NotSent::Unreachable(ErrorKind::ConnectionRefused)));
    })
    .await;
}
