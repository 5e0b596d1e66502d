//! Order, and what happens when there is no room.

use super::super::Links;
use super::node::{CLUSTER, Gate, Gated, any_port, number, pair, within};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::limit::{self, MIB};
use model::{NodeId, ShardId};
use peer::Options;
use peer::limit::FRAME_BYTES_MAX;
use shard::{Lane, Transport, TransportError};
use std::sync::Arc;
use std::time::Duration;

const TWO: NodeId = NodeId(2);
const SHARD: ShardId = ShardId(1);

type Call = BoxFuture<'static, Result<Bytes, TransportError>>;

/// Calls until one is refused; returns those that wait, and the refusal.
fn fill(mut call: impl FnMut(usize) -> Call) -> (Vec<Call>, TransportError) {
    let mut calls = Vec::new();
    loop {
        let mut next = call(calls.len());
        match (&mut next).now_or_never() {
            None => calls.push(next),
            Some(answer) => return (calls, answer.unwrap_err()),
        }
    }
}

fn is_not_sent(error: &TransportError) -> bool {
    matches!(error, TransportError::NotSent(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_keep_their_order_when_the_line_was_full() {
    const ON_THEIR_WAY: usize = 64;
    let gate = Gate::new();
    let (one, _two) = pair(&gate, Options { requests_in_flight_max: ON_THEIR_WAY, ..Options::default() }).await;
    within(async {
        let (calls, refused) = fill(|nth| one.call(TWO, SHARD, Lane::Append, number(nth)));
        assert!(is_not_sent(&refused), "{refused}");
        // And one between the line and the connection.
        let most = limit::LANE_CALLS_WAITING_MAX + ON_THEIR_WAY + 1;
        assert!((limit::LANE_CALLS_WAITING_MAX..=most).contains(&calls.len()), "{}", calls.len());
        gate.open();
        let count = calls.len();
        for (nth, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), nth.to_le_bytes()[..]);
        }
        let expected: Vec<Bytes> = (0..count).flat_map(number).collect();
        assert!(gate.arrived() == expected, "they arrived in another order");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_bounded_in_bytes_and_what_is_given_up_makes_room() {
    let gate = Gate::new();
    let (one, _two) = pair(&gate, Options { bytes_in_flight_max: MIB, ..Options::default() }).await;
    within(async {
        let chunk = Bytes::from(vec![7; MIB]);
        let (calls, refused) = fill(|_| one.call(TWO, SHARD, Lane::Bulk, vec![chunk.clone()]));
        assert!(is_not_sent(&refused), "{refused}");
        // And one on its way.
        let waiting = limit::LANE_BYTES_WAITING_MAX / MIB;
        assert!((waiting..=waiting + 1).contains(&calls.len()), "{}", calls.len());
        gate.has_seen(1).await;
        drop(calls);
        gate.open();
        let answer = loop {
            match one.call(TWO, SHARD, Lane::Bulk, vec![chunk.clone()]).await {
                Err(error) if is_not_sent(&error) => tokio::task::yield_now().await,
                answer => break answer,
            }
        };
        assert!(answer.unwrap() == chunk);
        assert_eq!(gate.arrived().len(), 2, "the others were given up before their turn");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_are_not_sent_and_the_others_keep_their_order() {
    let gate = Gate::new();
    let (one, _two) = pair(&gate, Options { requests_in_flight_max: 1, ..Options::default() }).await;
    within(async {
        let first = one.call(TWO, SHARD, Lane::Append, number(0));
        gate.has_seen(1).await;
        let calls: Vec<_> = (1..200).map(|nth| (nth, one.call(TWO, SHARD, Lane::Append, number(nth)))).collect();
        let kept: Vec<_> = calls.into_iter().filter(|(nth, _)| nth % 3 == 0).collect();
        gate.open();
        assert_eq!(first.await.unwrap(), 0_usize.to_le_bytes()[..]);
        for (nth, call) in kept {
            assert_eq!(call.await.unwrap(), nth.to_le_bytes()[..]);
        }
        let expected: Vec<Bytes> = (0..200).step_by(3).flat_map(number).collect();
        assert_eq!(gate.arrived(), expected);
    })
    .await;
}

/// Queued when it is called: the futures are polled in another order, or never.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_is_that_of_calls_and_not_of_polls() {
    let gate = Gate::new();
    gate.open();
    let (one, _two) = pair(&gate, Options::default()).await;
    within(async {
        let mut calls: Vec<_> = (0..500).map(|nth| one.call(TWO, SHARD, Lane::Append, number(nth))).collect();
        gate.has_seen(500).await;
        calls.reverse();
        for (call, nth) in calls.into_iter().zip((0_usize..500).rev()) {
            assert_eq!(call.await.unwrap(), nth.to_le_bytes()[..]);
        }
        assert_eq!(gate.arrived(), (0..500).flat_map(number).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_fills_its_own_lane_only() {
    let gate = Gate::new();
    gate.open();
    let patient = Options {
        requests_in_flight_max: 4,
        // It would be found out, and what waits for it fail.
        handshake_timeout: Duration::from_secs(3600),
        ..Options::default()
    };
    let (one, _two) = pair(&gate, patient).await;
    let silent = tokio::net::TcpListener::bind(any_port()).await.unwrap();
    let three = NodeId(3);
    one.set_address(three, silent.local_addr().unwrap());
    within(async {
        let (calls, refused) = fill(|nth| one.call(three, SHARD, Lane::Append, number(nth)));
        assert!(is_not_sent(&refused), "{refused}");
        assert!(one.call(three, SHARD, Lane::Control, number(1)).now_or_never().is_none());
        assert_eq!(one.call(TWO, SHARD, Lane::Append, number(2)).await.unwrap(), 2_usize.to_le_bytes()[..]);
        one.forget(three);
        for call in calls {
            let error = call.await.unwrap_err();
            assert!(is_not_sent(&error), "{error}");
        }
        let error = one.call(three, SHARD, Lane::Append, number(3)).await.unwrap_err();
        assert!(is_not_sent(&error), "{error}");
        // It comes back with the same number, at another address.
        let again = Links::answering(three, CLUSTER, any_port(), Arc::new(Gated(gate.clone())), Options::default());
        let again = again.await.unwrap();
        one.set_address(three, again.address());
        assert_eq!(one.call(three, SHARD, Lane::Append, number(4)).await.unwrap(), 4_usize.to_le_bytes()[..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_waits_and_what_was_sent_may_have_happened() {
    let gate = Gate::new();
    let (one, two) = pair(&gate, Options { requests_in_flight_max: 1, ..Options::default() }).await;
    within(async {
        let sent = one.call(TWO, SHARD, Lane::Append, number(0));
        gate.has_seen(1).await;
        let waiting: Vec<_> = (1..10).map(|nth| one.call(TWO, SHARD, Lane::Append, number(nth))).collect();
        one.stop().await;
        let error = sent.await.unwrap_err();
        assert!(matches!(error, TransportError::Lost(_)), "{error}");
        for call in waiting {
            let error = call.await.unwrap_err();
            assert!(is_not_sent(&error), "{error}");
        }
        // Nothing wakes it up again.
        one.set_address(TWO, two.address());
        let error = one.call(TWO, SHARD, Lane::Append, number(1)).await.unwrap_err();
        assert!(is_not_sent(&error), "{error}");
        one.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_arrive_whole_and_wait_without_being_copied() {
    let gate = Gate::new();
    let (one, _two) = pair(&gate, Options { requests_in_flight_max: 1, ..Options::default() }).await;
    within(async {
        let first = one.call(TWO, SHARD, Lane::Append, number(0));
        gate.has_seen(1).await;
        let parts: Vec<Bytes> = (1..400_usize).map(|nth| Bytes::from(vec![nth as u8; nth * 7 % 5000])).collect();
        let many = one.call(TWO, SHARD, Lane::Append, parts.clone());
        let none = one.call(TWO, SHARD, Lane::Append, Vec::new());
        let largest = Bytes::from((0..FRAME_BYTES_MAX).map(|nth| ((nth * 31) >> 8) as u8).collect::<Vec<_>>());
        let large = one.call(TWO, SHARD, Lane::Append, vec![largest.clone()]);
        let too_large = one.call(TWO, SHARD, Lane::Append, vec![largest.clone(), Bytes::from_static(b"x")]);
        assert!(parts.iter().all(|part| !part.is_unique()), "what waits is not what was given");
        gate.open();
        first.await.unwrap();
        assert!(many.await.unwrap() == parts.concat());
        assert!(none.await.unwrap().is_empty());
        assert!(large.await.unwrap() == largest);
        let error = too_large.await.unwrap_err();
        assert!(is_not_sent(&error), "{error}");
    })
    .await;
}
