//! One journal, without consensus: a seeded run asks of it what Raft would, steps its writer by
//! hand, crashes it, breaks its disk, and compares what it says with what must be true.
//!
//! - [`made`] makes entries and knows what is in them.
//! - [`truth`] is what the cluster has committed: the streams and the machine follow from it.
//! - [`history`] is what this journal was asked and what it promised: which logs and votes may be
//!   found after a crash.
//! - [`run`] is the state of a run and its main loop, [`steps`] what it can do, [`reads`] the
//!   comparisons, [`compaction`] passes over some streams, when a run is asked for them, [`reopen`] crashes and
//!   the way back, [`weather`] what is wrong with the disk.
//! - [`campaign`](mod@campaign) is many seeds.
//!
//! A replica that lost entries (not acknowledged, or in doubt) is brought up to date by the rest of
//! the cluster, which in here is the truth. A replica that found damage is repaired from others;
//! that is not simulated in here, so a run ends after its bits were flipped.

mod campaign;
mod compaction;
mod history;
mod made;
mod reads;
mod reopen;
mod run;
mod shape;
mod steps;
mod truth;
mod weather;

pub use campaign::{Summary, campaign};

use crate::disk::Tally;
use crate::trace::Trace;
use journal::canary::Fault;
use run::Run;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was wrong, if something was.
    pub violation: Option<String>,
    /// What the disk did.
    pub tally: Tally,
    /// What the run did.
    pub facts: Facts,
}

/// Counts of a run, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Steps taken.
    pub steps: u64,
    /// Entries appended.
    pub entries: u64,
    /// Entries committed.
    pub committed: u64,
    /// Times the journal was opened again.
    pub reopened: u64,
    /// Times it was in doubt then.
    pub in_doubt: u64,
    /// Times acknowledged entries were missing then, which it must be in doubt for.
    pub lost_in_doubt: u64,
    /// Times it refused to open, having been damaged.
    pub refused: u64,
    /// Times it was told to skip what it had lost, and opened then.
    pub skipped: u64,
    /// Log files finished.
    pub finished: u64,
    /// Passes of compaction that freed something.
    pub compactions: u64,
    /// The most bytes of files it had.
    pub disk_bytes: u64,
}

impl Facts {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Facts) {
        self.steps += other.steps;
        self.entries += other.entries;
        self.committed += other.committed;
        self.reopened += other.reopened;
        self.in_doubt += other.in_doubt;
        self.lost_in_doubt += other.lost_in_doubt;
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.finished += other.finished;
        self.compactions += other.compactions;
        self.disk_bytes = self.disk_bytes.max(other.disk_bytes);
    }
}

/// What a run does besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// A known fault in the journal, which has to be found.
    pub fault: Option<Fault>,
    /// Whether some streams are compacted.
    pub compaction: bool,
}

impl Plan {
    /// The plan that these of `sim`'s flags mean.
    ///
    /// # Errors
    /// When one of them means nothing here.
    pub fn of_flags(flags: &[&str]) -> Result<Self, String> {
        let mut plan = Plan::default();
        for flag in flags {
            match *flag {
                "--compaction" => plan.compaction = true,
                other => return Err(format!("{other} means nothing to a journal")),
            }
        }
        Ok(plan)
    }
}

/// Runs `seed` as `plan` says.
#[must_use]
pub fn run(seed: u64, plan: Plan, trace: &Trace) -> Outcome {
    let mut tally = Tally::default();
    let mut facts = Facts::default();
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(seed, plan, trace.clone())?;
        let verdict = run.execute();
        tally = run.disk.tally();
        facts = run.facts;
        verdict
    }));
    let violation = match verdict {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    if let Some(violation) = &violation {
        trace.line(format_args!("violation: {violation}"));
    }
    Outcome { seed, violation, tally, facts }
}
