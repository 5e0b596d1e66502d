//! How many tests passed, failed and were skipped, read from what test runners print.

use std::fmt;
use std::ops::AddAssign;

/// A sum over suites. Displays in the form that closes a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Reads a suite's log.
pub(crate) type Reader = fn(&str) -> Counts;

/// Of a suite that is one step and prints no counts: building, for example.
pub(crate) fn none(_log: &str) -> Counts {
    Counts::default()
}

/// The sum of the lines `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, one per test binary.
pub(crate) fn of_cargo_test(log: &str) -> Counts {
    let mut sum = Counts::default();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("test result: ") {
            let tail = rest.split_once(". ").map_or(rest, |(_, tail)| tail);
            sum += of_list(tail, ';');
        }
    }
    sum
}

/// The last line of the form `== 3 passed, 1 failed, 2 skipped in 1.20s ==`.
pub(crate) fn of_pytest(log: &str) -> Counts {
    let closing = log.lines().rev().map(|line| line.trim().trim_matches('=').trim());
    closing
        .filter_map(|line| line.rsplit_once(" in "))
        .map(|(list, _)| of_list(list, ','))
        .find(|counts| *counts != Counts::default())
        .unwrap_or_default()
}

/// The line that `cargo xtask tidy` closes with, one count per check.
pub(crate) fn of_tidy(log: &str) -> Counts {
    let closing = log.lines().rev().find_map(|line| line.strip_prefix("tidy: "));
    closing.map(|list| of_list(list, ',')).unwrap_or_default()
}

fn of_list(list: &str, separator: char) -> Counts {
    let mut counts = Counts::default();
    for item in list.split(separator) {
        let mut words = item.split_whitespace();
        let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" | "xpassed" => counts.passed += number,
            "failed" | "error" | "errors" => counts.failed += number,
            "ignored" | "skipped" | "xfailed" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn cargo_s_lines_are_summed() {
        let log = "running 3 tests\n\
            test a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        assert_eq!(of_cargo_test(log), counts(4, 2, 1));
        assert_eq!(of_cargo_test("error: could not compile"), counts(0, 0, 0));
    }

    #[test]
    fn pytest_s_last_line_counts() {
        assert_eq!(
            of_pytest("...\n===== 1 failed, 12 passed, 3 skipped, 2 warnings, 1 error in 61.05s (0:01:01) =====\n"),
            counts(12, 2, 3)
        );
        assert_eq!(of_pytest("2 passed, 5 deselected in 0.10s\n"), counts(2, 0, 0));
        assert_eq!(of_pytest("no tests ran in 0.01s\n"), counts(0, 0, 0));
        assert_eq!(of_pytest("ImportError: no module\n"), counts(0, 0, 0));
    }

    #[test]
    fn tidy_s_last_line_counts() {
        assert_eq!(of_tidy("tidy format ok\ntidy: 6 passed, 1 failed, 0 skipped\n"), counts(6, 1, 0));
    }

    #[test]
    fn the_closing_line_has_the_form_others_read() {
        assert_eq!(counts(12, 0, 1).to_string(), "12 passed, 0 failed, 1 skipped");
    }
}
