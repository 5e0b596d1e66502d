//! What a shard is given of the world around it, so that the simulator can give it another.

use crate::bandwidth::Bandwidth;
use crate::transport::Transport;
use machine::Effect;
use model::{ShardId, Timestamp, limit};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Work that may block on the disk.
pub type Blocking = Box<dyn FnOnce() + Send>;

/// Told what applied entries ask for.
pub type OnEffects = dyn Fn(ShardId, &[Effect]) + Send + Sync;

/// How much a replica logs between the things it does for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// A checkpoint is written when so much was logged since the last one.
    pub checkpoint_log_bytes: u64,
    /// Of what a checkpoint covers, so much log is kept for followers that lag a little.
    pub log_kept_bytes: u64,
    /// What openraft has purged stays readable for so long: longer than a stream of entries to a
    /// follower waits between two tries.
    pub purge_delay: Duration,
    /// How often streams are looked through for what is to be compacted: Kafka's
    /// `log.cleaner.backoff.ms`.
    pub compaction_interval: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep {
            checkpoint_log_bytes: 32 * limit::MIB as u64,
            log_kept_bytes: 64 * limit::MIB as u64,
            purge_delay: Duration::from_secs(10),
            compaction_interval: Duration::from_secs(15),
        }
    }
}

/// How a node copies snapshots from others. Clones share what is the node's.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// Bytes asked for at a time, at most [`journal::install::CHUNK_BYTES`].
    pub chunk_bytes: usize,
    /// Bytes that all shards of the node copy together; without a limit as many as come.
    pub bandwidth: Option<Bandwidth>,
    /// So long after a replica was last heard of, the files that it copies from here are still kept.
    pub lease: Duration,
    /// Parts of snapshots that nobody asks for are kept for so long.
    pub parts_kept: Duration,
    /// A turn for the shards of the node: one copies at a time, and the catalog beside it.
    pub turn: Arc<Semaphore>,
}

impl Default for CatchUp {
    fn default() -> Self {
        CatchUp {
            chunk_bytes: journal::install::CHUNK_BYTES,
            bandwidth: None,
            lease: Duration::from_secs(60),
            parts_kept: Duration::from_secs(3600),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

/// The world around a shard.
#[derive(Clone)]
pub struct Environment {
    /// The other nodes.
    pub transport: Arc<dyn Transport>,
    /// The wall clock.
    pub wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Runs what may block where it blocks nobody.
    pub offload: Arc<dyn Fn(Blocking) + Send + Sync>,
    /// Told what each entry asks for that is applied, if anything. Called from `apply`: it must not block. A snapshot stands for entries of
    /// which nobody knows what they asked for: it is told as a change of the catalog, and [`Environment::on_role`]
    /// follows. So look at the state, and take what is told for a bell.
    pub on_effects: Arc<OnEffects>,
    /// Called when anything may be different: the shard's role, its leader, whether that one is ready, its members,
    /// or, after a snapshot, all of its state. From `apply`, too: it must not block.
    pub on_role: Arc<dyn Fn(ShardId) + Send + Sync>,
    /// When it looks after itself.
    pub upkeep: Upkeep,
    /// A turn for each of a node's shards that may do work which takes much memory.
    pub turns: Arc<Semaphore>,
    /// How it copies snapshots.
    pub catch_up: CatchUp,
}

impl Environment {
    /// Runs `work` where it may block, and waits for what it returns. `None` when the node stops.
    pub(crate) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, wait) = futures::channel::oneshot::channel();
        (self.offload)(Box::new(move || {
            let _ = done.send(work());
        }));
        wait.await.ok()
    }
}
