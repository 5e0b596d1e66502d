//! A node: hardware that stays, and the replica that runs on it now.

use super::facts::Facts;
use super::net::{Net, Port};
use super::shape::Shape;
use super::states::States;
use crate::disk::{Faults, SimDisk};
use crate::life::{Life, drive, wait_for};
use crate::rng::Rng;
use crate::time::{EPOCH_MILLIS, now};
use crate::trace::Trace;
use journal::canary::Fault;
use journal::{CacheBudget, Journal, LogPosition, Options};
use machine::Effect;
use model::{NodeId, ShardId, Timestamp};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::environment::Blocking;
use shard::runtime::Runtime;
use shard::{Environment, Shard};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    net: Net,
    rng: Rng,
    shape: Shape,
    trace: Trace,
    fault: Option<Fault>,
    states: Arc<Mutex<States>>,
    /// By how much its wall clock is wrong, in milliseconds.
    pub(super) clock_error: Arc<AtomicI64>,
    starts: u64,
    running: Option<Running>,
    /// The last entry it had when it went down.
    last_seen: LogPosition,
    /// What it wrote before is on stable storage, while it is down.
    stable_at: Duration,
    /// What came of its journals.
    pub(super) facts: Facts,
}

struct Running {
    shard: Shard,
    /// The same, for what the shard itself calls. Emptied in the end, because it goes in a circle.
    inside: Inside,
    life: Arc<Life>,
    /// The journal had files when it was opened.
    had_files: bool,
}

type Inside = Arc<Mutex<Option<Shard>>>;

impl Node {
    pub(super) fn new(
        id: NodeId,
        net: Net,
        mut rng: Rng,
        shape: Shape,
        trace: Trace,
        fault: Option<Fault>,
        states: Arc<Mutex<States>>,
    ) -> Self {
        let disk = SimDisk::new(rng.number(), Trace::off());
        Node {
            id,
            disk,
            net,
            rng,
            shape,
            trace,
            fault,
            states,
            clock_error: Arc::default(),
            starts: 0,
            running: None,
            last_seen: LogPosition::default(),
            stable_at: Duration::ZERO,
            facts: Facts::default(),
        }
    }

    pub(super) fn shard(&self) -> Option<&Shard> {
        self.running.as_ref().map(|running| &running.shard)
    }

