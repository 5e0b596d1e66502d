//! A journal that is open under virtual time: how long it is, and what its writer does meanwhile.

use crate::disk::SimDisk;
use crate::rng::Rng;
use crate::time::now;
use journal::{Next, Writer};
use openraft_rt_sim::{SimInstant, SimRuntime};
use shard::runtime::{Instant, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a journal is open, shared with what works on it.
pub(crate) struct Life {
    alive: AtomicBool,
    bell: Notify,
    /// Nanoseconds of virtual time: what was written before is on stable storage.
    stable_at: AtomicU64,
    /// Nothing is written that is not on stable storage.
    stable: AtomicBool,
    /// All that there was when the journal was stopped is on stable storage.
    written: AtomicBool,
    finished: Notify,
}

impl Life {
    /// One that begins.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Life {
            alive: AtomicBool::new(true),
            bell: Notify::new(),
            stable_at: AtomicU64::new(0),
            stable: AtomicBool::new(true),
            written: AtomicBool::new(false),
            finished: Notify::new(),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    /// The writer has something to do.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Everything written so far is on stable storage.
    pub(crate) fn is_stable_now(&self) {
        self.stable_at.store(now().as_nanos() as u64, SeqCst);
    }

    /// Ends it: nothing that has begun comes to an end. Returns since when what was written was on stable
    /// storage if the power goes, too.
    pub(crate) fn end(&self) -> Duration {
        self.alive.store(false, SeqCst);
        self.ring();
        if self.stable.load(SeqCst) { now() } else { Duration::from_nanos(self.stable_at.load(SeqCst)) }
    }

    /// Waits until the writer of a journal that was stopped has written all that there was.
    pub(crate) async fn written(&self) {
        while self.is_alive() && !self.written.load(SeqCst) {
            self.finished.notified().await;
        }
    }
}

/// Waits for as long as whatever is done to a disk takes now: before a journal is opened there.
pub(crate) async fn wait_for(disk: &SimDisk) {
    let latency = disk.faults().latency;
    if latency > 0 {
        SimRuntime::sleep(Duration::from_micros(latency)).await;
    }
}

/// Does what the writer asks for, in the time a disk takes.
pub(crate) async fn drive(mut writer: Writer, life: Arc<Life>, disk: SimDisk, mut rng: Rng) {
    let mut pause = move |most: u64| {
        let micros = rng.between(10, most) + disk.faults().latency;
        SimRuntime::sleep(Duration::from_micros(micros))
    };
    let mut deadline: Option<SimInstant> = None;
    while life.is_alive() {
        let overdue = match deadline {
            None => {
                life.bell.notified().await;
                false
            }
            Some(deadline) => {
                let left = deadline - SimInstant::now();
                let _ = SimRuntime::timeout(left, life.bell.notified()).await;
                SimInstant::now() >= deadline
            }
        };
        pause(100).await;
        if !life.is_alive() {
            return;
        }
        life.stable.store(false, SeqCst);
        let stopping = writer.journal().is_stopping();
        let mut next = writer.write();
        if next == Next::Sync || ((overdue || stopping) && matches!(next, Next::SyncWithin(_))) {
            pause(3_000).await;
            if !life.is_alive() {
                return;
            }
            next = writer.sync();
            deadline = None;
            if next == Next::Idle {
                life.is_stable_now();
            }
        }
        let after = |delay: Duration| Some(SimInstant::now() + delay);
        deadline = match next {
            Next::Idle | Next::Sync if writer.is_idle() => {
                life.stable.store(true, SeqCst);
                None
            }
            Next::Idle | Next::Sync => after(Duration::ZERO),
            // What was written first must not wait for ever because more follows it.
            Next::SyncWithin(delay) => deadline.or_else(|| after(delay)),
            Next::Retry(delay) => after(delay),
        };
        if stopping && writer.is_idle() {
            life.written.store(true, SeqCst);
            life.finished.notify_one();
            return;
        }
    }
}
