//! Where logs are known to start: no record goes that nobody asked to trim, and none comes back.

use model::StreamId;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// When somebody was told that a log starts there. Both ascend.
    told: BTreeMap<StreamId, Vec<(Duration, u64)>>,
}

impl Starts {
    /// Judges a start that anybody is told, by a node that may lag: `trimmed_to` is the furthest that anybody has asked
    /// to trim.
    pub(super) fn check_lagging(start: u64, trimmed_to: u64) -> Result<(), String> {
        match start > trimmed_to {
            true => Err(format!("the log starts at {start}, and nobody asked to trim beyond {trimmed_to}")),
            false => Ok(()),
        }
    }

    /// Judges a start that somebody is told at `at` who asked at `asked`, by a node that has to know.
    pub(super) fn check(
        &mut self,
        log: StreamId,
        start: u64,
        trimmed_to: u64,
        (asked, at): (Duration, Duration),
    ) -> Result<(), String> {
        Starts::check_lagging(start, trimmed_to)?;
        let told = self.told.entry(log).or_default();
        if let Some((then, known)) = told.iter().rev().find(|(then, known)| *then < asked && *known > start) {
            return Err(format!("the log starts at {start}, and started at {known} at {then:?}"));
        }
        if told.last().is_none_or(|(_, before)| *before < start) {
            told.push((at, start));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_neither_runs_ahead_nor_comes_back() {
        let (mut starts, log, millis) = (Starts::default(), StreamId(1), Duration::from_millis);
        assert!(starts.check(log, 0, 0, (millis(1), millis(2))).is_ok());
        assert!(starts.check(log, 1, 0, (millis(1), millis(2))).is_err(), "nobody asked for that");
        assert!(starts.check(log, 5, 8, (millis(3), millis(6))).is_ok());
        assert!(starts.check(log, 0, 8, (millis(5), millis(7))).is_ok(), "it was asked for before");
        assert!(starts.check(log, 4, 8, (millis(7), millis(8))).is_err(), "it comes back");
        assert!(starts.check(log, 8, 8, (millis(7), millis(8))).is_ok());
        assert!(Starts::check_lagging(0, 8).is_ok() && Starts::check_lagging(9, 8).is_err());
    }
}
