//! Who has a replica of a shard, and how that changes.
//!
//! A change goes from one set of voters to another over both of them: while it is under way, whatever counts
//! needs most of the old and most of the new. Only the leader changes anything, each step is refused when
//! somebody was faster, and what is left half done by a leader that died is finished by the next one
//! ([`Shard::finish_change`](crate::Shard::finish_change)).
//!
//! A replica follows without a vote first. It votes when it has caught up, which is for whoever asks to judge: with
//! voters that have nothing yet a shard would stand still.

use crate::handover::hand_over;
use crate::raft::{self, Raft, Runtime, StoredMembership, Types, leading, to_the_end};
use crate::replica::Replica;
use crate::store::from_raft;
use journal::Journal;
use model::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant, Precondition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A change that no quorum has logged by then has an unknown outcome.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who has a replica of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Who votes: one set, and two while a change from one to the other is under way. None when nothing was
    /// ever founded.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
}

impl Membership {
    pub(crate) fn of(logged: &raft::Membership) -> Self {
        let configs = logged.get_joint_config().iter();
        let voters: Vec<BTreeSet<NodeId>> =
            configs.map(|config| config.iter().copied().map(NodeId).collect()).collect();
        let votes = |node: &NodeId| voters.iter().any(|config| config.contains(node));
        let learners = logged.nodes().map(|(id, ())| NodeId(*id)).filter(|node| !votes(node)).collect();
        Membership { voters, learners }
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voters.len() > 1
    }

    /// Whether `node` votes.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.iter().any(|config| config.contains(&node))
    }

    /// Everybody who has a replica.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.voters.iter().flatten().chain(&self.learners).copied().collect()
    }

    /// Whether nothing counts that only `me` has: in every set of voters there is another.
    #[must_use]
    pub fn others_vote(&self, me: NodeId) -> bool {
        !self.voters.is_empty() && self.voters.iter().all(|config| config.iter().any(|node| *node != me))
    }
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another replica leads, if anybody is known to. Nothing was changed.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// The change before this one is not over. Nothing was changed.
    #[error("another change of the members is under way")]
    InProgress,
    /// Somebody else changed the members meanwhile. Look again.
    #[error("the members have changed meanwhile")]
    Changed,
    /// It may have been done or not, as far as anybody can tell, or cannot be done now.
    #[error("{0}")]
    Unknown(String),
    /// The shard has stopped.
    #[error("the shard has stopped")]
    Stopped,
}

/// As last logged here: the steps of a change count from when they are logged, not from when they are
/// committed.
fn logged<R: Runtime>(raft: &Raft<R>) -> Arc<StoredMembership<R>> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.clone()
}

/// See [`Shard::membership`](crate::Shard::membership).
pub(crate) fn membership<R: Runtime>(raft: &Raft<R>) -> Membership {
    Membership::of(logged(raft).membership())
}

/// See [`Shard::is_founded`](crate::Shard::is_founded).
pub(crate) fn is_founded(journal: &Journal) -> bool {
    journal.last().index > 0 || journal.vote().is_some()
}

/// See [`Shard::lags`](crate::Shard::lags).
pub(crate) fn lags<R: Runtime>(raft: &Raft<R>) -> BTreeMap<NodeId, u64> {
    let me = *raft.node_id();
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    // Only a leader knows.
    let Some(matched) = &metrics.replication else { return BTreeMap::new() };
    let last = metrics.last_log_index.map_or(0, from_raft);
    let lag = |id: u64| match matched.get(&id) {
        Some(Some(at)) => last.saturating_sub(from_raft(at.index())),
        Some(None) | None => u64::MAX,
    };
    let others = metrics.membership_config.nodes().map(|(id, ())| *id).filter(|id| *id != me);
    others.map(|id| (NodeId(id), lag(id))).collect()
}

/// See [`Shard::silences`](crate::Shard::silences).
pub(crate) fn silences<R: Runtime>(raft: &Raft<R>, replica: &Replica<R>) -> BTreeMap<NodeId, Duration> {
    // Only a leader hears of others. openraft knows a time, too, which may be later than that of what was answered: see
    // `network`.
    let Ok(term) = leading(raft) else { return BTreeMap::new() };
    let others = membership(raft).nodes().into_iter().filter(|node| *node != replica.me);
    let (now, hearing) = (R::Instant::now(), replica.hearing.lock());
    others.filter_map(|node| Some((node, now - hearing.last(term, node)?))).collect()
}

/// See [`Shard::follow`](crate::Shard::follow).
pub(crate) async fn follow<R: Runtime>(raft: &Raft<R>, node: NodeId) -> Result<(), MembershipError> {
    let (before, now) = settled(raft)?;
    if now.nodes().contains(&node) {
        return Ok(());
    }
    change(raft, &before, ChangeMembers::AddNodes(BTreeMap::from([(node.0, ())])), true).await
}

/// See [`Shard::change_voters`](crate::Shard::change_voters).
pub(crate) async fn change_voters<R: Runtime>(
    raft: &Raft<R>,
    replica: &Arc<Replica<R>>,
    voters: BTreeSet<NodeId>,
    retain: bool,
) -> Result<(), MembershipError> {
    let me = replica.me;
    let (before, now) = settled(raft)?;
    if now.voters.iter().all(|config| *config == voters) {
        return Ok(());
    }
    let staying: BTreeSet<NodeId> = voters.iter().copied().filter(|node| now.is_voter(*node)).collect();
    if now.is_voter(me) && !voters.contains(&me) && !staying.is_empty() {
        // One of those who stay makes the change: a leader without a vote is nobody's leader for long.
        let to = hand_over(raft, replica, &staying).await?;
        return Err(MembershipError::NotLeader(Some(to)));
    }
    let ids: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
    change(raft, &before, ChangeMembers::ReplaceAllVoters(ids), retain).await?;
    leave_if_out(raft, replica).await;
    Ok(())
}

