//! Whether a family of clients can run on this machine.

use crate::counts::Counts;
use crate::suite::Suite;
use crate::summary::{Row, Verdict};
use crate::{Outcome, counts};
use std::process::Command;
use std::time::Duration;

/// What preparing a family of clients came to.
pub(crate) enum Readiness {
    /// Nothing to do, or done.
    Ready,
    /// These commands install what is needed.
    Install(Vec<Command>),
    /// The machine lacks a toolchain that we do not install; the text says which and what it is for.
    Missing(String),
}

impl Readiness {
    /// Installs what there is to install and reports how it went.
    ///
    /// With `strict`, on a continuous-integration machine, a missing toolchain is a failure: a suite
    /// that silently stopped running there would be noticed by nobody.
    pub(crate) fn settle(self, suite: &'static str, strict: bool) -> Outcome<Row> {
        let (verdict, counts, note) = match self {
            Self::Install(steps) => return Suite { name: suite, steps, counts: counts::none }.run(),
            Self::Ready => (Verdict::Passed, Counts::default(), String::new()),
            Self::Missing(what) if strict => (Verdict::Failed, Counts { failed: 1, ..Counts::default() }, what),
            Self::Missing(what) => (Verdict::Skipped, Counts { skipped: 1, ..Counts::default() }, what),
        };
        println!("{suite}: {}{note}", if note.is_empty() { "ready" } else { "" });
        Ok(Row { suite, verdict, counts, time: Duration::ZERO, note })
    }
}
