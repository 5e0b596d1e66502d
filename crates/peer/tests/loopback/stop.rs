//! Stopping with work under way.

use crate::node::{PATIENCE, answering, deaf, echo, node, pair, part, within};
use futures::FutureExt;
use model::NodeId;
use peer::codec::frame::FrameKind;
use peer::{Lane, NotSent, Options, PeerError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[tokio::test]
async fn our_calls_fail_and_nothing_is_taken_any_more() {
    let (one, _two) = pair(deaf(), Options { requests_in_flight_max: 3, ..Options::default() }).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    one.set_address(NodeId(3), nobody.local_addr().unwrap());
    within(async {
        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.push(one.send(NodeId(2), 0, Lane::Append, part("x")).await.unwrap());
        }
        while one.counts().requests_sent < 3 {
            tokio::task::yield_now().await;
        }
        let without_a_place = one.call(NodeId(2), 0, Lane::Append, part("y"), PATIENCE);
        let unconnected = one.send(NodeId(3), 0, Lane::Append, part("z")).await.unwrap();
        let mut waiting = std::pin::pin!(without_a_place);
        assert!(waiting.as_mut().now_or_never().is_none());
        one.stop().await;
        for reply in sent {
            assert_eq!(reply.await, Err(PeerError::Disconnected));
        }
        assert_eq!(unconnected.await, Err(NotSent::Stopped.into()));
        assert_eq!(waiting.await, Err(NotSent::Stopped.into()));
        for to in [2, 3] {
            for lane in Lane::ALL {
                let late = one.call(NodeId(to), 0, lane, part("late"), PATIENCE).await;
                assert_eq!(late, Err(NotSent::Stopped.into()));
            }
        }
        one.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_started_for_others_may_end() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let handler = answering(move |_, _, request| {
        let (release, released) = oneshot::channel::<()>();
        started.send(release).unwrap();
        Box::pin(async move {
            released.await.unwrap();
            Ok(vec![request])
        })
    });
    let (one, two) = pair(handler, Options { drain_timeout: PATIENCE, ..Options::default() }).await;
    within(async {
        let reply = one.send(NodeId(2), 0, Lane::Append, part("x")).await.unwrap();
        let release = starts.recv().await.unwrap();
        let mut stopping = std::pin::pin!(two.stop());
        assert!(stopping.as_mut().now_or_never().is_none());
        // Ended by an event, not by time: the call is answered, the other side closes.
        let ((), answer) = futures::future::join(stopping, async {
            release.send(()).unwrap();
            reply.await
        })
        .await;
        assert_eq!(answer.unwrap(), "x");
        let error = one.call(NodeId(2), 0, Lane::Append, part("y"), PATIENCE).await.unwrap_err();
        assert!(matches!(error, PeerError::NotSent(_)), "{error}");
    })
    .await;
}

#[tokio::test]
async fn work_that_does_not_end_is_dropped_in_time() {
    let options = Options { drain_timeout: Duration::from_millis(50), ..Options::default() };
    let (one, two) = pair(deaf(), options).await;
    within(async {
        let reply = one.send(NodeId(2), 0, Lane::Append, part("x")).await.unwrap();
        while two.counts().requests_received == 0 {
            tokio::task::yield_now().await;
        }
        two.stop().await;
        assert_eq!(reply.await, Err(PeerError::Disconnected));
    })
    .await;
}

/// The other side says which requests it has started, and the others can be repeated elsewhere.
#[tokio::test]
async fn who_goes_away_says_what_was_not_started() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = node(1, echo()).await;
    one.set_address(NodeId(2), listener.local_addr().unwrap());
    within(async {
        let send = || one.send(NodeId(2), 0, Lane::Append, part("x"));
        let replies = [send().await.unwrap(), send().await.unwrap(), send().await.unwrap()];
        let mut stranger = crate::stranger::Stranger::accept(&listener).await;
        stranger.receive().await.unwrap();
        stranger.send(&crate::stranger::frame(FrameKind::GoAway, 1, b"")).await;
        let [first, second, third] = replies;
        assert_eq!(second.await, Err(NotSent::GoingAway.into()));
        assert_eq!(third.await, Err(NotSent::GoingAway.into()));
        stranger.send(&crate::stranger::frame(FrameKind::Response, 1, b"last")).await;
        assert_eq!(first.await.unwrap(), "last");
        stranger.closed().await;
        // The next call is for the next connection.
        let next = send().await.unwrap();
        let mut stranger = crate::stranger::Stranger::accept(&listener).await;
        assert_eq!(stranger.receive().await.unwrap().id, 1);
        drop(stranger);
        assert_eq!(next.await, Err(PeerError::Disconnected));
    })
    .await;
}

#[tokio::test]
async fn dropping_without_stopping_cuts_everything() {
    let (one, two) = pair(deaf(), Options::default()).await;
    within(async {
        let from_one = one.send(NodeId(2), 0, Lane::Append, part("x")).await.unwrap();
        let from_two = two.send(NodeId(1), 0, Lane::Append, part("x")).await.unwrap();
        assert_eq!(from_two.await.unwrap(), "x");
        drop(two);
        assert!(from_one.await.is_err());
        drop(one);
    })
    .await;
}
