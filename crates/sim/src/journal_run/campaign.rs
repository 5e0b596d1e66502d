//! Many seeds of a journal's run.

use super::{Facts, Outcome, Plan, run};
use crate::disk::Tally;
use crate::pace::Pace;
use crate::trace::Trace;
use std::fmt;
use std::time::{Duration, Instant};

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

/// Runs `seeds` as `plan` says.
#[must_use]
pub fn campaign(seeds: impl Iterator<Item = u64>, plan: Plan) -> Summary {
    let started = Instant::now();
    let mut summary = Summary { plan, ..Summary::default() };
    for seed in seeds {
        let outcome = run(seed, plan, &Trace::off());
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

impl Summary {
    /// The first seed that found something which says `words`, and what it says.
    #[must_use]
    pub fn first_saying(&self, words: &str) -> Option<(u64, &str)> {
        self.failures.iter().find_map(|outcome| {
            let said = outcome.violation.as_deref()?;
            said.contains(words).then_some((outcome.seed, said))
        })
    }

    /// How fast it went.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { seeds: self.seeds, took: self.took, simulated: Duration::ZERO }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { steps, entries, committed, reopened, finished, disk_bytes, .. } = self.facts;
        let Facts { in_doubt, lost_in_doubt, refused, skipped, .. } = self.facts;
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
            0 => write!(f, "nothing was found in {}", self.pace()),
            failed => write!(f, "{failed} seeds failed of {}", self.pace()),
        }
    }
}
