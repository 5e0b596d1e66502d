//! A queue workload against the machine and the journal, without consensus: many streams, settled
//! out of order, with retention by time and by size, trimmed, deleted, and with bodies shared by up
//! to a hundred of them.
//!
//! It asks one question: is the disk given back as [`journal::reclaim`] promises? What is alive it
//! knows from its own books ([`ledger`]), written from what it asked for and not from what the
//! machine or the journal say. The same books say what has to be readable, byte by byte.
//!
//! Start with [`run`].

mod body;
mod kind;
mod ledger;
mod workload;

use journal::canary::Fault;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use workload::Workload;

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many messages; one that is fanned out counts for each of its streams.
    pub messages: u64,
    /// Over how many streams.
    pub streams: u64,
    /// What chance does.
    pub seed: u64,
    /// The largest log file. A checkpoint is written as often as one fills.
    pub log_file_bytes: u64,
    /// A known fault in the journal, which has to be found.
    pub fault: Option<Fault>,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Messages appended, one for each stream.
    pub messages: u64,
    /// Bodies they share.
    pub bodies: u64,
    /// Bytes of the bodies.
    pub body_bytes: u64,
    /// Messages settled, trimmed, expired or deleted.
    pub died: u64,
    /// Rounds of housekeeping, after each of which the bound was checked.
    pub rounds: u64,
    /// How often the process died and came back.
    pub restarts: u64,
    /// Messages read back and compared.
    pub read: u64,
    /// Bytes alive at the end.
    pub live_bytes: u64,
    /// Bytes of the disk at the end.
    pub disk_bytes: u64,
    /// The most that was alive after a round.
    pub most_live: u64,
    /// The most bytes of the disk in use after a round.
    pub most_disk: u64,
    /// Bytes that may be used beyond the factor, whatever is alive.
    pub constant: u64,
    /// Greatest part of the bound that was used after a round.
    pub worst_of_bound: f64,
    /// Finished files that the log does not need, as a multiple of what is alive in them, at worst,
    /// in rounds with more alive than the constant.
    pub worst_ratio: f64,
    /// Bytes written for each byte appended: log, packed files, checkpoints.
    pub written: [u64; 3],
    /// The most intervals that the settled sets had.
    pub most_intervals: u64,
    /// Messages above the starts of their queues at that time.
    pub messages_then: u64,
    /// How long it took.
    pub took: Duration,
}

/// Bytes of memory that an interval of a settled set takes: two numbers in a tree that is two
/// thirds full.
const INTERVAL_BYTES: f64 = 24.0;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1u32 << 20);
        writeln!(
            f,
            "{} messages, {} bodies of {:.1} MiB, {} died; {} rounds, {} restarts, {} read back, {:.1?}",
            self.messages,
            self.bodies,
            mib(self.body_bytes),
            self.died,
            self.rounds,
            self.restarts,
            self.read,
            self.took
        )?;
        writeln!(
            f,
            "bound: disk <= {} x live + checkpoints + {:.1} MiB; at worst {:.1} % of it was used",
            journal::reclaim::FACTOR,
            mib(self.constant),
            self.worst_of_bound * 100.0
        )?;
        writeln!(
            f,
            "finished files: at worst {:.3} x what is alive in them; most alive {:.1} MiB, most disk {:.1} MiB, at the \
             end {:.1} and {:.1} MiB",
            self.worst_ratio,
            mib(self.most_live),
            mib(self.most_disk),
            mib(self.live_bytes),
            mib(self.disk_bytes)
        )?;
        let [log, packed, checkpoints] = self.written.map(|bytes| bytes as f64 / self.body_bytes.max(1) as f64);
        writeln!(
            f,
            "write amplification {:.2}: log {log:.2}, packed {packed:.2}, checkpoints {checkpoints:.2}",
            log + packed + checkpoints
        )?;
        let memory = self.most_intervals as f64 * INTERVAL_BYTES / self.messages_then.max(1) as f64;
        write!(
            f,
            "settled sets: {} intervals over {} messages, {memory:.2} bytes a message",
            self.most_intervals, self.messages_then
        )
    }
}

/// Runs the workload.
///
/// # Errors
/// What was wrong.
pub fn run(settings: &Settings) -> Result<Figures, String> {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| Workload::new(settings)?.execute()));
    let mut figures = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })?;
    figures.took = started.elapsed();
    Ok(figures)
}
