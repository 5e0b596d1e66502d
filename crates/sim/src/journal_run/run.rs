//! A run: its state, its main loop, and the calm at its end.

use super::history::{History, Promise};
use super::shape::Shape;
use super::truth::{Objects, Truth};
use super::weather::Weather;
use super::{Facts, Plan};
use crate::disk::{Crash, SimDisk, Tally};
use crate::rng::Rng;
use crate::trace::Trace;
use journal::canary::Fault;
use journal::{CacheBudget, Journal, Next, OpenError, Options, Recovered, Writer};
use model::ShardId;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was wrong, when something was.
pub(super) type Verdict = Result<(), String>;

/// Says what is wrong unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}
pub(super) use ensure;

/// An open journal, for the time the process lives.
pub(super) struct Opened {
    pub(super) journal: Arc<Journal>,
    pub(super) writer: Writer,
    pub(super) recovered: Recovered,
    pub(super) cache: Arc<CacheBudget>,
}

/// See the module's documentation.
pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) disk: SimDisk,
    pub(super) shape: Shape,
    pub(super) fault: Option<Fault>,
    pub(super) facts: Facts,
    pub(super) weather: Weather,

    pub(super) truth: Truth,
    pub(super) history: History,
    pub(super) term: u64,
    pub(super) votes: u64,

    pub(super) journal: Arc<Journal>,
    pub(super) writer: Writer,
    pub(super) cache: Arc<CacheBudget>,
    /// What the writer wanted last.
    pub(super) next: Next,
    /// Filled by the journal's callbacks.
    pub(super) promises: Arc<Mutex<Vec<Promise>>>,
    /// Errors of the disk seen so far.
    pub(super) sync_errors: u64,
    pub(super) write_errors: u64,

    /// What this process knows to be committed and has applied.
    pub(super) committed: u64,
    pub(super) applied: u64,
    pub(super) objects: Objects,
    /// Keys changed since the checkpoint that counts.
    pub(super) dirty: BTreeSet<Vec<u8>>,
    /// The checkpoint that counts, and those that failed and may count all the same.
    pub(super) checkpoint: u64,
    pub(super) checkpoints_tried: Vec<u64>,
    pub(super) floor: u64,
    /// The journal said that it may have forgotten something, and was not told otherwise.
    pub(super) in_doubt: bool,
    /// What compaction may have removed, by stream and the offset of its piece.
    pub(super) may_be_gone: BTreeSet<(u64, u64)>,
}

/// Opens the journal on `disk` as `shape` says.
pub(super) fn open(disk: &SimDisk, shape: &Shape, fault: Option<Fault>) -> Result<Opened, OpenError> {
    let cache = CacheBudget::new(shape.cache_bytes);
    let mut options = Options::new(ShardId(1), cache.clone(), 0x5eed);
    options.log_file_bytes = shape.log_file_bytes;
    options.reserve_bytes = shape.log_file_bytes;
    options.file_pieces_max = shape.file_pieces_max;
    options.fault = fault;
    let (journal, writer, recovered) = Journal::open(disk.mount(), options)?;
    journal.set_replicated(shape.replicated);
    Ok(Opened { journal, writer, recovered, cache })
}

impl Run {
    pub(super) fn new(seed: u64, Plan { fault, compaction }: Plan, trace: Trace) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let shape = Shape { compaction, ..Shape::draw(seed, &mut rng) };
        trace.line(format_args!("seed {seed}: {shape:?}"));
        let disk = SimDisk::new(rng.number(), trace.clone());
        let opened = open(&disk, &shape, fault).map_err(|error| format!("a new journal does not open: {error}"))?;
        Ok(Run {
            rng,
            trace,
            disk,
            shape,
            fault,
            facts: Facts::default(),
            weather: Weather::default(),
            truth: Truth::default(),
            history: History::default(),
            term: 1,
            votes: 0,
            journal: opened.journal,
            writer: opened.writer,
            cache: opened.cache,
            next: Next::Idle,
            promises: Arc::default(),
            sync_errors: 0,
            write_errors: 0,
            committed: 0,
            applied: 0,
            objects: Objects::new(),
            dirty: BTreeSet::new(),
            checkpoint: 0,
            checkpoints_tried: Vec::new(),
            floor: 0,
            in_doubt: false,
            may_be_gone: BTreeSet::new(),
        })
    }

    /// The whole run.
    pub(super) fn execute(&mut self) -> Verdict {
        for _ in 0..self.shape.steps {
            self.facts.steps += 1;
            self.pass_time();
            self.step()?;
            self.look_up()?;
        }
        if self.shape.flips {
            return self.flip_bits();
        }
        self.calm_down()?;
        // Everything is synced and said to be: not even power loss leaves a doubt.
        self.close_and_reopen(Crash::PowerLoss)?;
        self.inspect(false)
    }

    /// After every step: hears promises, sees crashes, and asks what is flushed.
    pub(super) fn look_up(&mut self) -> Verdict {
        self.hear()?;
        if let Some(crash) = self.disk.take_crash() {
            return self.reopen(crash, false);
        }
        self.disk_figures();
        Ok(())
    }

    /// Notes what the journal has promised so far.
    pub(super) fn hear(&mut self) -> Verdict {
        self.hear_promises();
        self.history.flushed(self.journal.flushed())
    }

    pub(super) fn hear_promises(&mut self) {
        for promise in std::mem::take(&mut *self.promises.lock()) {
            self.trace.line(format_args!("promised: {promise:?}"));
            self.history.keep(promise);
        }
        // Nothing is promised between a sync that fails and the end of the call it fails in.
        let Tally { sync_errors, write_errors, .. } = self.disk.tally();
        if sync_errors > self.sync_errors {
            self.sync_errors = sync_errors;
            self.history.sync_failed();
        }
        if write_errors > self.write_errors {
            self.write_errors = write_errors;
            self.history.write_failed();
        }
    }

    fn disk_figures(&mut self) {
        self.facts.disk_bytes = self.facts.disk_bytes.max(self.journal.disk_bytes());
    }

    /// Trouble ends; the journal must come to rest by itself, with every promise given.
    pub(super) fn calm_down(&mut self) -> Verdict {
        self.clear_weather();
        self.disk.disarm();
        let mut tries = 0;
        loop {
            self.catch_up()?;
            self.commit(u64::MAX)?;
            self.settle()?;
            self.apply(u64::MAX)?;
            if self.disk.take_crash().is_some() {
                return Err("the disk crashed while nothing was armed".into());
            }
            tries += 1;
            if self.applied == self.history.last() {
                break;
            }
            ensure!(tries < 100, "the log does not come to rest");
        }
        let outcome = self.journal.refill_reserve();
        ensure!(outcome.is_ok(), "the reserve cannot be made though the disk has room: {outcome:?}");
        ensure!(
            self.journal.space() == journal::Space::Enough,
            "space is {:?} though the disk has room",
            self.journal.space()
        );
        while self.finish()? {}
        self.flush();
        self.settle()?;
        ensure!(self.history.waiting() == 0, "{} promises were never given", self.history.waiting());
        let used = self.cache.used();
        ensure!(used <= self.shape.cache_bytes, "{used} bytes are cached, the budget is {}", self.shape.cache_bytes);
        self.inspect(false)
    }

    /// Writes and syncs until nothing waits.
    pub(super) fn settle(&mut self) -> Verdict {
        for _ in 0..50 {
            if self.writer.is_idle() {
                return self.hear();
            }
            if self.writer.write() != Next::Idle {
                self.writer.sync();
            }
        }
        Err("the writer does not come to rest though the disk works".into())
    }
}
