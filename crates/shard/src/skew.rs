//! A clock that differs from most others.
//!
//! The leader's clock stamps entries, and what it says is never taken back: one that is far ahead
//! would let everything expire. So replicas ask one another what their clocks show; a leader whose
//! own differs from most hands leadership to one that agrees with them, and nobody hands it back
//! before the clock is set. Nobody's clock is set here, and a replica that nobody answers goes on: being alone does not
//! make a clock wrong.

use crate::handover::hand_over;
use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use crate::rpc::{self, Question};
use crate::transport::Lane;
use model::wire::Wire;
use model::{NodeId, Timestamp, limit};
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often the others are asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long one of them has to answer: short, because a late answer says little about a clock.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How far the clocks of most are ahead of ours, whose offset is zero: the median of all. Of two in
/// the middle the nearer counts, so that with a clock against a clock nobody is wrong.
fn ahead(offsets: &[i64]) -> i64 {
    let mut all = offsets.to_vec();
    all.push(0);
    all.sort_unstable();
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    if low.unsigned_abs() < high.unsigned_abs() { low } else { high }
}

/// Whether a clock may not lead.
fn is_skewed(ahead: i64) -> bool {
    ahead.unsigned_abs() > limit::CLOCK_SKEW_MILLIS_MAX
}

/// Who shall lead instead: whose clock is nearest to what most say.
fn successor(ahead: i64, offsets: &[(NodeId, i64)]) -> Option<NodeId> {
    let nearest = offsets.iter().min_by_key(|(node, offset)| (offset.abs_diff(ahead), *node))?;
    (!is_skewed(nearest.1.saturating_sub(ahead))).then_some(nearest.0)
}

/// Whose clocks are wrong, if most are right: of two nobody's is.
fn wrong(ahead: i64, offsets: &[(NodeId, i64)]) -> BTreeSet<NodeId> {
    let differs = |offset: i64| is_skewed(offset.saturating_sub(ahead));
    let others: BTreeSet<NodeId> =
        offsets.iter().filter(|(_, offset)| differs(*offset)).map(|(node, _)| *node).collect();
    let count = others.len() + usize::from(differs(0));
    if 2 * count < offsets.len() + 1 { others } else { BTreeSet::new() }
}

/// Compares clocks as long as the shard runs.
pub(crate) async fn watch<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>) {
    while !replica.journal.is_stopping() {
        R::sleep(INTERVAL).await;
        let (ahead, offsets) = compare(&raft, &replica).await;
        let before = replica.clock_offset.swap(ahead, Relaxed);
        *replica.wrong_clocks.lock() = wrong(ahead, &offsets);
        match (is_skewed(before), is_skewed(ahead)) {
            (false, true) => tracing::error!(
                shard = %replica.shard,
                millis = ahead,
                "this node's clock differs from most others: set it; until then it does not lead"
            ),
            (true, false) => tracing::warn!(shard = %replica.shard, "this node's clock agrees with most others again"),
            _ => {}
        }
        if is_skewed(ahead)
            && leading(&raft).is_ok()
            && let Some(to) = successor(ahead, &offsets)
        {
            tracing::warn!(shard = %replica.shard, %to, "handing leadership away because of the clock");
            // What fails is tried again the next time.
            let _ = hand_over(&raft, &replica, &BTreeSet::from([to])).await;
        }
    }
}

/// Whether this node's clock agrees with most others now.
pub(crate) async fn agrees<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) -> bool {
    !is_skewed(compare(raft, replica).await.0)
}

/// How far the clocks of most are ahead of ours, and that of each other voter that answers.
async fn compare<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) -> (i64, Vec<(NodeId, i64)>) {
    let voters: Vec<NodeId> = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().map(NodeId).collect()
    };
    let mut offsets = Vec::new();
    for voter in voters.into_iter().filter(|voter| *voter != replica.me) {
        if let Some(offset) = ask(replica, voter).await {
            offsets.push((voter, offset));
        }
    }
    (ahead(&offsets.iter().map(|(_, offset)| *offset).collect::<Vec<_>>()), offsets)
}

/// How far another's clock is ahead of ours.
async fn ask<R: Runtime>(replica: &Replica<R>, whom: NodeId) -> Option<i64> {
    let (sent, began) = ((replica.environment.wall)(), R::Instant::now());
    let request = rpc::encode_question(&Question::Clock);
    let answer = replica.environment.transport.call(whom, replica.shard, Lane::Control, request);
    let answer = R::timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()?;
    let half = (R::Instant::now() - began).as_millis() as u64 / 2;
    let theirs = Timestamp::from_wire(&answer).ok()?;
    Some(theirs.0.saturating_sub(sent.plus(half).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_clocks_are_right() {
        assert_eq!(ahead(&[]), 0, "alone");
        assert_eq!(ahead(&[60_000]), 0, "of two nobody knows which is wrong");
        assert_eq!(ahead(&[60_000, 60_010]), 60_000, "both others agree against us");
        assert_eq!(ahead(&[-60_000, -60_010]), -60_000);
        assert_eq!(ahead(&[60_000, -60_000]), 0, "we are in the middle");
        assert_eq!(ahead(&[60_000, 5]), 5, "another one is wrong");
        assert_eq!(ahead(&[60_000, 60_000, 3]), 3, "half of four is not most");
        assert_eq!(ahead(&[60_000, 60_000, 3, 60_000]), 60_000);
        assert!(is_skewed(10_001) && is_skewed(-10_001) && is_skewed(i64::MIN) && !is_skewed(10_000));
    }

    #[test]
    fn leadership_goes_to_a_clock_that_most_agree_with() {
        let offsets = |list: &[i64]| -> Vec<(NodeId, i64)> {
            list.iter().enumerate().map(|(nth, offset)| (NodeId(nth as u64 + 2), *offset)).collect()
        };
        assert_eq!(successor(60_000, &offsets(&[0, 60_500, 59_900])), Some(NodeId(4)));
        assert_eq!(successor(60_000, &offsets(&[0, 5_000])), None, "nobody who answered agrees with most");
        assert_eq!(successor(60_000, &[]), None);
    }

    #[test]
    fn a_clock_is_wrong_when_most_others_agree() {
        const NOBODY: [u64; 0] = [];
        let wrong = |offsets: &[(u64, i64)]| -> Vec<u64> {
            let offsets: Vec<_> = offsets.iter().map(|(node, offset)| (NodeId(*node), *offset)).collect();
            let ahead = ahead(&offsets.iter().map(|(_, offset)| *offset).collect::<Vec<_>>());
            super::wrong(ahead, &offsets).into_iter().map(|node| node.0).collect()
        };
        assert_eq!(wrong(&[]), NOBODY);
        assert_eq!(wrong(&[(2, 60_000)]), NOBODY, "of two nobody knows which");
        assert_eq!(wrong(&[(2, 60_000), (3, 5)]), [2]);
        assert_eq!(wrong(&[(2, 10_000), (3, 5)]), NOBODY);
        assert_eq!(wrong(&[(2, 60_000), (3, 60_010)]), NOBODY, "ours is");
        assert_eq!(wrong(&[(2, 60_000), (3, -60_000)]), NOBODY, "all three differ");
        assert_eq!(wrong(&[(2, 60_000), (3, 0), (4, -60_000), (5, i64::MIN)]), NOBODY, "most differ");
        assert_eq!(wrong(&[(2, 60_000), (3, 0), (4, 0), (5, i64::MIN)]), [2, 5]);
    }
}
