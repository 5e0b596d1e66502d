//! A replica that may have forgotten what it acknowledged.
//!
//! After power loss, or damage that looks like a torn tail, acknowledged entries may be missing at
//! the end of the log. Until that is settled the replica neither votes, leads nor serves reads: its
//! vote could elect somebody who lacks them too. It is settled in one of two ways:
//!
//! - A leader that was elected without this replica's vote has everything that was acknowledged. When
//!   this replica has applied all that such a leader had, it lacks nothing either.
//! - When too few voters are free of doubt for any leader to come about, all voters have to be asked.
//!   Then the longest surviving log is the best there is, and votes are given to nobody with less.
//!   What may have been lost is logged and counted.
//!
//! Until a leader knows that this replica's log may have become shorter, it takes an answer that says
//! so for an impossible one. So entries are taken only from a leader that has been told.

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
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often the others are asked.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long one of them has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

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

/// What the voters' standings mean, for a replica in doubt.
#[derive(Debug, PartialEq, Eq)]
enum Census {
    /// Not everybody has answered, or enough voters are free to elect a leader without us.
    Wait,
    /// No leader can come about otherwise: this is the longest surviving log.
    Longest(LogPosition),
}

fn census(voters: usize, standings: &[Standing]) -> Census {
    let free = standings.iter().filter(|standing| !standing.in_doubt).count();
    if standings.len() < voters || free > voters / 2 {
        return Census::Wait;
    }
    standings.iter().map(|standing| standing.last).max().map_or(Census::Wait, Census::Longest)
}

/// Settles the doubt, then lets the replica take part again.
pub(crate) async fn settle<R: Runtime>(replica: Arc<Replica<R>>, raft: Raft<R>, doubt: Arc<Doubt>) {
    let me = NodeId(*raft.node_id());
    let before = replica.journal.last();
    tracing::warn!(shard = %replica.shard, "in doubt: acknowledged records may be missing here");
    while !replica.journal.is_stopping() {
        let (voters, leader) = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let voters: Vec<NodeId> = metrics.membership_config.voter_ids().map(NodeId).collect();
            (voters, metrics.current_leader.map(NodeId))
        };
        // Without a membership, either nothing was ever promised here or all of it was given up.
        if voters.is_empty() && !replica.journal.is_replicated() {
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
            Some(leader) => ask(&replica, me, leader, true).await,
            None => None,
        };
        // Whoever was last known to lead may have restarted and lead no more.
        if let Some(Standing { last, leading: Some(vote), confirmed, .. }) = answer {
            doubt.leaders.lock().told = Some(vote);
            if confirmed && caught_up(&replica, last).await {
                break;
            }
        } else {
            take_census(&replica, &raft, &doubt, me, &voters).await;
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
    raft.runtime_config().elect(true);
    tracing::warn!(
        shard = %replica.shard,
        had = before.index,
        has = after.index,
        "no longer in doubt"
    );
}

/// Asks all voters how they stand, and permits a vote if no leader can come about otherwise.
async fn take_census<R: Runtime>(replica: &Replica<R>, raft: &Raft<R>, doubt: &Doubt, me: NodeId, voters: &[NodeId]) {
    if voters.len() <= 1 && replica.journal.is_replicated() {
        // There were others: who they are is in what is missing here. One of them has to lead.
        return;
    }
    let mine = Standing { last: replica.journal.last(), in_doubt: true, leading: None, confirmed: false };
    let mut standings = vec![mine];
    for voter in voters.iter().filter(|voter| **voter != me) {
        standings.extend(ask(replica, me, *voter, false).await);
    }
    match census(voters.len(), &standings) {
        Census::Wait => doubt.set(State::InDoubt),
        Census::Longest(longest) => {
            doubt.set(State::Permits(longest));
            if replica.journal.last() == longest && voters.contains(&me) {
                let _ = raft.trigger().elect(true).await;
            }
        }
    }
}

pub(crate) async fn ask<R: Runtime>(
    replica: &Replica<R>,
    me: NodeId,
    whom: NodeId,
    reverted: bool,
) -> Option<Standing> {
    let request = rpc::encode_question(&Question::Standing { asker: me, reverted });
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

    fn standing(index: u64, in_doubt: bool) -> Standing {
        Standing { last: LogPosition { term: 1, index }, in_doubt, leading: None, confirmed: false }
    }

    #[test]
    fn the_longest_log_is_looked_for_only_when_too_few_are_free_and_all_have_answered() {
        let longest = |index| Census::Longest(LogPosition { term: 1, index });
        assert_eq!(census(3, &[standing(5, true), standing(7, true)]), Census::Wait);
        assert_eq!(census(3, &[standing(5, true), standing(7, true), standing(6, true)]), longest(7));
        assert_eq!(census(3, &[standing(5, true), standing(7, true), standing(9, false)]), longest(9));
        assert_eq!(census(3, &[standing(5, true), standing(7, false), standing(9, false)]), Census::Wait);
        assert_eq!(census(1, &[standing(5, true)]), longest(5));
    }

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
