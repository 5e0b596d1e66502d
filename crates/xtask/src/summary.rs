//! What a run of `cargo xtask test` closes with: a table of suites and one line that other programs
//! read.

use crate::counts::Counts;
use std::fmt;
use std::time::Duration;

/// How a suite ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

/// One suite, or one step that a suite needed.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) suite: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) counts: Counts,
    pub(crate) time: Duration,
    /// Why it was skipped, when it was.
    pub(crate) note: String,
}

/// The rows so far, in the order in which they ran.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: Vec<Row>,
}

impl Summary {
    /// Adds a row and says whether what depends on it can go on.
    pub(crate) fn add(&mut self, row: Row) -> bool {
        let passed = row.verdict == Verdict::Passed;
        self.rows.push(row);
        passed
    }

    /// True when nothing failed.
    pub(crate) fn good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Failed)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sum = Counts::default();
        writeln!(f, "{:<10} {:<8} {:>9}  tests", "suite", "result", "time")?;
        for Row { suite, verdict, counts, time, note } in &self.rows {
            sum += *counts;
            let detail =
                if note.is_empty() && *counts != Counts::default() { counts.to_string() } else { note.clone() };
            let line = format!("{suite:<10} {verdict:<8} {:>7.1} s  {detail}", time.as_secs_f64());
            writeln!(f, "{}", line.trim_end())?;
        }
        write!(f, "\n{sum}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_above_the_closing_line() {
        let mut summary = Summary::default();
        assert!(summary.add(Row {
            suite: "unit",
            verdict: Verdict::Passed,
            counts: Counts { passed: 7, failed: 0, skipped: 1 },
            time: Duration::from_millis(1500),
            note: String::new(),
        }));
        assert!(!summary.add(Row {
            suite: "java",
            verdict: Verdict::Skipped,
            counts: Counts { passed: 0, failed: 0, skipped: 1 },
            time: Duration::ZERO,
            note: "no mvn".to_owned(),
        }));
        assert!(summary.good());
        let expected = "\
suite      result        time  tests
unit       passed       1.5 s  7 passed, 0 failed, 1 skipped
java       skipped      0.0 s  no mvn

7 passed, 0 failed, 2 skipped";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn one_failure_fails_the_run() {
        let mut summary = Summary::default();
        summary.add(Row {
            suite: "tidy",
            verdict: Verdict::Failed,
            counts: Counts::default(),
            time: Duration::ZERO,
            note: String::new(),
        });
        assert!(!summary.good());
    }
}
