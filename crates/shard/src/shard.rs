//! A replica of a shard: the handle the broker holds.

use crate::apply::StateMachine;
use crate::batcher::{Answer, Batcher, ProposeError, Request, Submission};
use crate::environment::Environment;
use crate::network::Network;
use crate::raft::{Raft, Runtime, node};
use crate::replica::{Replica, RestoreError};
use crate::store::{Store, from_raft, to_raft};
use futures::future::BoxFuture;
use journal::{Journal, Space};
use machine::{Command, Machine, Reply};
use model::{NodeId, ShardId, limit};
use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver;
use parking_lot::RwLockReadGuard;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Raft's timing.
const HEARTBEAT_MILLIS: u64 = 100;
const ELECTION_MILLIS: (u64, u64) = (300, 600);
/// openraft's default of 200 ms is too short for a checkpoint of any size.
const SNAPSHOT_TIMEOUT_MILLIS: u64 = 600_000;
/// A checkpoint is written when so much was logged since the last one...
const CHECKPOINT_LOG_BYTES: u64 = 64 * limit::MIB as u64;
/// ...and so many entries stay in the Raft log behind it, for followers that lag a little.
const LOG_KEPT_ENTRIES: u64 = 1024;
/// How often a replica looks after itself.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

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
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Shard {
    id: ShardId,
    journal: Arc<Journal>,
    consensus: Arc<dyn Consensus>,
    submissions: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.id)
    }
}

struct Inner<R: Runtime> {
    raft: Raft<R>,
    replica: Arc<Replica<R>>,
    log_bytes_at_checkpoint: AtomicU64,
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
        environment: Environment,
    ) -> Result<Self, StartError> {
        let replica = Arc::new(Replica::<R>::restore(environment, journal.clone())?);
        let config = openraft::Config {
            cluster_name: "mainstem".into(),
            heartbeat_interval: HEARTBEAT_MILLIS,
            election_timeout_min: ELECTION_MILLIS.0,
            election_timeout_max: ELECTION_MILLIS.1,
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MILLIS,
            max_in_snapshot_log_to_keep: LOG_KEPT_ENTRIES,
            purge_batch_size: 1,
            snapshot_policy: SnapshotPolicy::Never,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        let consensus = |error: &dyn fmt::Display| StartError::Consensus(error.to_string());
        let config = Arc::new(config.validate().map_err(|error| consensus(&error))?);
        let store = Store::<R>::new(journal.clone());
        let machine = StateMachine::new(replica.clone());
        let network = Network::<R>(PhantomData);
        let raft = Raft::<R>::new(me.0, config, network, store, machine).await.map_err(|error| consensus(&error))?;
        let (submissions, receiver) = mpsc::channel(limit::SHARD_REQUESTS_WAITING_MAX);
        drop(R::spawn(Batcher::new(replica.clone(), raft.clone(), receiver).run()));
        let inner = Arc::new(Inner { raft, replica, log_bytes_at_checkpoint: AtomicU64::new(0) });
        drop(R::spawn(watch_role(inner.clone())));
        drop(R::spawn(keep_house(inner.clone())));
        Ok(Shard {
            id: journal.shard(),
            journal,
            consensus: inner,
            submissions,
            room: Arc::new(Semaphore::new(limit::SHARD_BYTES_WAITING_MAX)),
        })
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

    /// Makes this replica the first of a new shard with these voters; does nothing when the shard
    /// exists.
    ///
    /// # Errors
    /// When consensus has stopped.
    pub async fn initialize(&self, voters: Vec<NodeId>) -> Result<(), StartError> {
        self.consensus.initialize(voters).await
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
        let bytes = request.bytes().clamp(1, limit::SHARD_BYTES_WAITING_MAX) as u32;
        let Ok(room) = self.room.clone().acquire_many_owned(bytes).await else {
            return answer(Err(ProposeError::Stopped));
        };
        if let Err(unsent) = self.submissions.send(Submission { request, answer, room }).await {
            (unsent.0.answer)(Err(ProposeError::Stopped));
        }
    }

    /// Proposes a command and waits for its answer.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn command(&self, command: Command) -> Result<Reply, ProposeError> {
        let (sender, wait) = futures::channel::oneshot::channel();
        let answer = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.propose(Request::Command(command), answer).await;
        wait.await.unwrap_or(Err(ProposeError::Unknown))
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
        match self.raft.as_leader() {
            Ok(_) => Role::Leader,
            Err(forward) => Role::Follower(forward.leader_id.map(node)),
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
            let at = self.replica.applied.lock().at.index;
            if self.replica.journal.checkpoint_at().index >= at || self.raft.trigger().snapshot().await.is_err() {
                return;
            }
            let written = |metrics: &openraft::RaftMetrics<_>| {
                metrics.snapshot.is_some_and(|id| from_raft(id.index()) >= at) || metrics.running_state.is_err()
            };
            let _ = self.raft.wait(Some(Duration::from_secs(30))).metrics(written, "checkpoint").await;
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

/// What a replica does for itself: finishing files, checkpoints, giving space back.
async fn keep_house<R: Runtime>(inner: Arc<Inner<R>>) {
    let replica = &inner.replica;
    while !replica.journal.is_stopping() {
        R::sleep(HOUSEKEEPING).await;
        let journal = replica.journal.clone();
        let done = replica.environment.blocking(move || {
            journal.refill_reserve()?;
            while journal.finish_next()? {}
            Ok::<(), std::io::Error>(())
        });
        if let Some(Err(error)) = done.await {
            tracing::warn!(shard = %replica.shard, %error, "housekeeping: will be tried again");
        }
        let logged = replica.journal.counters.log_bytes.load(Relaxed);
        if logged - inner.log_bytes_at_checkpoint.load(Relaxed) >= CHECKPOINT_LOG_BYTES {
            inner.log_bytes_at_checkpoint.store(logged, Relaxed);
            inner.checkpoint().await;
            let journal = replica.journal.clone();
            if let Some(Err(error)) = replica.environment.blocking(move || journal.merge_checkpoint()).await {
                tracing::warn!(shard = %replica.shard, %error, "merging the checkpoint: will be tried again");
            }
            let covered = replica.journal.checkpoint_at().index.saturating_sub(LOG_KEPT_ENTRIES);
            if covered > 0 {
                let _ = inner.raft.trigger().purge_log(to_raft(covered)).await;
            }
        }
    }
}
