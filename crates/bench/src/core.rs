//! `bench core`: what a record costs, layer by layer.
//!
//! Every figure comes with CPU time, because wall time on a shared machine says as much about the
//! neighbours as about us, and throughput comes as a share of what the disk did in the same run.
//! Cases of a section take turns, so that a slow minute meets all of them; what is printed are
//! medians over the turns.

mod disk;
mod idle;
mod journal;
mod load;
mod machine;
mod peer;
mod reads;
mod recovery;
mod report;
mod shard;
mod start;

use crate::Outcome;
use crate::broker::{self, Broker};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How and what to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only these measurements; all of them unless given
    #[arg(value_name = "WHAT")]
    only: Vec<Part>,
    /// Where to write; several gigabytes unless quick. Emptied afterwards
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/core")]
    folder: PathBuf,
    /// Seconds measured per case, after one of warm-up
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,
    /// Turns that each case gets; medians are printed
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    repetitions: usize,
    /// Appends of this mode only: for profiles
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Appends of pieces of this size only
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// Appends by this many writers only
    #[arg(long, value_name = "COUNT")]
    writers: Option<usize>,
    /// Seconds in all, small sizes: shows that everything runs, its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// The broker. Unless given: MAINSTEM_BIN, then `mainstem` beside this program
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Apache Kafka's jars, to compare with. Unless given: MAINSTEM_KAFKA_CP; skipped without either
    #[arg(long, value_name = "CLASSPATH")]
    kafka_classpath: Option<String>,
}

/// How a measurement is made.
type Measure = fn(&Options) -> Outcome<()>;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The disk's direct write bandwidth
    Disk,
    /// The machine alone: sequencing and applying
    Machine,
    /// The journal alone: appending
    Journal,
    /// The journal alone: reading
    JournalReads,
    /// One shard with one voter: journal and machine under consensus
    Shard,
    /// The broker through Kafka: producing
    Produce,
    /// The broker through Kafka: fetching
    Fetch,
    /// The broker: from its start to its first line, and memory when idle
    Start,
    /// The broker: memory per idle stream
    Idle,
    /// The broker: from kill -9 to its first answers
    Recovery,
    /// Apache Kafka, producing under the same load as the broker
    Peer,
}

impl Options {
    /// Whether `part` was asked for.
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn repetitions(&self) -> usize {
        if self.quick { 1 } else { self.repetitions.max(1) }
    }

    fn warm_up(&self) -> Duration {
        if self.quick { Duration::from_millis(50) } else { Duration::from_secs(1) }
    }

    fn window(&self) -> Duration {
        if self.quick { Duration::from_millis(150) } else { Duration::from_secs(self.seconds.max(1)) }
    }

    /// Whether there is a broker to measure; says so when there is none.
    fn has_broker(&self) -> Outcome<bool> {
        let there = broker::program(self.broker.as_deref())?.is_file();
        if !there {
            report::note("Skipped: no `mainstem` beside this program, and MAINSTEM_BIN names none.");
        }
        Ok(there)
    }

    fn start_broker(&self, data: &Path) -> Outcome<Broker> {
        Broker::start(&broker::program(self.broker.as_deref())?, data, &self.folder.join("broker.log"))
    }
}

/// When a producer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// After fdatasync.
    Fsync,
    /// Once written; fdatasync follows within 200 ms.
    Memory,
}

impl Mode {
    const ALL: [Mode; 2] = [Mode::Fsync, Mode::Memory];

    fn name(self) -> &'static str {
        match self {
            Mode::Fsync => "fsync",
            Mode::Memory => "memory",
        }
    }
}

/// Runs what was asked for.
pub(crate) fn run(options: Options) -> Outcome<()> {
    std::fs::create_dir_all(&options.folder)?;
    report::conditions(&options)?;
    let parts: [(Part, Measure); 11] = [
        (Part::Disk, disk::run),
        (Part::Machine, machine::run),
        (Part::Journal, journal::run),
        (Part::JournalReads, reads::journal),
        (Part::Shard, shard::run),
        (Part::Produce, load::produce),
        (Part::Fetch, reads::fetch),
        (Part::Start, start::run),
        (Part::Idle, idle::run),
        (Part::Recovery, recovery::run),
        (Part::Peer, peer::run),
    ];
    for (part, measure) in parts {
        if options.wants(part) {
            measure(&options)?;
        }
    }
    crate::disk::remove(&options.folder)
}
