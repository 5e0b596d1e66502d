//! What was asked of the journal since it was opened and what it promised, and from that which logs
//! and votes may be found after a crash.
//!
//! The rule is one: frames are written in order, so the log found is the log as it was after some
//! number of the appends, in order; that number is at least what was promised to survive this kind
//! of crash. An explicit truncation is in no frame: it may come undone, and need not.

use super::made::Made;
use crate::disk::Crash;
use bytes::Bytes;
use journal::LogEntry;
use std::sync::Arc;

/// A promise that the journal makes by calling back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    /// So many appends are written, and so many are on stable storage.
    Appended { written: usize, stable: usize },
    /// Votes up to this one are on stable storage.
    Voted(usize),
    /// So many appends are on stable storage.
    Flushed(usize),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The log when the journal was opened. All of it was called flushed then.
    base: Vec<Arc<Made>>,
    /// Entries appended since, in order.
    appends: Vec<Arc<Made>>,
    /// Explicit truncations: after how many appends, and to which index.
    truncations: Vec<(usize, u64)>,
    /// The log as it should be now, and after which append each entry came: zero for the base.
    log: Vec<(Arc<Made>, usize)>,
    /// Appends that must survive the death of the process.
    written: usize,
    /// A write failed: of what is only written, some may be lost, but not without a doubt.
    shaky: bool,
    /// Appends that must survive power loss.
    stable: usize,
    /// Every entry there ever was, also in earlier lives.
    ever: Vec<Arc<Made>>,
    votes: Vec<Bytes>,
    /// Votes that must survive: a number of `votes`.
    voted: usize,
    /// Promises asked for and given.
    asked: usize,
    given: usize,
}

impl History {
    pub(super) fn last(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&Arc<Made>> {
        let nth = usize::try_from(index.checked_sub(1)?).ok()?;
        self.log.get(nth).map(|(made, _)| made)
    }

    /// Appends an entry; returns how many have been appended.
    pub(super) fn append(&mut self, made: &Arc<Made>) -> usize {
        self.appends.push(made.clone());
        self.ever.push(made.clone());
        self.log.push((made.clone(), self.appends.len()));
        self.appends.len()
    }

    pub(super) fn appended(&self) -> usize {
        self.appends.len()
    }

    pub(super) fn truncate_after(&mut self, index: u64) {
        self.log.truncate(index as usize);
        self.truncations.push((self.appends.len(), index));
    }

    /// Adds a vote; returns how many there are.
    pub(super) fn vote(&mut self, vote: Bytes) -> usize {
        self.votes.push(vote);
        self.votes.len()
    }

    pub(super) fn last_vote(&self) -> Option<&Bytes> {
        self.votes.last()
    }

    /// A promise was asked for.
    pub(super) fn ask(&mut self) {
        self.asked += 1;
    }

    /// Promises not given yet.
    pub(super) fn waiting(&self) -> usize {
        self.asked - self.given
    }

    /// A promise was given.
    pub(super) fn keep(&mut self, promise: Promise) {
        self.given += 1;
        match promise {
            Promise::Appended { written, stable } => {
                self.written = self.written.max(written);
                self.stable = self.stable.max(stable);
            }
            Promise::Voted(votes) => self.voted = self.voted.max(votes),
            Promise::Flushed(stable) => self.stable = self.stable.max(stable),
        }
        self.written = self.written.max(self.stable);
    }

    /// The journal said that entries up to `index` are on stable storage.
    pub(super) fn flushed(&mut self, index: u64) -> Result<(), String> {
        let Some(nth) = usize::try_from(index).ok().and_then(|index| index.checked_sub(1)) else { return Ok(()) };
        let Some((_, after)) = self.log.get(nth) else {
            return Err(format!("flushed up to {index}, but the log ends at {}", self.last()));
        };
        self.stable = self.stable.max(*after);
        self.written = self.written.max(self.stable);
        Ok(())
    }

    /// A sync failed: the page cache may have let go of what only it had.
    pub(super) fn sync_failed(&mut self) {
        self.written = self.stable;
    }

    /// A write failed: its file is given up, and until everything is written again a crash may come.
    pub(super) fn write_failed(&mut self) {
        self.shaky = true;
    }

    /// How many appends must survive.
    fn must_survive(&self, crash: Crash) -> usize {
        match crash {
            Crash::Kill if !self.shaky => self.written,
            Crash::Kill | Crash::PowerLoss => self.stable,
        }
    }

    /// Whether something acknowledged is missing when only `survived` appends are found.
    pub(super) fn lost_acknowledged(&self, survived: usize) -> bool {
        survived < self.written
    }

    /// Some version of entry `found` that was ever appended, if it is one.
    pub(super) fn known(&self, found: &LogEntry) -> Option<&Arc<Made>> {
        self.ever.iter().rev().find(|made| made.is(found))
    }

    /// After how many appends the log was as found: `found` are its entries above `floor`. The
    /// greatest number there is.
    ///
    /// # Errors
    /// When it never was, or only before what must have survived.
    pub(super) fn recognise(&self, floor: u64, found: &[LogEntry], crash: Crash) -> Result<usize, String> {
        let last = floor as usize + found.len();
        let same = |log: &[&Arc<Made>], appends: usize| {
            let truncated = || self.truncations.iter().any(|(after, keep)| *after == appends && *keep == last as u64);
            (log.len() == last || (log.len() > last && truncated()))
                && log[floor as usize..].iter().zip(found).all(|(made, found)| made.is(found))
        };
        let mut log: Vec<&Arc<Made>> = self.base.iter().collect();
        let mut survived = same(&log, 0).then_some(0);
        for (nth, made) in self.appends.iter().enumerate() {
            log.truncate(made.index as usize - 1);
            log.push(made);
            if same(&log, nth + 1) {
                survived = Some(nth + 1);
            }
        }
        let least = self.must_survive(crash);
        let of = self.appends.len();
        match survived {
            Some(survived) if survived >= least => Ok(survived),
            Some(survived) => {
                let lost = &self.appends[survived];
                Err(format!(
                    "after {crash:?} the log ends at {last} as after {survived} of {of} appends, but {least} must \
                     survive; the first one lost is entry {}/{}",
                    lost.term, lost.index
                ))
            }
            None => {
                let from = found.len().saturating_sub(12);
                let tail: Vec<_> = found[from..].iter().map(|entry| (entry.at.term, entry.at.index)).collect();
                Err(format!(
                    "after {crash:?} the log {}..={last} is not as it was after any of {of} appends (base {}, {least} \
                     must survive); it ends in {tail:?}",
                    floor + 1,
                    self.base.len()
                ))
            }
        }
    }

    /// Whether `found` is a vote that may be there.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn recognise_vote(&self, found: Option<&Bytes>) -> Result<(), String> {
        let number = match found {
            None => 0,
            Some(vote) => self.votes.iter().rposition(|known| known == vote).map_or(0, |nth| nth + 1),
        };
        if number < self.voted || (number == 0 && found.is_some()) {
            return Err(format!("vote {found:?} was found, number {number}, but number {} must survive", self.voted));
        }
        Ok(())
    }

