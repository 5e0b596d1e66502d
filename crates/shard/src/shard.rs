//! A replica of a shard: the handle the broker holds.

use crate::apply::StateMachine;
use crate::batcher::{Answer, Batcher, ProposeError, Request};
use crate::door::Door;
use crate::doubt::{self, Doubt};
use crate::environment::Environment;
use crate::handover::hand_over;
use crate::housekeeping::Housekeeping;
use crate::network::Network;
use crate::raft::{Raft, Runtime, leading};
use crate::receiver::Receiver;
use crate::replica::{Replica, RestoreError};
use crate::skew;
use crate::store::Store;
use crate::transport::TransportError;
use bytes::Bytes;
use futures::future::BoxFuture;
use journal::checkpoint::CheckpointError;
use journal::frame::Kind;
use journal::{Journal, LogPosition, Space};
use machine::{Command, Machine, Reply};
use model::{NodeId, ShardId, limit};
use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver;
use parking_lot::RwLockReadGuard;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{Semaphore, mpsc};

/// Raft's timing.
const HEARTBEAT_MILLIS: u64 = 100;
const ELECTION_MILLIS: (u64, u64) = (300, 600);
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

/// What the broker does with consensus; hides the runtime it runs on.
trait Consensus: Send + Sync {
    fn role(&self) -> Role;
    fn term(&self) -> u64;
    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>>;
    fn elect(&self) -> BoxFuture<'_, ()>;
    fn checkpoint(&self) -> BoxFuture<'_, ()>;
    fn shutdown(&self) -> BoxFuture<'_, ()>;
    fn machine(&self) -> RwLockReadGuard<'_, Machine>;
    fn applied(&self) -> LogPosition;
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>>;
    fn add_learner(&self, node: NodeId) -> BoxFuture<'_, Result<(), StartError>>;
    fn change_voters(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>>;
    fn transfer(&self, to: NodeId) -> BoxFuture<'_, ()>;
    fn is_in_doubt(&self) -> bool;
    fn clock_offset_millis(&self) -> i64;
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

struct Inner<R: Runtime> {
    raft: Raft<R>,
    replica: Arc<Replica<R>>,
    doubt: Arc<Doubt>,
    receiver: Arc<Receiver<R>>,
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
        let (replica, in_doubt) = match Replica::<R>::restore(environment.clone(), journal.clone()) {
            Err(RestoreError::Checkpoint(error @ CheckpointError::Damaged { .. })) if journal.is_replicated() => {
                tracing::error!(shard = %journal.shard(), %error, "starting over: everything is copied from other replicas");
                journal.start_over().map_err(|error| RestoreError::Checkpoint(error.into()))?;
                (Replica::<R>::restore(environment, journal.clone())?, true)
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
            election_timeout_min: ELECTION_MILLIS.0,
            election_timeout_max: ELECTION_MILLIS.1,
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MILLIS,
            // Housekeeping says what to purge. openraft's own rule would move the mark back when
            // both are at work, which it asserts never happens.
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            snapshot_policy: SnapshotPolicy::Never,
            enable_pre_vote: Some(true),
            // In doubt a replica does not stand for election; see `doubt`.
            enable_elect: !in_doubt,
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
        drop(R::spawn(Batcher::new(replica.clone(), raft.clone(), receiver).run()));
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

    /// The part this replica plays now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.consensus.role()
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
    /// given in the order they were sent.
    pub fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.consensus.handle(from, request)
    }

    /// Adds a replica that follows without a vote, and waits until it has caught up. Leader only.
    ///
    /// # Errors
    /// When this replica does not lead.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), StartError> {
        self.consensus.add_learner(node).await
    }

    /// Makes these replicas the voters; others leave. Leader only.
    ///
    /// # Errors
    /// When this replica does not lead, or one of them does not follow yet.
    pub async fn change_voters(&self, voters: Vec<NodeId>) -> Result<(), StartError> {
        self.consensus.change_voters(voters).await
    }

    /// Hands leadership to another voter. Leader only; a hint.
    pub async fn transfer_leadership(&self, to: NodeId) {
        self.consensus.transfer(to).await;
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

    /// Stands for election now instead of after a timeout.
    pub async fn elect(&self) {
        self.consensus.elect().await;
    }

    /// Proposes `request`, waiting for room in front of the batcher; `answer` is called when it has
    /// been applied here or is known not to be.
    pub async fn propose(&self, request: Request, answer: Answer) {
        if self.journal.space() != Space::Enough && matches!(request, Request::Append(_)) {
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

impl<R: Runtime> Consensus for Inner<R> {
    fn role(&self) -> Role {
        // The guard must be gone before the same metrics are read again below: with a writer waiting
        // in between, a second reader would wait for ever.
        let stopped = self.raft.metrics().borrow_watched().running_state.is_err();
        if stopped {
            return Role::Stopped;
        }
        match leading(&self.raft) {
            Ok(_) => Role::Leader,
            Err(leader) => Role::Follower(leader),
        }
    }

    fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    fn initialize(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            if self.raft.is_initialized().await.map_err(|error| StartError::Consensus(error.to_string()))? {
                return Ok(());
            }
            let voters: BTreeMap<u64, ()> = voters.into_iter().map(|id| (id.0, ())).collect();
            self.raft.initialize(voters).await.map_err(|error| StartError::Consensus(error.to_string()))
        })
    }

    fn elect(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _ = self.raft.trigger().elect(true).await;
        })
    }

    fn checkpoint(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            crate::housekeeping::checkpoint(&self.raft, &self.replica).await;
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _ = self.raft.shutdown().await;
        })
    }

    fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.replica.machine.read()
    }

    fn applied(&self) -> LogPosition {
        self.replica.applied.lock().at
    }

    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.receiver.handle(from, request)
    }

    fn add_learner(&self, node: NodeId) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            let added = self.raft.add_learner(node.0, (), true).await;
            added.map(|_| ()).map_err(|error| StartError::Consensus(error.to_string()))
        })
    }

    fn change_voters(&self, voters: Vec<NodeId>) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            let voters: BTreeSet<u64> = voters.into_iter().map(|node| node.0).collect();
            let changed = self.raft.change_membership(voters, false).await;
            changed.map(|_| ()).map_err(|error| StartError::Consensus(error.to_string()))
        })
    }

    fn transfer(&self, to: NodeId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            hand_over(&self.raft, &self.replica, to).await;
        })
    }

    fn is_in_doubt(&self) -> bool {
        self.doubt.is_in_doubt()
    }

    fn clock_offset_millis(&self) -> i64 {
        self.replica.clock_offset.load(Relaxed)
    }
}

/// Tells the environment when the leader changes.
async fn watch_role<R: Runtime>(inner: Arc<Inner<R>>) {
    let mut metrics = inner.raft.server_metrics();
    loop {
        (inner.replica.environment.on_role)(inner.replica.shard);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
