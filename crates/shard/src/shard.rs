//! A replica of a shard: the handle the broker holds.

use crate::apply::StateMachine;
use crate::batcher::{Answer, Batcher, Pending, ProposeError, Request};
use crate::candidacy;
use crate::consensus::{Consensus, Inner, watch_role};
use crate::door::Door;
use crate::doubt::{self, Doubt};
use crate::environment::Environment;
use crate::handover::step_down_unheard;
use crate::housekeeping::Housekeeping;
use crate::leadership::WORD;
use crate::membership::{Membership, MembershipError, is_founded};
use crate::network::Network;
use crate::pull::Copying;
use crate::raft::{Raft, Runtime};
use crate::receiver::Receiver;
use crate::replica::{Replica, RestoreError};
use crate::skew;
use crate::store::Store;
use crate::transport::TransportError;
use bytes::Bytes;
use futures::future::BoxFuture;
use journal::checkpoint::CheckpointError;
use journal::frame::Kind;
use journal::{Journal, LogPosition};
use machine::{Command, Machine, Reply};
use model::{NodeId, ShardId, limit};
use openraft::SnapshotPolicy;
use parking_lot::RwLockReadGuard;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

const HEARTBEAT_MILLIS: u64 = 100;
/// openraft's default of 200 ms is too short for a checkpoint of any size.
const SNAPSHOT_TIMEOUT_MILLIS: u64 = 600_000;

/// Which part a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads and may propose.
    Leader,
    /// Another leads, if anybody is known to.
    Follower(Option<NodeId>),
    /// It has stopped after an error that only a restart, or a human, can mend.
    Stopped,
}

/// Why a shard does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state cannot be rebuilt.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// An entry that nobody else has cannot be read.
    #[error(
        "entry {0} is damaged on disk, and no other replica has it. Restore its file, or give up \
         what the entry carried with `mainstem skip-entry`"
    )]
    Lost(u64),
    /// openraft refused.
    #[error("consensus: {0}")]
    Consensus(String),
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Shard {
    id: ShardId,
    journal: Arc<Journal>,
    consensus: Arc<dyn Consensus>,
    door: Door,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.id)
    }
}

