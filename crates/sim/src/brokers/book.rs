//! All that clients were told, to be judged. Nothing in it comes from the broker's own code.

use super::ends::Ends;
use super::generations::Generations;
use super::history::Histories;
use super::ids::Ids;
use super::names::Names;
use super::positions::Positions;
use super::starts::Starts;
use crate::cluster::checker::Ledger;
use model::StreamId;
use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) records: Ledger,
    pub(super) ends: Ends,
    starts: Starts,
    pub(super) names: Names,
    pub(super) positions: Positions,
    pub(super) generations: Generations,
    pub(super) histories: Histories,
    pub(super) ids: Ids,
}

impl Book {
    /// Records that somebody asked to append at `asked` were acknowledged.
    pub(super) fn acknowledged(
        &mut self,
        log: StreamId,
        (id, count): (u64, u64),
        base: u64,
        asked: Duration,
        at: Duration,
    ) -> Result<(), String> {
        self.records.acknowledged(log, id, count, base, at);
        let in_order = self.ends.check(log, base, asked, &self.records.losses);
        self.ends.reaches(log, base + count, at);
        in_order.map_err(|wrong| format!("{id}+{count} is at {base}, and {wrong}"))
    }

    /// Somebody who asked at `asked` is told where a log ends.
    pub(super) fn ends(&mut self, log: StreamId, end: u64, asked: Duration, at: Duration) -> Result<(), String> {
        self.ends.check(log, end, asked, &self.records.losses)?;
        self.ends.reaches(log, end, at);
        Ok(())
    }

    /// Somebody who asked at `asked` is told by a node that has to know where a log starts.
    pub(super) fn starts(&mut self, log: StreamId, start: u64, asked: Duration, at: Duration) -> Result<(), String> {
        self.starts.check(log, start, self.records.trimmed_to(log), (asked, at))
    }

    /// Somebody is told where a log starts by a node that may lag.
    pub(super) fn may_start(&self, log: StreamId, start: u64) -> Result<(), String> {
        Starts::check_lagging(start, self.records.trimmed_to(log))
    }

    /// Something was wrong, unless it was right.
    pub(super) fn note(&mut self, who: std::fmt::Arguments<'_>, outcome: Result<(), String>) {
        if let Err(wrong) = outcome {
            self.records.violation(format!("{who} {wrong}"));
        }
    }
}
