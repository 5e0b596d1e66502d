//! What a run does to its journal, one call at a time, as Raft and maintenance would.

use super::history::Promise;
use super::made::{Ends, Made, make};
use super::run::{Run, Verdict, ensure};
use super::truth;
use crate::disk::Crash;
use bytes::Bytes;
use journal::checkpoint::{Changes, CheckpointError};
use journal::frame::Kind;
use journal::{LogPosition, Next, Space};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

impl Run {
    /// One random step.
    pub(super) fn step(&mut self) -> Verdict {
        if self.rng.per_mille(self.shape.crashes) {
            return self.crash();
        }
        if self.shape.compaction && self.rng.percent(6) {
            // Only what the log has let go of is compacted.
            self.write_checkpoint()?;
            self.purge()?;
            self.finish()?;
            return if self.disk.has_crashed() { Ok(()) } else { self.compact() };
        }
        match self.rng.below(100) {
            0..25 => self.append(),
            25..45 => self.write(),
            45..58 => self.sync(),
            58..66 => {
                let most = self.rng.between(1, 6);
                self.commit(self.truth.last().saturating_add(most))
            }
            66..76 => {
                let most = self.rng.between(1, 8);
                self.apply(self.applied.saturating_add(most))
            }
            76..78 => self.truncate(),
            78..81 => self.vote(),
            81 => {
                self.flush();
                Ok(())
            }
            82..86 => self.write_checkpoint(),
            86 => self.merge_checkpoint(),
            87 => self.purge(),
            88..92 => self.finish().map(|_| ()),
            92 => self.refill_reserve(),
            93..96 => self.read_log(false),
            96..99 => self.read_stream(false),
            _ => self.inspect(false),
        }
    }

    /// Crashes now, or in the middle of something soon.
    fn crash(&mut self) -> Verdict {
        let power = self.rng.percent(self.shape.power_percent);
        let crash = if power { Crash::PowerLoss } else { Crash::Kill };
        match self.rng.below(10) {
            0..4 => {
                match crash {
                    Crash::Kill => self.disk.kill(),
                    Crash::PowerLoss => self.disk.power_loss(),
                }
                self.reopen(crash, false)
            }
            4..9 => {
                self.arm(12, power);
                Ok(())
            }
            _ => {
                self.clear_weather();
                self.disk.disarm();
                self.settle()?;
                self.close_and_reopen(crash)
            }
        }
    }

    /// Crashes within so many operations of the disk.
    fn arm(&mut self, operations: u64, power: bool) {
        let after = self.rng.below(operations);
        self.disk.arm(after, if power { Crash::PowerLoss } else { Crash::Kill });
    }

    /// An error is right only when the disk made one, or the process is dying.
    pub(super) fn excuse(&self, errors_before: u64, what: &str, error: &dyn Display) -> Verdict {
        let excused = self.disk.tally().errors() > errors_before || self.disk.has_crashed();
        ensure!(excused, "{what} fails though the disk does not: {error}");
        self.trace.line(format_args!("{what} fails: {error}"));
        Ok(())
    }

    /// A leader's entries arrive, or our own.
    fn append(&mut self) -> Verdict {
        self.align()?;
        if self.history.last() >= self.truth.last() && self.journal.space() != Space::Enough && self.rng.percent(80) {
            return Ok(());
        }
        let count = self.rng.between(1, 5);
        let batch = self.next_entries(count);
        self.append_batch(batch);
        if self.rng.percent(self.shape.eager_percent) {
            self.write()?;
            self.commit(u64::MAX)?;
            self.apply(u64::MAX)?;
        }
        Ok(())
    }

    /// Committed entries that are missing here, or else new ones.
    fn next_entries(&mut self, count: u64) -> Vec<Arc<Made>> {
        let mut ends = self.ends();
        let mut batch = Vec::new();
        for index in self.history.last() + 1..=self.history.last() + count {
            match self.truth.get(index) {
                Some(made) => batch.push(made.clone()),
                None if self.history.last() < self.truth.last() => break,
                None => batch.push(Arc::new(make(&mut self.rng, self.term, index, &mut ends))),
            }
        }
        batch
    }

    /// Where streams end after everything in the log.
    fn ends(&self) -> Ends {
        let mut ends = self.truth.ends();
        for index in self.truth.last() + 1..=self.history.last() {
            for piece in self.history.get(index).iter().flat_map(|made| made.accepted()) {
                ends.insert(piece.stream.0, piece.end().0);
            }
        }
        ends
    }

