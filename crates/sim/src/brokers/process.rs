//! A process: what runs in it, which journals it has open, and how all of that ends.

use crate::cluster::states::States;
use crate::disk::SimDisk;
use crate::life::Life;
use crate::rng::Rng;
use crate::time::{EPOCH_MILLIS, now};
use broker::world::{Moment, Surroundings};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{self, BoxFuture, Shared};
use journal::Journal;
use model::{NodeId, ShardId, Timestamp};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::Shard;
use shard::runtime::Runtime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

/// Comes when a process ends.
pub(super) type Death = Shared<oneshot::Receiver<()>>;

/// The states of all shards' replicas, against each other.
pub(super) type AllStates = Arc<Mutex<BTreeMap<ShardId, States>>>;

/// Longer than any run: nobody sleeps longer.
const SLEEP_MAX: Duration = Duration::from_secs(1_000_000);

/// A journal that a process has open.
pub(super) struct Opened {
    pub(super) journal: Arc<Journal>,
    pub(super) life: Arc<Life>,
    pub(super) disk: SimDisk,
    /// The journal had files when it was opened.
    pub(super) had_files: bool,
    /// The replica on it, once it is started. Emptied in the end, because what it calls leads back here.
    pub(super) shard: Mutex<Option<Shard>>,
}

impl Opened {
    /// Compares the state that the replica has just come to with the others'.
    pub(super) fn compare_state(&self, node: NodeId, states: &Mutex<BTreeMap<ShardId, States>>) {
        let shard = self.shard.lock().clone();
        if let Some(shard) = shard {
            states.lock().entry(shard.id()).or_default().compare(&shard, node);
        }
    }

    /// Nothing reaches the disk any more. Returns since when what was written is on stable storage.
    pub(super) fn end(&self) -> Duration {
        let stable_at = self.life.end();
        self.disk.kill();
        self.journal.stop();
        stable_at
    }

    /// Ends the replica, too.
    pub(super) async fn end_replica(&self) {
        let shard = self.shard.lock().take();
        if let Some(shard) = shard {
            shard.shutdown().await;
        }
    }
}

/// See the module's documentation.
pub(super) struct Process {
    alive: AtomicBool,
    death: Death,
    /// Ends all tasks when it is dropped.
    ends: Mutex<Option<oneshot::Sender<()>>>,
    opened: Mutex<Vec<Arc<Opened>>>,
    /// By how much the machine's wall clock is wrong, in milliseconds.
    clock_error: Arc<AtomicI64>,
    rng: Mutex<Rng>,
}

impl Process {
    pub(super) fn new(clock_error: Arc<AtomicI64>, rng: Rng) -> Arc<Self> {
        let (ends, death) = oneshot::channel();
        Arc::new(Process {
            alive: AtomicBool::new(true),
            death: death.shared(),
            ends: Mutex::new(Some(ends)),
            opened: Mutex::default(),
            clock_error,
            rng: Mutex::new(rng),
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    pub(super) fn death(&self) -> Death {
        self.death.clone()
    }

    /// Any number.
    pub(super) fn number(&self) -> u64 {
        self.rng.lock().number()
    }

    /// Chance for a part of the process.
    pub(super) fn fork(&self) -> Rng {
        self.rng.lock().fork()
    }

    /// How much longer the slowest of its disks takes for everything now, in microseconds: nobody says on which one it is
    /// that work may block.
    fn latency(&self) -> u64 {
        self.opened.lock().iter().map(|opened| opened.disk.faults().latency).max().unwrap_or_default()
    }

    /// Runs a task that ends with the process.
    pub(super) fn spawn(&self, task: BoxFuture<'static, ()>) {
        if self.is_alive() {
            let death = self.death();
            drop(SimRuntime::spawn(async move { drop(future::select(death, task).await) }));
        }
    }

    /// Notes a journal that was opened.
    pub(super) fn open(&self, opened: Arc<Opened>) {
        self.opened.lock().push(opened);
    }

    /// Forgets a journal that was closed.
    pub(super) fn close(&self, closed: &Arc<Opened>) {
        self.opened.lock().retain(|opened| !Arc::ptr_eq(opened, closed));
    }

    /// Ends all tasks. Returns the journals that are open still.
    pub(super) fn end(&self) -> Vec<Arc<Opened>> {
        self.alive.store(false, SeqCst);
        self.ends.lock().take();
        std::mem::take(&mut *self.opened.lock())
    }
}

/// A process as what runs in it sees it.
pub(super) struct Inside(pub(super) Arc<Process>);

impl Surroundings for Inside {
    fn now(&self) -> Moment {
        Moment(now())
    }

    fn wall(&self) -> Timestamp {
        Timestamp(EPOCH_MILLIS + now().as_millis() as i64 + self.0.clock_error.load(SeqCst))
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SimRuntime::sleep(time.min(SLEEP_MAX)))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        let micros = self.0.rng.lock().between(10, 2_000) + self.0.latency();
        self.0.spawn(Box::pin(async move {
            SimRuntime::sleep(Duration::from_micros(micros)).await;
            work();
        }));
    }

    fn random(&self) -> u128 {
        let mut rng = self.0.rng.lock();
        u128::from(rng.number()) << 64 | u128::from(rng.number())
    }
}
