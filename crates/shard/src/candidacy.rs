//! When a replica stands for election.
//!
//! openraft's own clock for that is off. It has one length for three things: how long followers give their word to a
//! leader, after which silence they stand, and how long a candidate waits for votes. The last has to be long enough
//! for nodes that are far apart, and the others would be as long again one after the other. Here a replica stands
//! soon after its word has run out, and waits longer each time that it was in vain, so that candidates who are in each
//! other's way part.

use crate::doubt::Doubt;
use crate::leadership::{SILENCE, hears_leader};
use crate::membership::is_founded;
use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use model::NodeId;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;

/// The shortest and the longest pause before it is looked whether to stand.
const PAUSE_MILLIS: (u64, u64) = (40, 200);
/// The pauses double as often as this at most.
const DOUBLINGS_MAX: u32 = 4;

/// The pause before the next look, which differs from replica to replica and from look to look.
fn pause(seed: u64, look: u64, in_vain: u32) -> Duration {
    let (least, most) = PAUSE_MILLIS;
    // SplitMix64: all bits of it depend on all bits of what goes in.
    let mut mixed = seed.wrapping_add(look.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    Duration::from_millis((least + mixed % (most - least)) << in_vain.min(DOUBLINGS_MAX))
}

/// Whether a replica may stand: by what it has logged last or by what counts. A leader that has written down that it
/// votes no more may be the only one who can lead until that counts.
pub(crate) fn may_stand<R: Runtime>(raft: &Raft<R>, me: NodeId) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let (logged, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
    logged.voter_ids().chain(committed.voter_ids()).any(|id| id == me.0)
}

/// Stands for election whenever nobody leads.
pub(crate) async fn stand<R: Runtime>(raft: Raft<R>, replica: Arc<Replica<R>>, doubt: Arc<Doubt>) {
    let (me, start) = (replica.me, R::Instant::now());
    let seed = me.0 << 32 | u64::from(replica.shard.0);
    let was_founded = is_founded(&replica.journal);
    let (mut look, mut in_vain) = (0, 0);
    while !replica.journal.is_stopping() {
        R::sleep(pause(seed, look, in_vain)).await;
        look += 1;
        let now = R::Instant::now();
        let votes = may_stand(&raft, me);
        let alone = raft.server_metrics().borrow_watched().membership_config.voter_ids().eq([me.0]);
        let has_led = leading(&raft).is_ok();
        // The others' word counts for as long after a start, when it is not known to whom it was given.
        let is_early = was_founded && now < start + SILENCE;
        let hears = hears_leader(&replica);
        if !votes || has_led || doubt.is_in_doubt() || !alone && (is_early || hears) {
            in_vain = 0;
            continue;
        }
        if raft.trigger().elect(true).await.is_err() {
            return;
        }
        in_vain += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn pauses_differ_and_stay_between_their_bounds() {
        let (least, most) = (Duration::from_millis(PAUSE_MILLIS.0), Duration::from_millis(PAUSE_MILLIS.1));
        let first: BTreeSet<Duration> = (0..100).map(|node| pause(node << 32, 0, 0)).collect();
        assert!(first.len() > 50, "nodes that begin together would stay together: {}", first.len());
        let later: BTreeSet<Duration> = (0..100).map(|look| pause(1 << 32, look, 0)).collect();
        assert!(later.len() > 50, "{}", later.len());
        assert!(first.union(&later).all(|pause| (least..most).contains(pause)));
        assert!((0..100).all(|look| pause(1, look, 100) < most * (1 << DOUBLINGS_MAX)));
        assert_eq!(pause(1, 5, 2), pause(1, 5, 0) * 4);
    }
}
