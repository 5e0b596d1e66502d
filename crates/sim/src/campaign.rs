//! Many seeds of one kind of run, and the seeds kept as regressions.

use crate::disk::Tally;
use crate::journal_run::{self, Facts, Outcome, Plan};
use crate::trace::Trace;
use journal::canary::Fault;
use std::fmt;
use std::time::{Duration, Instant};

/// The faults that a journal alone can have, and that its campaign has to catch.
pub const JOURNAL_FAULTS: &[Fault] = &[
    Fault::NoFsync,
    Fault::VoteNotPersisted,
    Fault::CheckpointAheadOfFlush,
    Fault::EvictUnflushed,
    Fault::TruncateOffByOne,
];

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs.
    pub seeds: u64,
    /// Those that found something.
    pub failures: Vec<Outcome>,
    /// What the disks did.
    pub tally: Tally,
    /// What the runs did.
    pub facts: Facts,
    /// How long it took.
    pub took: Duration,
    plan: Plan,
}

/// Runs `seeds` of the journal campaign as `plan` says.
#[must_use]
pub fn journal(seeds: impl Iterator<Item = u64>, plan: Plan) -> Summary {
    let started = Instant::now();
    let mut summary = Summary { plan, ..Summary::default() };
    for seed in seeds {
        let outcome = journal_run::run(seed, plan, &Trace::off());
        summary.seeds += 1;
        summary.tally.add(&outcome.tally);
        summary.facts.add(&outcome.facts);
        if outcome.violation.is_some() {
            summary.failures.push(outcome);
        }
    }
    summary.took = started.elapsed();
    summary
}

/// The seeds in a text: the first word of each line that is a number; the rest says why it is kept.
pub fn kept_seeds(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { steps, entries, committed, reopened, finished, disk_bytes, .. } = self.facts;
        let Facts { in_doubt, lost_in_doubt, refused, skipped, .. } = self.facts;
        let minutes = self.took.as_secs_f64() / 60.0;
        writeln!(f, "{} seeds in {:.1?}, {:.0} a minute", self.seeds, self.took, self.seeds as f64 / minutes)?;
        let compactions = self.facts.compactions;
        writeln!(
            f,
            "{steps} steps, {entries} entries appended, {committed} committed, {finished} files finished, \
             {compactions} passes of compaction"
        )?;
        writeln!(
            f,
            "opened again {reopened} times, {in_doubt} in doubt, {lost_in_doubt} with a loss, {refused} refused, \
             {skipped} times lost entries were skipped"
        )?;
        writeln!(f, "the most a journal took was {disk_bytes} bytes")?;
        writeln!(f, "the disk: {}", self.tally)?;
        for Outcome { seed, violation, .. } in &self.failures {
            writeln!(f, "seed {seed} FAILED: {}", violation.as_deref().unwrap_or_default())?;
            let more = if self.plan.compaction { " --compaction" } else { "" };
            writeln!(f, "  replay: cargo run -p sim -- journal --seed {seed}{more} --trace")?;
        }
        match self.failures.len() {
            0 => write!(f, "nothing was found"),
            failed => write!(f, "{failed} seeds failed"),
        }
    }
}
