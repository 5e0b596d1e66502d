//! Crashes, and what must be there when the journal is opened again.

use super::made::STREAMS;
use super::reads::is_piece;
use super::run::{Opened, Run, Verdict, ensure, open};
use crate::disk::Crash;
use journal::skips::{self, Skip};
use journal::{LogEntry, Next, OpenError, Recovered};
use model::{Offset, StreamId, Timestamp};
use std::collections::BTreeSet;

/// How often opening may fail for good reasons before that is a failure by itself.
const OPENINGS_MAX: u64 = 50;

impl Run {
    /// Everything is synced and the journal is closed before `crash`.
    pub(super) fn close_and_reopen(&mut self, crash: Crash) -> Verdict {
        ensure!(self.writer.is_idle(), "the writer is not idle after it settled");
        let closed = self.journal.close();
        self.trace.line(format_args!("close: {closed:?}"));
        ensure!(closed.is_ok(), "close fails though the disk does not: {closed:?}");
        match crash {
            Crash::Kill => self.disk.kill(),
            Crash::PowerLoss => self.disk.power_loss(),
        }
        self.reopen(crash, true)
    }

    /// The disk has crashed: opens the journal again and looks at what is there.
    pub(super) fn reopen(&mut self, mut crash: Crash, mut clean: bool) -> Verdict {
        self.hear_promises();
        let closed = clean;
        let opened = self.open_again(&mut crash, &mut clean)?;
        self.clear_weather();
        self.trace.line(format_args!("opened after {crash:?}: {:?}", opened.recovered));
        let recovered = self.start_over(opened);
        let doubt_before = std::mem::replace(&mut self.in_doubt, recovered.in_doubt);
        if recovered.in_doubt {
            self.facts.in_doubt += 1;
        }
        ensure!(recovered.damaged_entries.is_empty(), "damage where none was done: {:?}", recovered);
        if clean {
            ensure!(recovered.in_doubt == doubt_before, "in doubt after a clean shutdown: {:?}", recovered.reasons);
        } else if crash == Crash::PowerLoss && !closed {
            ensure!(recovered.in_doubt, "not in doubt after power loss");
        }
        self.check_log(crash, closed, &recovered)?;
        self.check_floor()?;
        self.resume()?;
        if recovered.in_doubt && self.rng.percent(70) {
            // The others have brought it up to date.
            let cleared = self.journal.set_in_doubt(false);
            ensure!(cleared.is_ok(), "set_in_doubt fails though the disk does not: {cleared:?}");
            self.in_doubt = false;
        }
        self.inspect(false)
    }

