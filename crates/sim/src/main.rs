//! `sim`: the simulator's command line.
//!
//! It runs campaigns and prints what they found; what a run does is said in the library, starting
//! with `journal_run`, `queue_run`, `cluster` and `brokers`.
#![allow(clippy::print_stdout, reason = "what a run found is this program's output")]

use clap::{Parser, ValueEnum};
use journal::canary::Fault;
use openraft_rt_sim::SimInstant;
use sim::brokers;
use sim::campaign::{Kind, campaign};
use sim::cluster;
use sim::journal_run;
use sim::pace::Pace;
use sim::queue_run;
use sim::trace::Trace;
use std::fmt;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Small, so that a run has many and what is alive outweighs them.
const QUEUE_LOG_FILE_BYTES: u64 = 4 << 20;

/// Runs the real journal, the real shard and whole brokers over disks and a network that lose, tear, flip,
/// reorder and refuse, as a seed says.
#[derive(Parser)]
struct Arguments {
    /// Which campaign; all of them unless one is named
    campaign: Option<Campaign>,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Only this seed
    #[arg(long, value_name = "X", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print what happens, step by step; what the broker itself logs goes to standard error as
    /// RUST_LOG says, with virtual time
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With a known fault, which has to be found
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    fault: Option<Fault>,
    /// How much goes wrong in a run of the cluster or of brokers
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// With compacted streams, too; of a journal and of the cluster
    #[arg(long)]
    compaction: bool,
    /// In a run of the cluster or of brokers, bits flip after each trouble in files that the Raft log does not need
    #[arg(long)]
    flips: bool,
    /// In a run of the cluster, the shard begins with one replica, which two others join
    #[arg(long)]
    grow: bool,
    /// Of the queue workload: how many messages
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,
    /// Of the queue workload: over how many streams
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    streams: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Campaign {
    /// One journal without consensus
    Journal,
    /// A journal and a machine under a queue workload: is the disk given back as promised?
    Queue,
    /// Three replicas of a shard
    Cluster,
    /// Whole brokers, which are founded, joined, drained and asked by clients
    Brokers,
}

/// Stamps what is logged with the time in the run.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let elapsed = SimInstant::try_now().map(SimInstant::elapsed_since_start);
        write!(writer, "{:?}", elapsed.unwrap_or_default())
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().find(|fault| format!("{fault:?}") == name);
    found.copied().ok_or_else(|| format!("one of {:?}", Fault::ALL))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace && std::env::var_os("RUST_LOG").is_some() {
        let filter = EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(VirtualTime).with_writer(std::io::stderr).init();
    }
    // A run that panics is a finding like any other, and told as one.
    std::panic::set_hook(Box::new(|_| ()));
    let campaigns = match arguments.campaign {
        None => vec![Campaign::Journal, Campaign::Queue, Campaign::Cluster, Campaign::Brokers],
        Some(campaign) => vec![campaign],
    };
    // All of them, also when the first has found something.
    let (mut good, mut pace) = (true, Pace::default());
    for campaign in &campaigns {
        let (found_nothing, more) = match campaign {
            Campaign::Journal => run_journal(&arguments),
            Campaign::Queue => (run_queue(&arguments), Pace::default()),
            Campaign::Cluster => run_cluster(&arguments),
            Campaign::Brokers => run_brokers(&arguments),
        };
        good &= found_nothing;
        pace.add(more);
    }
    if campaigns.len() > 1 && arguments.seed.is_none() {
        let what = if good { "nothing was found" } else { "something was found" };
        println!("in all, {what} in {pace}");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns whether nothing was found, and how fast that went.
fn run_journal(arguments: &Arguments) -> (bool, Pace) {
    let plan = journal_run::Plan { fault: arguments.fault, compaction: arguments.compaction };
    if let Some(seed) = arguments.seed {
        let trace = if arguments.trace { Trace::printing(|line| println!("{line}")) } else { Trace::off() };
        let outcome = journal_run::run(seed, plan, &trace);
        println!("the disk: {}", outcome.tally);
        println!("seed {seed}: {}", outcome.violation.as_deref().unwrap_or("nothing was found"));
        return (outcome.violation.is_none(), Pace::default());
    }
    let summary = journal_run::campaign(arguments.from..arguments.from + arguments.seeds, plan);
    println!("{summary}");
    (summary.failures.is_empty(), summary.pace())
}

/// Returns whether nothing was found, and how fast that went.
fn run_cluster(arguments: &Arguments) -> (bool, Pace) {
    let Arguments { fault, compaction, flips, grow, .. } = *arguments;
    let rounds = arguments.rounds.unwrap_or(cluster::Plan::default().rounds);
    run_kind(arguments, cluster::Plan { fault, rounds, compaction, flips, grow })
}

/// Returns whether nothing was found, and how fast that went.
fn run_brokers(arguments: &Arguments) -> (bool, Pace) {
    let rounds = arguments.rounds.unwrap_or(brokers::Plan::default().rounds);
    run_kind(arguments, brokers::Plan { fault: arguments.fault, rounds, flips: arguments.flips })
}

/// Returns whether nothing was found, and how fast that went.
fn run_kind(arguments: &Arguments, kind: impl Kind) -> (bool, Pace) {
    if let Some(seed) = arguments.seed {
        let trace = if arguments.trace { Trace::printing(|line| println!("{line}")) } else { Trace::off() };
        let outcome = kind.run(seed, &trace);
        println!("{}\nthe disks: {}", outcome.facts, outcome.tally);
        let found = if outcome.violations.is_empty() { "nothing was found" } else { "FAILED" };
        println!("seed {seed}: {found}");
        outcome.violations.iter().for_each(|violation| println!("  {violation}"));
        return (outcome.violations.is_empty(), Pace::default());
    }
    let summary = campaign(arguments.from..arguments.from + arguments.seeds, kind);
    println!("{summary}");
    (summary.failures.is_empty(), summary.pace())
}

/// Returns whether the bound held.
fn run_queue(arguments: &Arguments) -> bool {
    let Arguments { messages, streams, fault, .. } = *arguments;
    let seed = arguments.seed.unwrap_or(arguments.from);
    let settings = queue_run::Settings { messages, streams, seed, log_file_bytes: QUEUE_LOG_FILE_BYTES, fault };
    let outcome = queue_run::run(&settings);
    match &outcome {
        Ok(figures) => println!("{figures}"),
        Err(violation) => println!("queue, seed {seed} FAILED: {violation}"),
    }
    outcome.is_ok()
}