impl Shard {
    /// Starts node `me`'s replica over an open journal, whose writer must be running. Blocks on the
    /// disk while the checkpoint is read.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start<R: Runtime>(
        me: NodeId,
        journal: Arc<Journal>,
        in_doubt: bool,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let (replica, in_doubt) = match Replica::<R>::restore(me, environment.clone(), journal.clone()) {
            Err(RestoreError::Checkpoint(error @ CheckpointError::Damaged { .. })) if journal.is_replicated() => {
                tracing::error!(shard = %journal.shard(), %error, "starting over: everything is copied from other replicas");
                journal.start_over().map_err(|error| RestoreError::Checkpoint(error.into()))?;
                (Replica::<R>::restore(me, environment, journal.clone())?, true)
            }
            restored => (restored?, in_doubt),
        };
        let replica = Arc::new(replica);
        let unreadable = journal.unreadable_entries(journal.checkpoint_at().index + 1);
        if let (Some((index, _)), false) = (unreadable.first(), journal.is_replicated()) {
            return Err(StartError::Lost(*index));
        }
        // Who votes may have changed with what cannot be read.
        let in_doubt = in_doubt || unreadable.iter().any(|(_, kind)| *kind == Kind::Membership);
        let config = openraft::Config {
            cluster_name: "mainstem".into(),
            heartbeat_interval: HEARTBEAT_MILLIS,
            // How long a candidate waits for a vote, and how long a follower's word counts: see `candidacy`.
            election_timeout_min: WORD.as_millis() as u64 - 1,
            election_timeout_max: WORD.as_millis() as u64,
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MILLIS,
            // Housekeeping says what to purge. openraft's own rule would move the mark back when
            // both are at work, which it asserts never happens.
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            snapshot_policy: SnapshotPolicy::Never,
            enable_pre_vote: Some(true),
            enable_elect: false,
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        let consensus = |error: &dyn fmt::Display| StartError::Consensus(error.to_string());
        let config = Arc::new(config.validate().map_err(|error| consensus(&error))?);
        let store = Store::<R>::new(&replica, unreadable.into_iter().map(|(index, _)| index).collect());
        let machine = StateMachine::new(replica.clone());
        let network = Network::<R> { replica: replica.clone() };
        let raft = Raft::<R>::new(me.0, config, network, store, machine).await.map_err(|error| consensus(&error))?;
        let (submissions, receiver) = mpsc::channel(limit::SHARD_REQUESTS_WAITING_MAX);
        let pending = Arc::new(Pending::default());
        drop(R::spawn(Batcher::new(replica.clone(), raft.clone(), receiver, pending.clone()).run()));
        let doubt = Arc::new(Doubt::new(in_doubt));
        if in_doubt {
            drop(R::spawn(doubt::settle(replica.clone(), raft.clone(), doubt.clone())));
        }
        let receiver = Arc::new(Receiver::new(replica.clone(), raft.clone(), doubt.clone()));
        let door = Door { submissions, room: Arc::new(Semaphore::new(limit::SHARD_BYTES_WAITING_MAX)) };
        let inner = Arc::new(Inner { raft, replica, doubt, receiver });
        drop(R::spawn(watch_role(inner.clone())));
        drop(R::spawn(Housekeeping::new(inner.raft.clone(), inner.replica.clone(), door.downgrade()).run()));
        drop(R::spawn(skew::watch(inner.raft.clone(), inner.replica.clone())));
        drop(R::spawn(candidacy::stand(inner.raft.clone(), inner.replica.clone(), inner.doubt.clone())));
        drop(R::spawn(step_down_unheard(inner.raft.clone(), inner.replica.clone(), pending)));
        // The members are told from here on: by the time openraft answers, it has said who they are.
        let _ = inner.raft.is_initialized().await;
        Ok(Shard { id: journal.shard(), journal, consensus: inner, door })
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Its journal, to read from.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The part this replica plays now. What it may say as the leader is another question: see
    /// [`Shard::leading`].
    #[must_use]
    pub fn role(&self) -> Role {
        self.consensus.role()
    }

    /// The term this replica leads in, once it has applied an entry of it: only then has it all that was
    /// acknowledged before, and may say what there is.
    ///
    /// # Errors
    /// Who leads instead; nobody when that is not known, or when this replica leads and is not ready yet.
    pub fn leading(&self) -> Result<u64, Option<NodeId>> {
        self.consensus.leading()
    }

    /// Whether this replica leads and most voters have confirmed so lately that nobody else can lead yet: of one
    /// that is cut off others may know better.
    #[must_use]
    pub fn is_sure_to_lead(&self) -> bool {
        self.consensus.is_sure_to_lead()
    }

    /// Whether this replica, which does not lead, has heard of a leader lately. One that is cut off still takes the node
    /// for the leader that was it last.
    #[must_use]
    pub fn hears_leader(&self) -> bool {
        self.consensus.hears_leader()
    }

    /// The Raft term this replica is in.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.consensus.term()
    }

