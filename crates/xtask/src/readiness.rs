//! Whether a family of clients can run on this machine.

use crate::counts::Counts;
use crate::summary::{Row, Verdict};
use crate::suite::Suite;
use crate::{Outcome, counts};
use std::process::Command;
use std::time::Duration;

/// What preparing a family of clients came to.
pub(crate) enum Readiness {
    /// Nothing to do, or done.
    Ready,
    /// This command installs what is needed.
    Install(Command),
    /// The machine lacks a toolchain that we do not install; the text says which and what it is for.
    Missing(String),
}

impl Readiness {
    /// Installs what there is to install and reports how it went.
    ///
    /// With `strict`, on a continuous-integration machine, a missing toolchain is a failure: a suite
    /// that silently stops running there would be missed by nobody.
    pub(crate) fn settle(self, suite: &'static str, strict: bool) -> Outcome<Row> {
        let (verdict, counts, note) = match self {
            Self::Install(command) => return Suite { name: suite, command, counts: counts::none }.run(),
            Self::Ready => (Verdict::Passed, Counts::default(), String::new()),
            Self::Missing(what) if strict => (Verdict::Failed, Counts { failed: 1, ..Counts::default() }, what),
            Self::Missing(what) => (Verdict::Skipped, Counts { skipped: 1, ..Counts::default() }, what),
        };
        println!("{suite}: {}{note}", if note.is_empty() { "ready" } else { "" });
        Ok(Row { suite, verdict, counts, time: Duration::ZERO, note })
    }
}
