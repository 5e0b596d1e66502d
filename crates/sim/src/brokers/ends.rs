//! How far logs are known to reach: nobody may be told of an earlier end afterwards, and nobody's records may be put
//! before one.
//!
//! So appends to a log and questions for its end are linearizable. Each of them happened when the log had a certain
//! length, which its answer tells: where records were put, or where the log ended. That is the order in which they took
//! effect, and no search for another is needed. What is left to be seen is that none that was answered before another
//! was asked for comes after it. What was never answered may fill any gap.

use crate::cluster::losses::Losses;
use model::StreamId;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// When somebody was told that a log reaches that far. Both ascend.
    told: BTreeMap<StreamId, Vec<(Duration, u64)>>,
}

impl Ends {
    /// Somebody is told at `at` that a log reaches to `end`.
    pub(super) fn reaches(&mut self, log: StreamId, end: u64, at: Duration) {
        let told = self.told.entry(log).or_default();
        if told.last().is_none_or(|(_, before)| *before < end) {
            told.push((at, end));
        }
    }

    /// Judges an end that somebody is told who asked at `asked`, or where records were put that somebody asked to append
    /// at `asked`: there the log ended.
    pub(super) fn check(&self, log: StreamId, end: u64, asked: Duration, losses: &Losses) -> Result<(), String> {
        let told = self.told.get(&log).map(Vec::as_slice).unwrap_or_default();
        let before = told.iter().rev().filter(|(at, _)| *at < asked);
        let longer = before.take_while(|(_, known)| *known > end).find(|(at, _)| !losses.may_lose(*at));
        match longer {
            Some((at, known)) => Err(format!("the log ends at {end}, and reached to {known} at {at:?}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;

    #[test]
    fn nothing_is_put_before_an_end_that_was_told() {
        let (mut ends, losses) = (Ends::default(), Losses::default());
        let (log, millis) = (StreamId(1), Duration::from_millis);
        ends.reaches(log, 5, millis(1_000));
        assert!(ends.check(log, 5, millis(2_000), &losses).is_ok(), "right behind it");
        assert!(ends.check(log, 3, millis(900), &losses).is_ok(), "it may have been put there before");
        assert!(ends.check(log, 3, millis(1_001), &losses).is_err(), "another had that place, or it was a gap");
        assert!(ends.check(StreamId(2), 0, millis(2_000), &losses).is_ok(), "another log");
    }

    #[test]
    fn an_end_does_not_go_back_but_for_a_loss() {
        let (mut ends, mut losses) = (Ends::default(), Losses::default());
        let (log, millis) = (StreamId(1), Duration::from_millis);
        ends.reaches(log, 5, millis(1_000));
        ends.reaches(log, 9, millis(5_000));
        assert!(ends.check(log, 9, millis(6_000), &losses).is_ok());
        assert!(ends.check(log, 8, millis(6_000), &losses).is_err());
        assert!(ends.check(log, 5, millis(4_000), &losses).is_ok(), "it was asked for before");
        losses.add(NodeId(1), millis(4_500), millis(5_100));
        losses.add(NodeId(2), millis(4_500), millis(5_100));
        assert!(ends.check(log, 5, millis(6_000), &losses).is_ok(), "two had it in memory");
        assert!(ends.check(log, 4, millis(6_000), &losses).is_err(), "and this they had on disk");
    }
}
