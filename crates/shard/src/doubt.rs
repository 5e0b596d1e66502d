//! A replica that may have forgotten what it acknowledged.
//!
//! After power loss, or damage that looks like a torn tail, acknowledged entries may be missing at
//! the end of the log. Until that is settled the replica neither votes, leads nor serves reads: its
//! vote could elect somebody who lacks them too. It is settled in one of two ways:
//!
//! - A leader that needed no vote in doubt, in neither set of voters while there are two, has everything
//!   that was acknowledged. When this replica has applied all that such a leader had, it lacks nothing
//!   either.
//! - When those who are free of doubt can elect nobody, all voters have to be asked. Then the longest
//!   surviving log is the best there is, and votes are given to nobody with less. What may have been lost
//!   is logged and counted. See [`census`](crate::census).
//!
//! Until a leader knows that this replica's log may have become shorter, it takes an answer that says
//! so for an impossible one. So entries are taken only from a leader that has been told.

use crate::candidacy::may_stand;
use crate::census::{Census, Standings, census, unasked};
use crate::membership::{Membership, membership};
use crate::raft::{Raft, Runtime, leading};
use crate::replica::Replica;
use crate::rpc::{self, Question, Standing};
use crate::transport::Lane;
use bytes::Bytes;
use journal::LogPosition;
use model::NodeId;
use model::wire::Wire;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often the others are asked.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long one of them has to answer: one that leads has others confirm that first.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Nobody asks more replicas than this in one go: so many vote at the very most, before and after a change.
const ASKED_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Gives its vote to nobody.
    InDoubt,
    /// Everybody has been asked: gives its vote to a log that is at least this long.
    Permits(LogPosition),
}

/// Whether a replica is in doubt, and what it may do.
#[derive(Debug)]
pub(crate) struct Doubt {
    state: Mutex<State>,
    leaders: Mutex<Leaders>,
}

#[derive(Debug, Default)]
struct Leaders {
    /// The vote of a leader that knows of our doubt.
    told: Option<Bytes>,
    /// Who wants to send entries and does not.
    heard: Option<NodeId>,
}

impl Doubt {
    pub(crate) fn new(in_doubt: bool) -> Self {
        let state = if in_doubt { State::InDoubt } else { State::Free };
        Doubt { state: Mutex::new(state), leaders: Mutex::default() }
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        *self.state.lock() != State::Free
    }

    /// Whether entries from a leader with this vote may be taken.
    pub(crate) fn may_append(&self, from: NodeId, vote: &Bytes) -> Result<(), &'static str> {
        if !self.is_in_doubt() {
            return Ok(());
        }
        let mut leaders = self.leaders.lock();
        if leaders.told.as_ref() == Some(vote) {
            return Ok(());
        }
        leaders.heard = Some(from);
        Err("in doubt: the leader does not know yet")
    }

    /// Whether a candidate with this last entry may have our vote.
    pub(crate) fn may_vote_for(&self, last: LogPosition) -> Result<(), &'static str> {
        match *self.state.lock() {
            State::Free => Ok(()),
            State::Permits(longest) if last >= longest => Ok(()),
            State::InDoubt | State::Permits(_) => Err("in doubt: no votes"),
        }
    }

    fn set(&self, state: State) {
        *self.state.lock() = state;
    }
}

