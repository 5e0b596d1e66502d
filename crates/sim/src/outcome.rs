//! What comes of a run under virtual time.

use crate::disk::Tally;
use crate::panics;
use crate::trace::Trace;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;

/// What goes wrong once goes wrong often.
const VIOLATIONS_MAX: usize = 1_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome<F> {
    /// Its seed.
    pub seed: u64,
    /// What was found.
    pub violations: Vec<String>,
    /// What the run did.
    pub facts: F,
    /// What the disks did.
    pub tally: Tally,
}

impl<F: Default> Outcome<F> {
    /// That of a run that begins.
    pub(crate) fn new(seed: u64) -> Self {
        Outcome { seed, violations: Vec::new(), facts: F::default(), tally: Tally::default() }
    }

    /// Lets a run take its course under virtual time; what panics in it is found, too.
    pub(crate) fn of(seed: u64, trace: &Trace, run: impl Future<Output = Self>) -> Self {
        let (outcome, panics) = panics::collect(|| SimRuntime::with_seed(seed).block_on(run));
        let mut outcome = outcome.unwrap_or_else(|| Outcome::new(seed));
        outcome.violations.extend(panics);
        outcome.violations.truncate(VIOLATIONS_MAX);
        for violation in &outcome.violations {
            trace.line(format_args!("violation: {violation}"));
        }
        outcome
    }
}
