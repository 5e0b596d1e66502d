//! What nobody honest would send costs a connection, and nothing else.

use crate::node::{PATIENCE, deaf, echo, node, node_with, part, within};
use crate::stranger::{Stranger, frame, hello, request};
use model::NodeId;
use peer::codec::frame::{FrameKind, Header};
use peer::limit::{BYTES_IN_FLIGHT_MAX, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use peer::{Lane, Options, PeerError, Peers};
use tokio::net::TcpListener;

async fn is_cut(two: &Peers, lane: Lane, bytes: &[u8]) {
    let before = two.counts().violations;
    let (mut stranger, answer) = Stranger::dial(two.address(), hello(lane)).await;
    assert_eq!(answer.outcome, Ok(1));
    // The node may cut the connection before it has read everything.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stranger.stream, bytes).await;
    stranger.closed().await;
    assert_eq!(two.counts().violations, before + 1);
}

fn claiming(length: usize) -> Vec<u8> {
    let header = Header { length: length as u32, kind: FrameKind::Request, id: 1, channel: 0, checksum: 0 };
    header.encode().to_vec()
}

#[tokio::test]
async fn hostile_frames_cut_their_connection_only() {
    let two = node(2, echo()).await;
    let one = node(1, echo()).await;
    one.set_address(NodeId(2), two.address());
    within(async {
        is_cut(&two, Lane::Bulk, &claiming(FRAME_BYTES_MAX + 1)).await;
        is_cut(&two, Lane::Control, &claiming(CONTROL_FRAME_BYTES_MAX + 1)).await;
        is_cut(&two, Lane::Bulk, &claiming(u32::MAX as usize)).await;
        let mut damaged = request(1, b"payload");
        damaged[30] ^= 1;
        is_cut(&two, Lane::Bulk, &damaged).await;
        is_cut(&two, Lane::Bulk, &[0xff; 100]).await;
        for kind in [FrameKind::Response, FrameKind::Error, FrameKind::Pong, FrameKind::GoAway] {
            is_cut(&two, Lane::Bulk, &frame(kind, 0, b"")).await;
        }
        is_cut(&two, Lane::Bulk, &[request(2, b"x"), request(2, b"x")].concat()).await;
        is_cut(&two, Lane::Bulk, &request(0, b"x")).await;
        assert_eq!(one.call(NodeId(2), 0, Lane::Bulk, part("fine"), PATIENCE).await.unwrap(), "fine");
    })
    .await;
}

#[tokio::test]
async fn floods_are_cut() {
    let two = node(2, deaf()).await;
    within(async {
        let many: Vec<u8> = (1..=REQUESTS_IN_FLIGHT_MAX as u64 + 1).flat_map(|id| request(id, b"")).collect();
        is_cut(&two, Lane::Append, &many).await;
        let large = vec![0; BYTES_IN_FLIGHT_MAX / 3];
        let many: Vec<u8> = (1..=4).flat_map(|id| request(id, &large)).collect();
        is_cut(&two, Lane::Append, &many).await;
    })
    .await;
}

#[tokio::test]
async fn pings_without_end_are_answered_as_fast_as_they_are_read() {
    let two = node(2, echo()).await;
    within(async {
        let (stranger, _) = Stranger::dial(two.address(), hello(Lane::Control)).await;
        let pings = frame(FrameKind::Ping, 0, b"").repeat(100_000);
        let (mut reader, mut writer) = stranger.stream.into_split();
        let writing = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &pings).await.unwrap();
            writer
        });
        let mut pongs = vec![0; 100_000 * 28];
        tokio::io::AsyncReadExt::read_exact(&mut reader, &mut pongs).await.unwrap();
        assert_eq!(pongs, frame(FrameKind::Pong, 0, b"").repeat(100_000));
        writing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_node_that_answers_nonsense_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { backoff_min: std::time::Duration::ZERO, ..Options::default() };
    let one = node_with(1, echo(), options).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    let nonsense = [
        frame(FrameKind::Response, 99, b"to what?"),
        [frame(FrameKind::Ping, 0, b"")].concat(),
        frame(FrameKind::Pong, 0, b"unasked"),
        frame(FrameKind::Request, 1, b"turned round"),
        frame(FrameKind::Error, 1, b"?"),
        vec![0xaa; 64],
    ];
    within(async {
        for (count, bytes) in nonsense.iter().enumerate() {
            let reply = one.send(NodeId(2), 0, Lane::Bulk, part("x")).await.unwrap();
            let mut stranger = Stranger::accept(&listener).await;
            stranger.receive().await.unwrap();
            stranger.send(bytes).await;
            assert_eq!(reply.await, Err(PeerError::Disconnected));
            stranger.closed().await;
            assert_eq!(one.counts().violations, count as u64 + 1);
        }
    })
    .await;
}