    /// The state as applied here. Held only for a look: `apply` waits.
    pub fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.consensus.machine()
    }

    /// The last entry that [`Shard::machine`] has seen.
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        self.consensus.applied()
    }

    /// Makes this replica the first of a new shard with these voters; does nothing when the shard
    /// exists.
    ///
    /// # Errors
    /// When consensus has stopped.
    pub async fn initialize(&self, voters: Vec<NodeId>) -> Result<(), StartError> {
        self.consensus.initialize(voters).await
    }

    /// Takes a call from another node's replica of this shard. Calls of one node and lane are to be
    /// given in the order they were sent. The answer is the concatenation of its parts.
    pub fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Vec<Bytes>, TransportError>> {
        self.consensus.handle(from, request)
    }

    /// Who has a replica, as logged here; nobody when nothing was ever founded.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.consensus.membership()
    }

    /// Whether this replica is part of a shard: somebody has founded it here, or a leader has called. What is not
    /// founded holds nothing that counts.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        is_founded(&self.journal)
    }

    /// How many entries each other member is behind, as far as the leader knows: `u64::MAX` when it has not heard of
    /// one. Empty when this replica does not lead.
    #[must_use]
    pub fn lags(&self) -> BTreeMap<NodeId, u64> {
        self.consensus.lags()
    }

    /// How long ago each other member confirmed that this replica leads; those that have not are left out. Empty
    /// when this replica does not lead.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<NodeId, Duration> {
        self.consensus.silences()
    }

    /// How far snapshots are that are being copied: by this replica, and by others from this one, as last heard.
    #[must_use]
    pub fn copying(&self) -> BTreeMap<NodeId, Copying> {
        self.consensus.copying()
    }

    /// Returns when [`Shard::machine`] has seen the entry at `index`.
    pub async fn wait_applied(&self, index: u64) {
        self.consensus.wait_applied(index).await;
    }

    /// Makes `node` a member that follows without a vote, and does not wait for it to catch up. Leader only. Nothing
    /// happens when it is a member already.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn follow(&self, node: NodeId) -> Result<(), MembershipError> {
        self.consensus.follow(node).await
    }

    /// Makes these members the voters, all of which have to be members. Those who voted before and do not any more
    /// follow from now on if they are to be retained, or leave. Leader only; one that does not vote any more hands
    /// leadership over first, and says to whom as [`MembershipError::NotLeader`]: that one is to be asked.
    ///
    /// # Errors
    /// See [`MembershipError`]. Of a change that has failed the first half may be done: [`Membership::is_joint`]
    /// tells, and [`Shard::finish_change`] does the other.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>, retain: bool) -> Result<(), MembershipError> {
        self.consensus.change_voters(voters, retain).await
    }

    /// Removes a member that does not vote. Leader only.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn forget(&self, node: NodeId) -> Result<(), MembershipError> {
        self.consensus.forget(node).await
    }

    /// Finishes a change of voters that is half done, because its leader died or could not wait. Whoever is to lose
    /// its vote by it follows from now on. Leader only. Nothing happens when no change is half done.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn finish_change(&self) -> Result<(), MembershipError> {
        self.consensus.finish_change().await
    }

    /// Hands leadership to `to`, or to the voter that has most of the log, and waits until another replica leads.
    /// Returns which does. Leader only. From the moment another one can take over, this one proposes nothing more.
    ///
    /// # Errors
    /// See [`MembershipError`]: among others when nobody can take over now.
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<NodeId, MembershipError> {
        self.consensus.hand_over(to).await
    }

    /// Whether this replica may have forgotten what it acknowledged: it serves nobody meanwhile.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.consensus.is_in_doubt()
    }

    /// How far the clocks of most replicas are ahead of this node's, as last asked.
    #[must_use]
    pub fn clock_offset_millis(&self) -> i64 {
        self.consensus.clock_offset_millis()
    }

    /// The other voters whose clocks differ too much from most for them to lead, as last asked.
    #[must_use]
    pub fn wrong_clocks(&self) -> BTreeSet<NodeId> {
        self.consensus.wrong_clocks()
    }

    /// Stands for election now instead of after a timeout, if this replica votes alone.
    pub async fn elect(&self) {
        self.consensus.elect().await;
    }

    /// Proposes `request`, waiting for room in front of the batcher; `answer` is called when it has
    /// been applied here or is known not to be.
    pub async fn propose(&self, request: Request, answer: Answer) {
        if !self.journal.has_room() && matches!(request, Request::Append(_)) {
            return answer(Err(ProposeError::DiskFull));
        }
        self.door.submit(request, answer).await;
    }

    /// Proposes a command and waits for its answer.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn command(&self, command: Command) -> Result<Reply, ProposeError> {
        self.door.command(command).await
    }

    /// Writes a checkpoint of what is applied now.
    pub async fn checkpoint(&self) {
        self.consensus.checkpoint().await;
    }

    /// Stops taking part. What was acknowledged is in the journal.
    pub async fn shutdown(&self) {
        self.consensus.shutdown().await;
    }
}