/// Settles the doubt, then lets the replica take part again.
pub(crate) async fn settle<R: Runtime>(replica: Arc<Replica<R>>, raft: Raft<R>, doubt: Arc<Doubt>) {
    let me = replica.me;
    let before = replica.journal.last();
    tracing::warn!(shard = %replica.shard, "in doubt: acknowledged records may be missing here");
    while !replica.journal.is_stopping() {
        let members = membership(&raft);
        let leader = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.current_leader.map(NodeId)
        };
        // Without a membership, either nothing was ever promised here or all of it was given up.
        if members.voters.is_empty() && !replica.journal.is_replicated() {
            break;
        }
        if leading(&raft).is_ok() {
            // Alone, or elected by voters who knew of each other's doubt.
            replica.journal.counters.possible_losses.fetch_add(1, Relaxed);
            let last = replica.journal.last().index;
            tracing::error!(shard = %replica.shard, last, "the longest log that was left leads: if anything was acknowledged after its last entry, it is lost");
            break;
        }
        let heard = doubt.leaders.lock().heard.take();
        let answer = match heard.or(leader).filter(|leader| *leader != me) {
            Some(leader) => ask(&replica, leader, true).await,
            None => None,
        };
        // Whoever was last known to lead may have restarted and lead no more.
        if let Some(Standing { last, leading: Some(vote), confirmed, .. }) = answer {
            doubt.leaders.lock().told = Some(vote);
            if confirmed && caught_up(&replica, last).await {
                break;
            }
        } else {
            take_census(&replica, &raft, &doubt, &members).await;
        }
        R::sleep(INTERVAL).await;
    }
    let after = replica.journal.last();
    loop {
        let journal = replica.journal.clone();
        match replica.environment.blocking(move || journal.set_in_doubt(false)).await {
            Some(Ok(())) => break,
            Some(Err(error)) if !replica.journal.is_stopping() => {
                tracing::error!(shard = %replica.shard, %error, "still in doubt: that it is over could not be stored");
                R::sleep(INTERVAL).await;
            }
            Some(Err(_)) | None => return,
        }
    }
    doubt.set(State::Free);
    tracing::warn!(
        shard = %replica.shard,
        had = before.index,
        has = after.index,
        "no longer in doubt"
    );
}

/// Asks all voters how they stand, and permits a vote if no leader can come about otherwise.
async fn take_census<R: Runtime>(replica: &Replica<R>, raft: &Raft<R>, doubt: &Doubt, known: &Membership) {
    let me = replica.me;
    let knows_others = known.voters.iter().flatten().any(|voter| *voter != me);
    if !knows_others && replica.journal.is_replicated() {
        // There were others: who they are is in what is missing here. One of them has to lead.
        return;
    }
    let last = replica.journal.last();
    let has_room = replica.journal.has_room();
    let voters = voters_to_tell(known);
    let mine = Standing { last, in_doubt: true, has_room, leading: None, confirmed: false, voters };
    let (mut standings, mut silent) = (Standings::from([(me, mine)]), BTreeSet::new());
    loop {
        let unasked = unasked(&standings, &silent);
        if unasked.is_empty() || standings.len() + silent.len() + unasked.len() > ASKED_MAX {
            break;
        }
        for voter in unasked {
            if let Some(standing) = ask(replica, voter, false).await {
                if standing.leading.is_some() {
                    doubt.leaders.lock().heard = Some(voter);
                }
                standings.insert(voter, standing);
            } else {
                silent.insert(voter);
            }
        }
    }
    match census(&standings) {
        Census::Wait => doubt.set(State::InDoubt),
        Census::Longest(longest) => {
            doubt.set(State::Permits(longest));
            if replica.journal.last() == longest && may_stand(raft, me) {
                let _ = raft.trigger().elect(true).await;
            }
        }
    }
}

/// Who votes, as a replica tells others.
pub(crate) fn voters_to_tell(members: &Membership) -> Vec<Vec<NodeId>> {
    members.voters.iter().map(|config| config.iter().copied().collect()).collect()
}

/// Asks another replica how it stands. `reverted` says that our log may have become shorter.
pub(crate) async fn ask<R: Runtime>(replica: &Replica<R>, whom: NodeId, reverted: bool) -> Option<Standing> {
    let request = rpc::encode_question(&Question::Standing { asker: replica.me, reverted });
    let sent = replica.environment.transport.call(whom, replica.shard, Lane::Control, request);
    let answer = R::timeout(ANSWER_TIMEOUT, sent).await.ok()?.ok()?;
    Standing::from_wire(&answer).ok()
}

/// Waits a while until this replica has all that the leader had.
async fn caught_up<R: Runtime>(replica: &Replica<R>, leader_last: LogPosition) -> bool {
    for _ in 0..50 {
        let applied = replica.applied.lock().at;
        if applied >= leader_last && replica.journal.flushed() >= leader_last.index {
            return true;
        }
        R::sleep(INTERVAL).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_in_doubt_goes_to_nobody_or_to_the_longest_log() {
        let at = |index| LogPosition { term: 1, index };
        let doubt = Doubt::new(true);
        assert!(doubt.may_vote_for(at(100)).is_err());
        doubt.set(State::Permits(at(7)));
        assert!(doubt.may_vote_for(at(6)).is_err() && doubt.may_vote_for(at(7)).is_ok());
        assert!(doubt.is_in_doubt());
        assert!(Doubt::new(false).may_vote_for(at(0)).is_ok());
    }
}