    fn append_batch(&mut self, batch: Vec<Arc<Made>>) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
        self.trace.line(format_args!("append {}..={} of term {}", first.index, last.index, last.term));
        let mut entries = Vec::new();
        let mut stable = 0;
        for made in &batch {
            let fsync = made.kind != Kind::Entry || self.rng.percent(self.shape.fsync_percent);
            let count = self.history.append(made);
            if fsync {
                stable = count;
            }
            entries.push((made.log_entry(), fsync));
        }
        self.facts.entries += batch.len() as u64;
        let written = self.history.appended();
        self.history.ask();
        self.journal.append(entries, self.promise(Promise::Appended { written, stable }));
    }

    /// A callback that notes a promise.
    fn promise(&self, promise: Promise) -> journal::Done {
        let promises = self.promises.clone();
        Box::new(move || promises.lock().push(promise))
    }

    fn write(&mut self) -> Verdict {
        if self.is_slow() {
            return Ok(());
        }
        self.next = self.writer.write();
        self.trace.line(format_args!("write: {:?}", self.next));
        self.after_writing()
    }

    fn sync(&mut self) -> Verdict {
        if self.is_slow() || matches!(self.next, Next::Idle | Next::Retry(_)) {
            return Ok(());
        }
        self.next = self.writer.sync();
        self.trace.line(format_args!("sync: {:?}", self.next));
        self.after_writing()
    }

    /// Right after storage refused is when something could be nowhere.
    fn after_writing(&mut self) -> Verdict {
        if !matches!(self.next, Next::Retry(_)) || self.disk.has_crashed() {
            return Ok(());
        }
        if self.rng.percent(50) {
            self.hear()?;
            self.inspect(false)?;
        }
        if self.shape.crashes > 0 && self.rng.percent(30) {
            let power = self.rng.percent(self.shape.power_percent);
            self.arm(10, power);
        }
        Ok(())
    }

    /// The first index where our log is not what was committed, if there is one.
    fn conflict(&self) -> Option<u64> {
        let both = self.truth.last().min(self.history.last());
        (self.applied + 1..=both).find(|index| match (self.truth.get(*index), self.history.get(*index)) {
            (Some(chosen), Some(ours)) => !Arc::ptr_eq(chosen, ours),
            _ => false,
        })
    }

    /// The leader finds where our log differs from the committed one, and has it truncated.
    fn align(&mut self) -> Verdict {
        if let Some(index) = self.conflict() {
            self.truncate_after(index - 1);
        }
        Ok(())
    }

    /// Everything committed that is missing here arrives.
    pub(super) fn catch_up(&mut self) -> Verdict {
        self.align()?;
        while self.history.last() < self.truth.last() {
            let batch = self.next_entries(8);
            self.append_batch(batch);
        }
        Ok(())
    }

    /// A new leader does away with entries that were not committed. Alone, nobody does.
    fn truncate(&mut self) -> Verdict {
        if !self.shape.replicated {
            return Ok(());
        }
        self.align()?;
        let least = self.truth.last().min(self.history.last()).max(self.applied);
        if self.history.last() > least {
            let keep = self.rng.between(least, self.history.last());
            self.truncate_after(keep);
            self.term += 1;
            if self.rng.percent(70) {
                return self.append();
            }
        }
        Ok(())
    }

    fn truncate_after(&mut self, keep: u64) {
        self.trace.line(format_args!("truncate after {keep}"));
        self.history.truncate_after(keep);
        self.journal.truncate_after(keep);
    }

    /// Entries of our log up to `to` are committed, and we are told.
    pub(super) fn commit(&mut self, to: u64) -> Verdict {
        self.align()?;
        let to = to.min(self.history.last());
        for index in self.truth.last() + 1..=to {
            let made = self.history.get(index).expect("the index is in the log").clone();
            self.truth.choose(&made);
            self.facts.committed += 1;
        }
        let known = self.truth.last().min(to);
        if known > self.committed {
            self.trace.line(format_args!("committed {known}"));
            self.committed = known;
            self.journal.set_committed(known);
        }
        Ok(())
    }

    /// The machine applies committed entries up to `to`.
    pub(super) fn apply(&mut self, to: u64) -> Verdict {
        for index in self.applied + 1..=to.min(self.committed) {
            let made = self.truth.get(index).expect("what is known committed is committed").clone();
            let accepted: Vec<_> = made.accepted().copied().collect();
            self.trace.line(format_args!("publish {index}: {} pieces, refused {:?}", accepted.len(), made.refused));
            self.journal.publish(index, &accepted, &made.refused);
            truth::apply(&made, &mut self.objects, &mut self.dirty);
            self.applied = index;
        }
        Ok(())
    }

    fn vote(&mut self) -> Verdict {
        self.votes += 1;
        if self.rng.percent(30) {
            self.term += 1;
        }
        let vote = Bytes::from(format!("vote {} in term {}", self.votes, self.term));
        self.trace.line(format_args!("{vote:?}"));
        let number = self.history.vote(vote.clone());
        self.history.ask();
        self.journal.save_vote(vote, self.promise(Promise::Voted(number)));
        self.check_vote()
    }

    pub(super) fn check_vote(&self) -> Verdict {
        let (found, expected) = (self.journal.vote(), self.history.last_vote());
        ensure!(found.as_ref() == expected, "the vote is {found:?}, not {expected:?}");
        Ok(())
    }

    pub(super) fn flush(&mut self) {
        self.trace.line(format_args!("flush"));
        self.history.ask();
        self.journal.flush(self.promise(Promise::Flushed(self.history.appended())));
    }

    fn write_checkpoint(&mut self) -> Verdict {
        if self.applied == 0 {
            return Ok(());
        }
        let term = self.truth.get(self.applied).map_or(0, |made| made.term);
        let at = LogPosition { term, index: self.applied };
        let changes: Changes = self.dirty.iter().map(|key| (key.clone(), self.objects.get(key).cloned())).collect();
        let (before, flushed) = (self.disk.tally().errors(), self.journal.flushed());
        match self.journal.write_checkpoint(at, &changes) {
            Ok(()) => {
                self.trace.line(format_args!("checkpoint at {} of {} changes", at.index, changes.len()));
                self.checkpoint = at.index;
                self.checkpoints_tried.clear();
                self.dirty.clear();
            }
            Err(CheckpointError::NotFlushed { .. }) if flushed < at.index => {}
            Err(error) => {
                self.checkpoints_tried.push(at.index);
                self.excuse(before, "write_checkpoint", &error)?;
            }
        }
        Ok(())
    }

    fn merge_checkpoint(&mut self) -> Verdict {
        let before = self.disk.tally().errors();
        match self.journal.merge_checkpoint() {
            Ok(merged) => {
                self.trace.line(format_args!("merge checkpoint: {merged}"));
                if self.disk.has_crashed() { Ok(()) } else { self.check_checkpoint(false) }
            }
            Err(error) => self.excuse(before, "merge_checkpoint", &error),
        }
    }

    fn purge(&mut self) -> Verdict {
        let index = self.rng.between(self.floor, self.checkpoint.max(self.floor));
        let Some(made) = self.truth.get(index) else { return Ok(()) };
        self.trace.line(format_args!("purge {index}"));
        self.journal.purge(LogPosition { term: made.term, index });
        self.floor = index;
        Ok(())
    }

    /// Returns whether a file was finished.
    pub(super) fn finish(&mut self) -> Result<bool, String> {
        let before = self.disk.tally().errors();
        // Now and then as if somebody needed a snapshot and nothing more were committed until they have it.
        let part = self.facts.finished % 3 == 2 && self.floor.is_multiple_of(2);
        let finished = self.journal.finish_next().and_then(|done| Ok(done || part && self.journal.finish_settled()?));
        match finished {
            Ok(finished) => {
                if finished {
                    self.trace.line(format_args!("a file is finished: {:?}", self.journal.finished()));
                }
                self.facts.finished += u64::from(finished);
                Ok(finished)
            }
            Err(error) => self.excuse(before, "finish_next", &error).map(|()| false),
        }
    }

    fn refill_reserve(&mut self) -> Verdict {
        let before = self.disk.tally().errors();
        self.journal.refill_reserve().or_else(|error| self.excuse(before, "refill_reserve", &error))
    }

    /// Keys that are as they were in the checkpoint just read.
    pub(super) fn take_objects(&mut self, objects: truth::Objects) {
        self.objects = objects;
        self.dirty = BTreeSet::new();
    }
}
