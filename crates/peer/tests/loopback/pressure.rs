//! What happens when there is no room.

use crate::node::{PATIENCE, answering, echo, node, node_with, pair, part, within};
use crate::stranger::{Stranger, hello, request};
use bytes::Bytes;
use futures::FutureExt;
use model::NodeId;
use peer::{Lane, NotSent, Options, PeerError};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A handler that answers once per permit.
fn gated() -> (Arc<Semaphore>, Arc<dyn peer::Handler>) {
    let gate = Arc::new(Semaphore::new(0));
    let inside = Arc::clone(&gate);
    let handler = answering(move |_, _, request| {
        let gate = Arc::clone(&inside);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Ok(vec![request])
        })
    });
    (gate, handler)
}

#[tokio::test]
async fn a_call_waits_for_a_place_and_control_does_not() {
    let (gate, handler) = gated();
    let (one, _two) = pair(handler, Options { requests_in_flight_max: 4, ..Options::default() }).await;
    within(async {
        for lane in Lane::ALL {
            let mut replies = Vec::new();
            for _ in 0..4 {
                replies.push(one.send(NodeId(2), 0, lane, part("x")).await.unwrap());
            }
            let mut fifth = pin!(one.send(NodeId(2), 0, lane, part("y")));
            if lane == Lane::Control {
                assert_eq!(fifth.await.err(), Some(PeerError::Busy));
                gate.add_permits(4);
            } else {
                assert!(fifth.as_mut().now_or_never().is_none());
                // One is answered, so one has room.
                gate.add_permits(1);
                let fifth = fifth.await.unwrap();
                gate.add_permits(4);
                assert_eq!(fifth.await.unwrap(), "y");
            }
            for reply in replies {
                assert_eq!(reply.await.unwrap(), "x");
            }
            // Whoever has the answer finds the room.
            gate.add_permits(1);
            assert_eq!(one.call(NodeId(2), 0, lane, part("z"), PATIENCE).await.unwrap(), "z");
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_are_bounded_and_what_is_larger_than_the_bound_travels_alone() {
    let (gate, handler) = gated();
    let (one, _two) = pair(handler, Options { bytes_in_flight_max: 1000, ..Options::default() }).await;
    within(async {
        let first = one.send(NodeId(2), 0, Lane::Bulk, part(vec![1; 600])).await.unwrap();
        let mut second = pin!(one.send(NodeId(2), 0, Lane::Bulk, part(vec![2; 600])));
        assert!(second.as_mut().now_or_never().is_none());
        gate.add_permits(1);
        let second = second.await.unwrap();
        assert_eq!(first.await.unwrap().len(), 600);
        let mut large = pin!(one.send(NodeId(2), 0, Lane::Bulk, part(vec![3; 100_000])));
        assert!(large.as_mut().now_or_never().is_none());
        gate.add_permits(1);
        let large = large.await.unwrap();
        assert_eq!(second.await.unwrap().len(), 600);
        assert!(one.send(NodeId(2), 0, Lane::Bulk, part("x")).now_or_never().is_none());
        gate.add_permits(1);
        assert_eq!(large.await.unwrap().len(), 100_000);
    })
    .await;
}

#[tokio::test]
async fn who_gives_up_is_told_whether_it_was_sent() {
    let (gate, handler) = gated();
    let (one, two) = pair(handler, Options { requests_in_flight_max: 2, ..Options::default() }).await;
    within(async {
        let moment = Duration::from_millis(20);
        let first = one.send(NodeId(2), 0, Lane::Bulk, part("1")).await.unwrap();
        let second = one.send(NodeId(2), 0, Lane::Bulk, part("2")).await.unwrap();
        while one.counts().requests_sent < 2 {
            tokio::task::yield_now().await;
        }
        // Sent and not answered.
        let error = second.give_up();
        assert_eq!(error, PeerError::TimedOut);
        assert!(error.may_have_happened());
        // It keeps its place until the other side has answered, so this finds none.
        let error = one.call(NodeId(2), 0, Lane::Bulk, part("3"), moment).await.unwrap_err();
        assert_eq!(error, PeerError::NotSent(NotSent::TimedOut));
        assert!(!error.may_have_happened());
        gate.add_permits(3);
        assert_eq!(first.await.unwrap(), "1");
        assert_eq!(one.call(NodeId(2), 0, Lane::Bulk, part("4"), PATIENCE).await.unwrap(), "4");
        assert_eq!(two.counts().requests_received, 3);

        // In the queue when the time is up: there is no connection, and never will be.
        let black_hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        one.set_address(NodeId(3), black_hole.local_addr().unwrap());
        let error = one.call(NodeId(3), 0, Lane::Bulk, part("5"), moment).await.unwrap_err();
        assert_eq!(error, PeerError::NotSent(NotSent::TimedOut));
    })
    .await;
}

#[tokio::test]
async fn a_call_given_up_before_its_turn_is_never_sent() {
    let two = node(2, echo()).await;
    let one = node_with(1, echo(), Options::default()).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    one.set_address(NodeId(2), nobody.local_addr().unwrap());
    within(async {
        let dropped = one.send(NodeId(2), 0, Lane::Bulk, part("dropped")).await.unwrap();
        let kept = one.send(NodeId(2), 0, Lane::Bulk, part("kept")).await.unwrap();
        drop(dropped);
        // While the node waits for an answer at a wrong address, it learns the right one.
        one.set_address(NodeId(2), two.address());
        assert_eq!(kept.await.unwrap(), "kept");
        assert_eq!(two.counts().requests_received, 1);
    })
    .await;
}

/// Memory of a node is bounded by it, not by how many answers somebody asks for and does not read.
#[tokio::test]
async fn answers_that_nobody_reads_are_not_made() {
    const ANSWER: usize = 1 << 20;
    struct Counted(Arc<AtomicUsize>, Vec<u8>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.1
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (alive_inside, most_inside) = (Arc::clone(&alive), Arc::clone(&most));
    let handler = answering(move |channel, _, _| {
        let (alive, most) = (Arc::clone(&alive_inside), Arc::clone(&most_inside));
        Box::pin(async move {
            if channel == 0 {
                tokio::task::yield_now().await;
            }
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Ok(vec![Bytes::from_owner(Counted(alive, vec![7; ANSWER]))])
        })
    });
    let two = node(2, handler).await;
    within(async {
        let (mut stranger, _) = Stranger::dial(two.address(), hello(Lane::Bulk)).await;
        let requests: Vec<u8> = (1..=200).flat_map(|id| request(id, b"give")).collect();
        stranger.send(&requests).await;
        for _ in 0..200 {
            assert_eq!(stranger.response().await.1.len(), ANSWER);
        }
    })
    .await;
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
}
