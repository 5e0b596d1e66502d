//! A shard of three replicas over links: it elects, appends and fails over, whatever else is on the wire.

use super::super::Links;
use super::node::{CLUSTER, Gate, Gated, any_port, number, within};
use super::replicas::{Replicas, SHARD, STUFFING};
use bytes::Bytes;
use futures::FutureExt;
use machine::Reply;
use model::NodeId;
use peer::Options;
use shard::{Lane, Role, Transport};
use std::sync::Arc;

/// Whether all of `some` are among `all`, in the same order.
fn are_within(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| one == other))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_elect_append_and_fail_over() {
    let mut replicas = Replicas::start(3, Options::default()).await;
    within(async {
        let mut acknowledged = replicas.append((0..100).map(|nth| format!("before {nth}"))).await;
        assert!(!acknowledged.is_empty());
        let (leader, term) = (replicas.leader().await, replicas.running[&NodeId(1)].shard.term());
        replicas.stop(leader).await;
        let next = replicas.leader().await;
        assert!(next != leader && replicas.running[&next].shard.term() > term);
        let after = replicas.append((0..100).map(|nth| format!("after {nth}"))).await;
        assert!(!after.is_empty());
        acknowledged.extend(after);
        for replica in replicas.running.values() {
            replicas.until(|| are_within(&acknowledged, &replica.values()).then_some(())).await;
        }
        let mut left = replicas.running.values();
        let (one, other) = (left.next().unwrap(), left.next().unwrap());
        replicas.until(|| (one.values() == other.values()).then_some(())).await;
    })
    .await;
    replicas.end().await;
}

/// What one shard sends must not look like the death of another shard's leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_heard_while_the_log_is_stuck() {
    let few = Options { requests_in_flight_max: 16, ..Options::default() };
    let replicas = Replicas::start(3, few.clone()).await;
    within(async {
        replicas.append(["before".to_owned()].into_iter()).await;
        let leader = replicas.leader().await;
        let leading = &replicas.running[&leader];
        let term = leading.shard.term();
        let followers = || replicas.running.iter().filter(move |(id, _)| **id != leader);
        let mut stuffing = Vec::new();
        for (follower, _) in followers() {
            let call = |nth| leading.links.call(*follower, STUFFING, Lane::Append, number(nth));
            stuffing.extend((0..2 * few.requests_in_flight_max).map(call));
        }
        replicas.gate.has_seen(2 * few.requests_in_flight_max).await;
        let mut stuck = leading.propose("stuck").await;
        for (_, follower) in followers() {
            // Ten a second, and no election waits for longer than 600 ms.
            let mut urgent = follower.urgent.clone();
            let heard = *urgent.borrow_and_update();
            urgent.wait_for(|count| *count >= heard + 30).await.unwrap();
        }
        assert!((&mut stuck).now_or_never().is_none(), "the log was not stuck");
        assert_eq!((leading.shard.role(), leading.shard.term()), (Role::Leader, term));
        for (_, follower) in followers() {
            assert_eq!((follower.shard.role(), follower.shard.term()), (Role::Follower(Some(leader)), term));
        }
        replicas.gate.open();
        for call in stuffing {
            call.await.unwrap();
        }
        let answer = stuck.await.unwrap();
        assert!(matches!(answer, Ok(Reply::Appended { .. })), "{answer:?}");
        for (_, follower) in followers() {
            replicas.until(|| are_within(&["stuck".to_owned()], &follower.values()).then_some(())).await;
        }
    })
    .await;
    replicas.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_call_harm_nobody() {
    let replicas = Replicas::start(1, Options::default()).await;
    let stranger = Arc::new(Gated(Gate::new()));
    let stranger = Links::answering(NodeId(9), CLUSTER, any_port(), stranger, Options::default()).await.unwrap();
    within(async {
        let replica = &replicas.running[&NodeId(1)];
        stranger.set_address(NodeId(1), replica.links.address());
        let mut chance = 1_u64;
        let mut roll = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance
        };
        let mut refused = 0;
        for lane in [Lane::Control, Lane::Append, Lane::Bulk] {
            for nth in 0..200 {
                let mut bytes: Vec<u8> = (0..roll() % 60).map(|_| roll() as u8).collect();
                // What the shard takes for a question, an append or a heartbeat, and what it does not.
                if let Some(first) = bytes.first_mut() {
                    *first = nth % 5;
                }
                let answer = stranger.call(NodeId(1), SHARD, lane, vec![Bytes::from(bytes)]).await;
                refused += u32::from(answer.is_err());
            }
        }
        assert!(refused > 500, "only {refused} were refused");
        // A call that panics would have taken its connection along.
        assert_eq!(stranger.peers.counts().dialled, 3);
        assert_eq!(replicas.append(["well".to_owned()].into_iter()).await, ["well"]);
    })
    .await;
    stranger.stop().await;
    replicas.end().await;
}
