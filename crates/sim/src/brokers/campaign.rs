//! Many seeds, on as many threads as there are cores: each run is one thread's alone.

use super::{Facts, Outcome, Plan, run};
use crate::disk::Tally;
use crate::trace::Trace;
use parking_lot::Mutex;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs.
    pub seeds: u64,
    /// Those that found something, by seed.
    pub failures: Vec<Outcome>,
    /// What the runs did.
    pub facts: Facts,
    /// What the disks did.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
    plan: Plan,
}

/// Runs `seeds` as `plan` says.
#[must_use]
pub fn campaign(seeds: impl Iterator<Item = u64> + Send, plan: Plan) -> Summary {
    let started = Instant::now();
    let seeds = Mutex::new(seeds);
    let summary = Mutex::new(Summary { plan, ..Summary::default() });
    let next = || seeds.lock().next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    // Before anything is locked: the others go on meanwhile.
                    let outcome = run(seed, plan, &Trace::off());
                    summary.lock().add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner();
    summary.failures.sort_by_key(|outcome| outcome.seed);
    summary.took = started.elapsed();
    summary
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.facts.add(&outcome.facts);
        self.tally.add(&outcome.tally);
        if !outcome.violations.is_empty() {
            self.failures.push(outcome);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.facts.millis as f64 / 3_600_000.0;
        let pace = self.seeds as f64 / (self.took.as_secs_f64() / 60.0);
        writeln!(f, "{} seeds in {:.1?}, {pace:.0} a minute, {hours:.2} simulated hours", self.seeds, self.took)?;
        writeln!(f, "{}", self.facts)?;
        writeln!(f, "the disks: {}", self.tally)?;
        for Outcome { seed, violations, .. } in &self.failures {
            writeln!(f, "seed {seed} FAILED: {}", violations.first().map_or("", String::as_str))?;
            for more in violations.iter().skip(1).take(2) {
                writeln!(f, "  {more}")?;
            }
            let rounds = self.plan.rounds;
            writeln!(f, "  replay: cargo run -p sim -- brokers --seed {seed} --rounds {rounds} --trace")?;
        }
        match self.failures.len() {
            0 => write!(f, "nothing was found"),
            failed => write!(f, "{failed} seeds failed"),
        }
    }
}
