//! Pings, and those who do not answer them.

use crate::node::{PATIENCE, echo, node_with, part, within};
use crate::stranger::{Stranger, frame, hello};
use model::NodeId;
use peer::codec::frame::FrameKind;
use peer::{Lane, Options, PeerError};
use std::time::Duration;
use tokio::net::TcpListener;

fn restless() -> Options {
    Options { ping_interval: Duration::from_millis(10), silence_max: Duration::from_millis(100), ..Options::default() }
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_while_pings_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = node_with(1, echo(), restless()).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        let reply = one.send(NodeId(2), 0, Lane::Bulk, part("x")).await.unwrap();
        let mut stranger = Stranger::accept(&listener).await;
        assert_eq!(stranger.receive().await.unwrap().kind, FrameKind::Request);
        // Several times what it waits in silence.
        for _ in 0..30 {
            let ping = stranger.receive().await.unwrap();
            assert_eq!(ping.kind, FrameKind::Ping);
            stranger.send(&frame(FrameKind::Pong, 0, b"")).await;
        }
        stranger.send(&frame(FrameKind::Response, 1, b"done")).await;
        assert_eq!(reply.await.unwrap(), "done");
    })
    .await;
}

#[tokio::test]
async fn who_answers_no_ping_is_dead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = node_with(1, echo(), restless()).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        let call = one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE);
        let (answer, mut stranger) = futures::future::join(call, Stranger::accept(&listener)).await;
        assert_eq!(answer, Err(PeerError::Disconnected));
        assert_eq!(one.counts().silenced, 1);
        stranger.closed().await;
    })
    .await;
}

#[tokio::test]
async fn who_lets_nothing_be_heard_is_cut() {
    let two = node_with(2, echo(), restless()).await;
    within(async {
        let (mut stranger, _) = Stranger::dial(two.address(), hello(Lane::Control)).await;
        stranger.closed().await;
        assert_eq!(two.counts().silenced, 1);
    })
    .await;
}

#[tokio::test]
async fn idle_connections_stay() {
    let one = node_with(1, echo(), restless()).await;
    let two = node_with(2, echo(), restless()).await;
    one.set_address(NodeId(2), two.address());
    within(async {
        let call = || one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE);
        assert_eq!(call().await.unwrap(), "x");
        // Time is the event here: several times the silence that would be death.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(call().await.unwrap(), "x");
        assert_eq!((one.counts().dialled, two.counts().accepted, two.counts().silenced), (1, 1, 0));
    })
    .await;
}