    /// Opens until it works: it may crash in the middle, and the disk may refuse.
    fn open_again(&mut self, crash: &mut Crash, clean: &mut bool) -> Result<Opened, String> {
        self.facts.reopened += 1;
        for attempt in 0..OPENINGS_MAX {
            if attempt == 0 && self.rng.percent(15) {
                self.begin_trouble();
            } else {
                self.clear_weather();
            }
            if self.rng.percent(15) {
                let power = self.rng.percent(self.shape.power_percent);
                let after = self.rng.below(8);
                self.disk.arm(after, if power { Crash::PowerLoss } else { Crash::Kill });
            }
            let before = self.disk.tally().errors();
            let outcome = open(&self.disk, &self.shape, self.fault);
            if let Some(again) = self.disk.take_crash() {
                *crash = again.max(*crash);
                *clean = false;
                continue;
            }
            self.disk.disarm();
            match outcome {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    let excused = self.disk.tally().errors() > before;
                    ensure!(excused, "it does not open after {crash:?} though the disk does not fail: {error}");
                    // It may have got as far as saying that it is in use.
                    *clean = false;
                    self.trace.line(format_args!("opening fails: {error}"));
                }
            }
        }
        Err("it does not open".into())
    }

    fn start_over(&mut self, opened: Opened) -> Recovered {
        let Opened { journal, writer, recovered, cache } = opened;
        self.journal = journal;
        self.writer = writer;
        self.cache = cache;
        self.next = Next::Idle;
        // Whoever leads now leads in a later term.
        self.term += 1;
        // Opening syncs too, and a sync that fails loses what the page cache alone had.
        self.hear_promises();
        recovered
    }

    /// The entries above the floor.
    fn found_log(&self) -> Result<Vec<LogEntry>, String> {
        let (mut next, last) = (self.journal.floor().index + 1, self.journal.last().index);
        let mut found = Vec::new();
        while next <= last {
            let entries = self.journal.entries(next, last + 1, 1 << 20);
            let entries = entries.map_err(|error| format!("the log found after a crash cannot be read: {error}"))?;
            next += entries.len() as u64;
            found.extend(entries);
        }
        Ok(found)
    }

    /// Entries and votes: nothing promised is missing, nothing is there that never was, and nothing
    /// is called committed that was not.
    fn check_log(&mut self, crash: Crash, closed: bool, recovered: &Recovered) -> Verdict {
        let found = self.found_log()?;
        let floor = self.journal.floor().index;
        let survived = self.history.recognise(floor, &found, crash)?;
        ensure!(
            !closed || survived == self.history.appended(),
            "only {survived} appends are left after a clean shutdown"
        );
        if self.history.lost_acknowledged(survived) {
            self.facts.lost_in_doubt += 1;
            ensure!(recovered.in_doubt, "acknowledged entries are lost without a doubt");
        }
        let vote = self.journal.vote();
        self.history.recognise_vote(vote.as_ref())?;
        self.history.adopt(survived, self.journal.last().index, vote);
        self.check_committed(&found)
    }

    /// What is called committed is what was committed.
    fn check_committed(&self, found: &[LogEntry]) -> Verdict {
        let committed = self.journal.committed().max(self.journal.checkpoint_at().index);
        for entry in found.iter().take_while(|entry| entry.at.index <= committed) {
            let chosen = self.truth.get(entry.at.index);
            ensure!(
                chosen.is_some_and(|made| made.is(entry)),
                "entry {:?} is called committed (up to {committed}), but {:?} was",
                entry.at,
                chosen.map(|made| (made.term, made.index))
            );
        }
        Ok(())
    }

    fn check_floor(&mut self) -> Verdict {
        let floor = self.journal.floor().index;
        ensure!(floor <= self.floor, "the floor is {floor}, but only {} was purged", self.floor);
        self.floor = floor;
        Ok(())
    }

    /// Reads the checkpoint, and applies from there on.
    fn resume(&mut self) -> Verdict {
        self.check_checkpoint(false)?;
        let (at, objects) = self.journal.read_checkpoint().map_err(|error| error.to_string())?;
        let last = self.history.last();
        ensure!(at.index <= last, "the checkpoint covers entry {}, but the log ends at {last}", at.index);
        self.checkpoint = at.index;
        self.checkpoints_tried.clear();
        self.take_objects(objects);
        self.applied = self.journal.applied();
        ensure!(self.applied == at.index, "applied is {}, the checkpoint is at {}", self.applied, at.index);
        self.committed = self.journal.committed().min(last).max(self.applied);
        Ok(())
    }

    /// The end of a run: bits flip, under a running journal or under a dead one.
    pub(super) fn flip_bits(&mut self) -> Verdict {
        self.clear_weather();
        self.disk.disarm();
        if self.rng.percent(50) {
            self.settle()?;
        }
        self.flip_some();
        if self.rng.percent(50) {
            self.inspect(true)?;
        }
        let crash = if self.rng.percent(self.shape.power_percent) { Crash::PowerLoss } else { Crash::Kill };
        match crash {
            Crash::Kill => self.disk.kill(),
            Crash::PowerLoss => self.disk.power_loss(),
        }
        self.hear_promises();
        let mut skipped = BTreeSet::new();
        loop {
            match open(&self.disk, &self.shape, self.fault) {
                Err(OpenError::Lost { first, last, .. }) if skipped.insert(first) => {
                    self.trace.line(format_args!("entries {first} to {last} are lost and skipped"));
                    self.facts.skipped += 1;
                    skipped.extend(first..=last);
                    let skip = |index| Skip { index, decided: Timestamp(0), reason: "lost".into() };
                    let added = skips::add(&*self.disk.mount(), (first..=last).map(skip).collect());
                    ensure!(added.is_ok(), "entries cannot be skipped: {added:?}");
                }
                Err(error) => {
                    self.trace.line(format_args!("it refuses to open: {error}"));
                    self.facts.refused += 1;
                    return Ok(());
                }
                Ok(opened) => {
                    self.trace.line(format_args!("opened after damage and {crash:?}: {:?}", opened.recovered));
                    let recovered = self.start_over(opened);
                    return self.survey(crash, &recovered, &skipped);
                }
            }
        }
    }

    fn flip_some(&mut self) {
        for _ in 0..self.rng.between(1, 3) {
            let files: Vec<_> = self.disk.files().into_iter().filter(|file| file.content_end > 0).collect();
            let Some(file) = self.rng.pick(&files).cloned() else { return };
            let (position, bit) = (self.rng.below(file.content_end), self.rng.below(8) as u32);
            self.trace.line(format_args!("flip bit {bit} of byte {position} of {}", file.name));
            self.disk.flip(&file.name, position, bit);
        }
    }

    /// What is there after damage: either all of it, or the journal says that something is not.
    /// Whatever it serves is right.
    fn survey(&mut self, crash: Crash, recovered: &Recovered, skipped: &BTreeSet<u64>) -> Verdict {
        let mut found = Vec::new();
        let mut loud = recovered.in_doubt || !recovered.damaged_entries.is_empty();
        for index in self.journal.floor().index + 1..=self.journal.last().index {
            match self.journal.entries(index, index + 1, 0) {
                Ok(entries) => {
                    for entry in entries {
                        if skipped.contains(&index) {
                            continue;
                        }
                        let known = self.history.known(&entry).is_some();
                        ensure!(known, "entry {:?} was never written", entry.at);
                        found.push(entry);
                    }
                }
                Err(error) => {
                    self.trace.line(format_args!("entry {index}: {error}"));
                    loud = true;
                }
            }
        }
        self.check_committed(&found)?;
        if !loud {
            let survived = self.history.recognise(self.journal.floor().index, &found, crash);
            survived.map_err(|error| format!("silent after damage: {error}"))?;
            let vote = self.history.recognise_vote(self.journal.vote().as_ref());
            vote.map_err(|error| format!("silent after damage: {error}"))?;
        }
        self.check_checkpoint(true)?;
        self.applied = self.journal.applied();
        if recovered.in_doubt {
            return self.serve_only_truth();
        }
        for stream in 0..STREAMS {
            self.read_whole_stream(stream, true).map_err(|error| format!("silent after damage: {error}"))?;
        }
        Ok(())
    }

    /// In doubt a replica may lack pieces until others have helped, but has no wrong ones.
    fn serve_only_truth(&mut self) -> Verdict {
        for stream in (0..STREAMS).filter(|stream| !self.is_compacted(*stream)) {
            let mut next = 0;
            while let Some(piece) = self.truth.pieces(stream, u64::MAX).iter().find(|piece| piece.end() > next) {
                next = piece.end();
                let Ok(found) = self.journal.read(StreamId(stream), Offset(piece.base), Offset(next), 0) else {
                    continue;
                };
                for slice in found {
                    let right = slice.base.0 == piece.base && is_piece(piece, &slice.bytes);
                    ensure!(right, "offset {} of stream {stream} is not what was written", slice.base);
                }
            }
        }
        Ok(())
    }
}
