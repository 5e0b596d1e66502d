//! A node: hardware that stays, and the replica that runs on it now.

use super::net::Net;
use crate::disk::SimDisk;
use crate::rng::Rng;
use crate::trace::Trace;
use journal::canary::Fault;
use journal::{CacheBudget, Journal, Next, Options, Writer};
use model::{NodeId, ShardId, Timestamp};
use openraft_rt_sim::{SimInstant, SimRuntime};
use parking_lot::Mutex;
use shard::runtime::{Instant, Runtime};
use shard::{Environment, Shard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;

/// Small files, so that runs roll, finish, pack and purge.
const LOG_FILE_BYTES: u64 = 24 << 10;
const RESERVE_BYTES: u64 = 24 << 10;
const CACHE_BYTES: usize = 48 << 10;

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    net: Net,
    rng: Arc<Mutex<Rng>>,
    trace: Trace,
    fault: Option<Fault>,
    /// By how much its wall clock is wrong, in milliseconds.
    pub(super) clock_error: Arc<AtomicI64>,
    starts: u64,
    running: Option<Running>,
    /// Starts that found the replica in doubt.
    pub(super) doubts: u64,
}

pub(super) struct Running {
    pub(super) shard: Shard,
    alive: Arc<AtomicBool>,
    bell: Arc<Notify>,
}

impl Node {
    pub(super) fn new(id: NodeId, net: Net, mut rng: Rng, trace: Trace, fault: Option<Fault>) -> Self {
        let disk = SimDisk::new(rng.number(), Trace::off());
        let rng = Arc::new(Mutex::new(rng));
        Node { id, disk, net, rng, trace, fault, clock_error: Arc::default(), starts: 0, running: None, doubts: 0 }
    }

    pub(super) fn shard(&self) -> Option<&Shard> {
        self.running.as_ref().map(|running| &running.shard)
    }

    /// Starts the replica on what the disk has.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        self.starts += 1;
        let bell = Arc::new(Notify::new());
        let mut options = Options::new(ShardId(1), CacheBudget::new(CACHE_BYTES), self.rng.lock().number());
        options.log_file_bytes = LOG_FILE_BYTES;
        options.reserve_bytes = RESERVE_BYTES;
        options.fault = self.fault;
        options.wake_writer = {
            let bell = bell.clone();
            Arc::new(move || bell.notify_one())
        };
        let opened = Journal::open(self.disk.mount(), options);
        let (journal, writer, recovered) = opened.map_err(|error| format!("{}: open: {error}", self.id))?;
        self.trace.line(format_args!(
            "{} starts: last {:?} floor {:?} checkpoint {:?} {recovered:?}",
            self.id,
            journal.last(),
            journal.floor(),
            journal.checkpoint_at()
        ));
        self.doubts += u64::from(recovered.in_doubt);
        let alive = Arc::new(AtomicBool::new(true));
        drop(SimRuntime::spawn(drive(writer, bell.clone(), alive.clone(), self.rng.clone())));
        let clock_error = self.clock_error.clone();
        let environment = Environment {
            transport: self.net.transport(self.id, self.starts),
            wall: Arc::new(move || Timestamp(millis() + clock_error.load(SeqCst))),
            offload: Arc::new(|work| work()),
            on_effects: Arc::new(|_, _| ()),
            on_role: Arc::new(|_| ()),
        };
        let started = Shard::start::<SimRuntime>(self.id, journal, recovered.in_doubt, environment).await;
        let shard = started.map_err(|error| format!("{}: start: {error}", self.id))?;
        self.net.plug(self.id, self.starts, shard.clone());
        self.running = Some(Running { shard, alive, bell });
        Ok(())
    }

    /// The process is gone: nothing it has begun comes to an end.
    pub(super) async fn crash(&mut self, power: bool) {
        let Some(running) = self.running.take() else { return };
        self.trace.line(format_args!("{} {}", self.id, if power { "loses power" } else { "is killed" }));
        running.alive.store(false, SeqCst);
        self.net.unplug(self.id);
        if power {
            self.disk.power_loss()
        } else {
            self.disk.kill()
        }
        running.bell.notify_one();
        running.shard.journal().stop();
        running.shard.shutdown().await;
    }
}

/// Milliseconds of virtual time since some day in the past.
fn millis() -> i64 {
    static START: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let _ = START.get_or_init(|| 0);
    1_700_000_000_000 + i64::try_from(elapsed().as_millis()).unwrap_or(0)
}

fn elapsed() -> Duration {
    thread_local! {
        static ORIGIN: std::cell::Cell<Option<SimInstant>> = const { std::cell::Cell::new(None) };
    }
    ORIGIN.with(|origin| {
        let now = SimInstant::now();
        let first = origin.get().filter(|first| *first <= now).unwrap_or(now);
        origin.set(Some(first));
        now - first
    })
}

/// Does what the writer asks for, in the time a disk takes.
async fn drive(mut writer: Writer, bell: Arc<Notify>, alive: Arc<AtomicBool>, rng: Arc<Mutex<Rng>>) {
    let pause = |most: u64| {
        let micros = rng.lock().between(10, most);
        SimRuntime::sleep(Duration::from_micros(micros))
    };
    let mut wait: Option<Duration> = None;
    while alive.load(SeqCst) {
        let overdue = match wait.take() {
            None => {
                bell.notified().await;
                false
            }
            Some(delay) => SimRuntime::timeout(delay, bell.notified()).await.is_err(),
        };
        pause(100).await;
        if !alive.load(SeqCst) {
            return;
        }
        let mut next = writer.write();
        if next == Next::Sync || (overdue && matches!(next, Next::SyncWithin(_))) {
            pause(3_000).await;
            if !alive.load(SeqCst) {
                return;
            }
            next = writer.sync();
        }
        wait = match next {
            Next::Idle | Next::Sync if writer.is_idle() => None,
            Next::Idle | Next::Sync => Some(Duration::ZERO),
            Next::SyncWithin(delay) | Next::Retry(delay) => Some(delay),
        };
    }
}