    /// Starts again from what was found: all of it counts as promised.
    pub(super) fn adopt(&mut self, survived: usize, last: u64, vote: Option<Bytes>) {
        let mut log = std::mem::take(&mut self.base);
        for made in self.appends.drain(..survived) {
            log.truncate(made.index as usize - 1);
            log.push(made);
        }
        log.truncate(last as usize);
        let votes: Vec<Bytes> = vote.into_iter().collect();
        let voted = votes.len();
        let ever = std::mem::take(&mut self.ever);
        let known = log.iter().map(|made| (made.clone(), 0)).collect();
        *self = History { log: known, base: log, ever, votes, voted, ..History::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal_run::made::{Ends, make};
    use crate::rng::Rng;

    fn made(term: u64, index: u64) -> Arc<Made> {
        Arc::new(make(&mut Rng::new(term * 1000 + index), term, index, &mut Ends::new()))
    }

    fn found(entries: &[(u64, u64)]) -> Vec<LogEntry> {
        entries.iter().map(|(term, index)| made(*term, *index).log_entry()).collect()
    }

    #[test]
    fn only_logs_that_were_are_recognised() {
        let mut history = History::default();
        for index in 1..=4 {
            history.append(&made(1, index));
        }
        history.keep(Promise::Appended { written: 4, stable: 2 });
        history.truncate_after(2);
        history.append(&made(2, 3));
        let log = |entries: &[(u64, u64)], crash| history.recognise(0, &found(entries), crash);
        assert_eq!(log(&[(1, 1), (1, 2), (2, 3)], Crash::Kill), Ok(5));
        assert_eq!(log(&[(1, 1), (1, 2), (1, 3), (1, 4)], Crash::Kill), Ok(4));
        assert_eq!(log(&[(1, 1), (1, 2), (1, 3)], Crash::PowerLoss), Ok(3));
        assert_eq!(log(&[(1, 1), (1, 2)], Crash::Kill), Ok(4), "the truncation was not undone");
        assert!(log(&[(1, 1), (1, 2), (1, 3)], Crash::Kill).is_err(), "four were acknowledged");
        assert!(log(&[(1, 1)], Crash::PowerLoss).is_err(), "two were stable");
        assert!(log(&[(1, 1), (1, 2), (2, 3), (1, 4)], Crash::Kill).is_err(), "never was");
        assert_eq!(history.recognise(1, &found(&[(1, 2), (2, 3)]), Crash::Kill), Ok(5));
        history.adopt(5, 3, None);
        assert_eq!(history.recognise(0, &found(&[(1, 1), (1, 2), (2, 3)]), Crash::PowerLoss), Ok(0));
        assert!(history.recognise(0, &found(&[(1, 1), (1, 2)]), Crash::PowerLoss).is_err());
    }
}