/// See [`Shard::forget`](crate::Shard::forget).
pub(crate) async fn forget<R: Runtime>(raft: &Raft<R>, node: NodeId) -> Result<(), MembershipError> {
    let (before, now) = settled(raft)?;
    if now.is_voter(node) {
        return Err(MembershipError::Unknown(format!("{node} votes: it is not forgotten")));
    }
    if !now.learners.contains(&node) {
        return Ok(());
    }
    change(raft, &before, ChangeMembers::RemoveNodes(BTreeSet::from([node.0])), true).await
}

/// See [`Shard::finish_change`](crate::Shard::finish_change).
pub(crate) async fn finish_change<R: Runtime>(
    raft: &Raft<R>,
    replica: &Arc<Replica<R>>,
) -> Result<(), MembershipError> {
    leading(raft).map_err(MembershipError::NotLeader)?;
    let before = logged(raft);
    let now = Membership::of(before.membership());
    if !now.is_joint() {
        return Ok(());
    }
    if let Some(staying) = now.voters.last().filter(|staying| !staying.contains(&replica.me)) {
        // As in `change_voters`: one of those who stay finishes it.
        let to = hand_over(raft, replica, staying).await?;
        return Err(MembershipError::NotLeader(Some(to)));
    }
    // Nobody is added, but of two sets of voters the second remains. Who voted before and does not any more follows:
    // whether it was to leave is not known here.
    change(raft, &before, ChangeMembers::AddVoterIds(BTreeSet::new()), true).await
}

/// A leader that has no vote any more hands over to one that has. If none can take over yet, it goes on: openraft
/// lets it, and hands over by itself when it is no member, either.
async fn leave_if_out<R: Runtime>(raft: &Raft<R>, replica: &Arc<Replica<R>>) {
    let now = membership(raft);
    if !now.is_voter(replica.me) {
        let voters = now.voters.into_iter().flatten().collect();
        let _ = hand_over(raft, replica, &voters).await;
    }
}

/// What a leader's change begins with: no other is under way.
fn settled<R: Runtime>(raft: &Raft<R>) -> Result<(Arc<StoredMembership<R>>, Membership), MembershipError> {
    leading(raft).map_err(MembershipError::NotLeader)?;
    let before = logged(raft);
    let now = Membership::of(before.membership());
    // openraft would finish that one on the way, and drop what was asked for.
    if now.is_joint() { Err(MembershipError::InProgress) } else { Ok((before, now)) }
}

/// Makes a change, in both steps if it takes two, unless the members are others than `before`.
async fn change<R: Runtime>(
    raft: &Raft<R>,
    before: &StoredMembership<R>,
    members: ChangeMembers<u64, ()>,
    retain: bool,
) -> Result<(), MembershipError> {
    let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: *before.log_id() };
    let change = |raft: Raft<R>| async move { raft.change_membership_if(members, retain, [unchanged]).await };
    match R::timeout(PATIENCE, to_the_end(raft, change)).await {
        Ok(Some(Ok(_))) => Ok(()),
        Ok(Some(Err(error))) => Err(refused::<R>(error)),
        Ok(None) => Err(MembershipError::Stopped),
        Err(_) => Err(MembershipError::Unknown("no quorum has logged the change yet".into())),
    }
}

fn refused<R: Runtime>(error: RaftError<Types<R>, ClientWriteError<Types<R>>>) -> MembershipError {
    let error = match error {
        RaftError::APIError(error) => error,
        RaftError::Fatal(_) => return MembershipError::Stopped,
    };
    match error {
        ClientWriteError::ForwardToLeader(forward) => MembershipError::NotLeader(forward.leader_id.map(NodeId)),
        // Also of the second of two steps: the first one is logged then, and the change is under way.
        ClientWriteError::PreconditionFailed(_) => MembershipError::Changed,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => MembershipError::InProgress,
        error => MembershipError::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn who_counts_is_told_from_who_only_follows() {
        let me = NodeId(1);
        let of = |voters: &[&[u64]], learners: &[u64]| Membership {
            voters: voters.iter().map(|config| nodes(config)).collect(),
            learners: nodes(learners),
        };
        assert!(!Membership::default().others_vote(me), "nothing was founded");
        let alone = of(&[&[1]], &[2, 3]);
        assert!(!alone.others_vote(me), "what follows may have nothing yet");
        assert!(alone.others_vote(NodeId(2)), "what node 2 has came from another");
        assert!(alone.is_voter(me) && !alone.is_voter(NodeId(2)) && !alone.is_joint());
        let growing = of(&[&[1], &[1, 2, 3]], &[]);
        assert!(growing.is_joint() && !growing.others_vote(me), "until then node 1 decides alone");
        assert!(growing.others_vote(NodeId(3)));
        assert!(of(&[&[1, 2, 3]], &[]).others_vote(me));
        assert_eq!(of(&[&[1], &[2, 3]], &[4]).nodes(), nodes(&[1, 2, 3, 4]));
    }

    #[test]
    fn what_is_logged_is_told() {
        let all = BTreeMap::from([(1, ()), (2, ()), (3, ())]);
        let configs = vec![BTreeSet::from([1]), BTreeSet::from([1, 2])];
        let logged = raft::Membership::new(configs, all).unwrap();
        let told = Membership { voters: vec![nodes(&[1]), nodes(&[1, 2])], learners: nodes(&[3]) };
        assert_eq!(Membership::of(&logged), told);
        assert_eq!(Membership::of(&raft::Membership::default()), Membership::default());
    }
}
