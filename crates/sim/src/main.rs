//! `sim`: the simulator's command line.
//!
//! It runs campaigns and prints what they found; what a run does is said in the library, starting
//! with `journal_run` and `cluster`.
#![allow(clippy::print_stdout, reason = "what a run found is this program's output")]

use clap::{Parser, ValueEnum};
use journal::canary::Fault;
use sim::campaign;
use sim::journal_run;
use sim::trace::Trace;
use std::process::ExitCode;

/// Runs the real journal over a disk that loses, tears, flips and refuses, as a seed says.
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
    /// Print what happens, step by step
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With a known fault, which has to be found
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    fault: Option<Fault>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Campaign {
    /// One journal without consensus
    Journal,
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = campaign::JOURNAL_FAULTS.iter().find(|fault| format!("{fault:?}") == name);
    found.copied().ok_or_else(|| format!("one of {:?}", campaign::JOURNAL_FAULTS))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A run that panics is a finding like any other, and told as one.
    std::panic::set_hook(Box::new(|_| ()));
    let good = match arguments.campaign {
        None | Some(Campaign::Journal) => journal(&arguments),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns whether nothing was found.
fn journal(arguments: &Arguments) -> bool {
    if let Some(seed) = arguments.seed {
        let trace = if arguments.trace { Trace::on() } else { Trace::off() };
        let outcome = journal_run::run(seed, arguments.fault, &trace);
        print!("{}", trace.text());
        println!("the disk: {}", outcome.tally);
        println!("seed {seed}: {}", outcome.violation.as_deref().unwrap_or("nothing was found"));
        return outcome.violation.is_none();
    }
    let summary = campaign::journal(arguments.from..arguments.from + arguments.seeds, arguments.fault);
    println!("{summary}");
    summary.failures.is_empty()
}
