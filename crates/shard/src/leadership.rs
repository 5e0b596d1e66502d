//! Whether this replica leads, and what it may say then.
//!
//! Three questions that are easily taken for one. A replica *leads* from when most have voted for it. It is *ready*
//! when it has applied an entry of its own term: before that its state may lack what others were told. It is *sure* to
//! lead while those who made it the leader have been heard so lately that they have made nobody else the leader since:
//! of one that is cut off everybody else may know better.

use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use journal::canary::Fault;
use model::NodeId;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// So long after it has heard of a leader a replica elects nobody else: that is its word. It bounds from below how long
/// a shard is without a leader whose machine died, and from above how far apart nodes may be.
pub(crate) const WORD: Duration = Duration::from_millis(900);
/// How old a quorum's word that this node leads may be: shorter than the time for which it counts, and long enough
/// for some heartbeats to be lost.
pub(crate) const LEASE: Duration = Duration::from_millis(700);
/// A replica that starts does not know to whom it gave its word before, so it gives it to nobody for as long as that
/// may count.
pub(crate) const SILENCE: Duration = Duration::from_millis(800);

/// How often it is looked whether the others have confirmed.
const LOOK: Duration = Duration::from_millis(20);
/// A leader that this replica has not heard of for so long is not named to others any more: it may be gone, or this
/// replica may be cut off.
const NAMED: Duration = Duration::from_secs(2);

const _: () = {
    assert!(LEASE.as_millis() < SILENCE.as_millis());
    assert!(SILENCE.as_millis() < WORD.as_millis());
};

/// The term this node leads in, once it has applied an entry of it. That came after all that was committed before.
///
/// # Errors
/// Who leads, if anybody is known to.
pub(crate) fn ready<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) -> Result<u64, Option<NodeId>> {
    let term = leading(raft).map_err(|leader| named(replica, leader))?;
    let is_ready = replica.applied.lock().at.term == term || replica.journal.faulty(Fault::LeadBeforeApplied);
    if is_ready { Ok(term) } else { Err(None) }
}

/// The leader, if it was heard of so lately that it may be named to others.
pub(crate) fn named<R: Runtime>(replica: &Replica<R>, leader: Option<NodeId>) -> Option<NodeId> {
    leader.filter(|_| heard_within(replica, NAMED))
}

fn heard_within<R: Runtime>(replica: &Replica<R>, time: Duration) -> bool {
    replica.heard.lock().is_some_and(|heard| R::Instant::now() < heard + time)
}

/// Whether a quorum has confirmed so recently that this node leads that no other can.
pub(crate) fn is_sure_to_lead<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) -> bool {
    let Ok(term) = ready(raft, replica) else { return false };
    if replica.journal.faulty(Fault::LeadForEver) {
        return true;
    }
    // Whoever it hands to is not kept from leading by anybody's word.
    if replica.handed_over_in.load(SeqCst) == term {
        return false;
    }
    let me = *raft.node_id();
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let voters = metrics.membership_config.get_joint_config();
    let alone = !voters.is_empty() && voters.iter().all(|config| config.len() == 1 && config.contains(&me));
    // Without a vote it is about to go, and openraft does not ask us when.
    let votes = voters.iter().any(|config| config.contains(&me));
    alone || votes && last_heard(replica, term, voters).is_some_and(|heard| heard + LEASE > R::Instant::now())
}

/// Whether this replica, which does not lead, has heard of a leader within the time for which it gives its word to it.
pub(crate) fn hears_leader<R: Runtime>(replica: &Replica<R>) -> bool {
    heard_within(replica, WORD)
}

/// The last time at which most voters of each of these sets took this node for the leader of this term, in which it is.
/// openraft knows a time, too, but takes the sending of a request for that of another which the answer was to.
pub(crate) fn last_heard<R: Runtime>(replica: &Replica<R>, term: u64, voters: &[BTreeSet<u64>]) -> Option<R::Instant> {
    replica.hearing.lock().quorum(term, replica.me, R::Instant::now(), voters)
}

/// Whether most voters confirm, within this time, that this node leads: by answers to what is sent from now on.
pub(crate) async fn confirm<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>, term: u64, patience: Duration) -> bool {
    let asked = R::Instant::now();
    loop {
        let voters = raft.server_metrics().borrow_watched().membership_config.get_joint_config().clone();
        let now = R::Instant::now();
        if leading(raft) != Ok(term) || replica.handed_over_in.load(SeqCst) == term {
            return false;
        }
        if last_heard(replica, term, &voters).is_some_and(|heard| heard >= asked) {
            return true;
        }
        if now >= asked + patience {
            return false;
        }
        R::sleep(LOOK).await;
    }
}