    /// Starts the replica on what the disk has. A node whose disk fails at that moment is started
    /// again when it does not.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        match self.try_start().await {
            Err(error) if self.disk.faults() != Faults::NONE => {
                self.trace.line(format_args!("{:?} {} does not start: {error}", now(), self.id));
                self.disk.set_faults(|faults| *faults = Faults::NONE);
                self.try_start().await
            }
            outcome => outcome,
        }
    }

    async fn try_start(&mut self) -> Result<(), String> {
        self.starts += 1;
        wait_for(&self.disk).await;
        let life = Life::new();
        let mut options = Options::new(ShardId(1), CacheBudget::new(self.shape.cache_bytes), self.rng.number());
        options.log_file_bytes = self.shape.log_file_bytes;
        options.reserve_bytes = self.shape.reserve_bytes;
        options.fault = self.fault;
        options.scrub_period = self.shape.scrub_period.unwrap_or(options.scrub_period);
        options.wake_writer = {
            let life = life.clone();
            Arc::new(move || life.ring())
        };
        let opened = Journal::open(self.disk.mount(), options);
        let (journal, writer, recovered) = opened.map_err(|error| format!("{}: open: {error}", self.id))?;
        if self.shape.has_others {
            // It was told so when it was made; alone, it would not do without what it cannot read.
            journal.keep_replicated(true).map_err(|error| format!("{}: open: {error}", self.id))?;
        }
        // Opening syncs what it finds.
        life.is_stable_now();
        self.trace.line(format_args!(
            "{:?} {} starts: last {:?} floor {:?} checkpoint {:?} {recovered:?}",
            now(),
            self.id,
            journal.last(),
            journal.floor(),
            journal.checkpoint_at()
        ));
        self.facts.doubts += u64::from(recovered.in_doubt);
        self.facts.reversions += u64::from(recovered.in_doubt && journal.last() < self.last_seen);
        let had_files = !journal.finished().is_empty();
        drop(SimRuntime::spawn(drive(writer, life.clone(), self.disk.clone(), self.rng.fork())));
        let inside = Inside::default();
        let environment = self.environment(&life, inside.clone());
        let started = Shard::start::<SimRuntime>(self.id, journal.clone(), recovered.in_doubt, environment).await;
        let shard = match started {
            Ok(shard) => shard,
            Err(error) => {
                life.end();
                self.disk.kill();
                journal.stop();
                return Err(format!("{}: start: {error}", self.id));
            }
        };
        *inside.lock() = Some(shard.clone());
        // As its checkpoint has it.
        self.states.lock().compare(&shard, self.id);
        self.net.plug(self.id.0, self.starts, shard.clone());
        self.running = Some(Running { shard, inside, life, had_files });
        Ok(())
    }

    fn environment(&mut self, life: &Arc<Life>, inside: Inside) -> Environment {
        let clock_error = self.clock_error.clone();
        let (states, node) = (self.states.clone(), self.id);
        let (life, disk, rng) = (life.clone(), self.disk.clone(), Mutex::new(self.rng.fork()));
        Environment {
            transport: Arc::new(Port { net: self.net.clone(), node: self.id, start: self.starts }),
            wall: Arc::new(move || Timestamp(EPOCH_MILLIS + now().as_millis() as i64 + clock_error.load(SeqCst))),
            offload: Arc::new(move |work: Blocking| {
                let (life, micros) = (life.clone(), rng.lock().between(10, 2_000) + disk.faults().latency);
                drop(SimRuntime::spawn(async move {
                    SimRuntime::sleep(Duration::from_micros(micros)).await;
                    if life.is_alive() {
                        work();
                    }
                }));
            }),
            on_effects: Arc::new(move |_, _: &[Effect]| {
                let shard = inside.lock().clone();
                if let Some(shard) = shard {
                    states.lock().compare(&shard, node);
                }
            }),
            on_role: Arc::new(|_| ()),
            upkeep: self.shape.upkeep,
            turns: Arc::new(tokio::sync::Semaphore::new(1)),
            catch_up: self.shape.catch_up(),
        }
    }

    /// The process is gone: nothing it has begun comes to an end. Returns since when what it wrote
    /// was on stable storage if the power goes too.
    pub(super) async fn crash(&mut self, power: bool) -> Duration {
        let what = if power { "loses power" } else { "is killed" };
        self.trace.line(format_args!("{:?} {} {what}", now(), self.id));
        if let Some(running) = self.running.take() {
            self.stable_at = running.life.end();
            self.net.unplug(self.id.0);
            // Nothing reaches the disk any more, whatever is still under way.
            self.disk.kill();
            self.last_seen = running.shard.journal().last();
            self.count(&running);
            running.shard.journal().stop();
            running.shard.shutdown().await;
            running.inside.lock().take();
        }
        if power {
            self.disk.power_loss();
        }
        self.stable_at
    }

    /// Adds what the journal counted.
    fn count(&mut self, running: &Running) {
        let counters = &running.shard.journal().counters;
        let facts = &mut self.facts;
        facts.truncations += counters.truncations.load(Relaxed);
        facts.truncations_across_files += counters.truncations_across_files.load(Relaxed);
        facts.purges += counters.purges.load(Relaxed);
        facts.installs += counters.installs.load(Relaxed);
        facts.parts_resumed += counters.parts_resumed.load(Relaxed);
        facts.parts_reused += counters.parts_reused.load(Relaxed);
        facts.parts_refused += counters.parts_refused.load(Relaxed);
        facts.installs_over_files += counters.installs.load(Relaxed) * u64::from(running.had_files);
        facts.repairs += counters.damage_mended.load(Relaxed);
        facts.takeovers += counters.takeovers.load(Relaxed);
        facts.bytes_packed += counters.packed_bytes.load(Relaxed);
        facts.files_reclaimed += counters.files_removed.load(Relaxed);
        facts.storage_errors += counters.storage_errors.load(Relaxed);
    }

    /// The run is over: adds what the running journal counted.
    pub(super) fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            self.count(&running);
            self.net.unplug(self.id.0);
            running.inside.lock().take();
        }
    }
}
