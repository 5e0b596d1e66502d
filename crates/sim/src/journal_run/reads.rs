//! Comparing what the journal says with what must be true. With `damaged`, an error is an answer,
//! but wrong bytes are not and neither is passing over them in silence.

use super::made::STREAMS;
use super::run::{Run, Verdict, ensure};
use super::truth::Piece;
use journal::checkpoint::CheckpointError;
use journal::{LogEntry, LogReadError, ReadError, Slice, Space};
use model::{Offset, StreamId, Timestamp};

impl Run {
    /// Everything there is to compare.
    pub(super) fn inspect(&mut self, damaged: bool) -> Verdict {
        self.check_positions()?;
        self.check_vote()?;
        self.read_whole_log(damaged)?;
        for stream in 0..STREAMS {
            self.read_whole_stream(stream, damaged)?;
        }
        self.check_checkpoint(damaged)
    }

    fn check_positions(&self) -> Verdict {
        let (last, floor) = (self.journal.last(), self.journal.floor());
        ensure!(floor.index == self.floor, "the floor is {}, not {}", floor.index, self.floor);
        let expected = self.history.last().max(self.floor);
        ensure!(last.index == expected, "the log ends at {}, not {expected}", last.index);
        let term = self.history.get(expected).map_or(0, |made| made.term);
        ensure!(last.term == term, "the last entry is of term {}, not {term}", last.term);
        let (horizon, chosen) = (self.horizon(), self.truth.last());
        ensure!(horizon <= chosen, "entry {horizon} is in a finished file, but only {chosen} are committed");
        if self.journal.space() == Space::Enough {
            let (reserve, wanted) = (self.disk.length("reserve"), self.shape.log_file_bytes);
            ensure!(
                reserve >= Some(wanted),
                "space is called enough, but of {wanted} reserved bytes there are {reserve:?}"
            );
        }
        let applied = self.journal.applied();
        ensure!(applied == self.applied, "applied is {applied}, not {}", self.applied);
        Ok(())
    }

    /// Reads some of the log.
    pub(super) fn read_log(&mut self, damaged: bool) -> Verdict {
        let from = self.rng.between(self.floor + 1, self.history.last().max(self.floor) + 1);
        let to = from + self.rng.below(12);
        let bytes_max = [0, 500, 5000, 1 << 20][self.rng.below(4) as usize];
        self.read_entries(from, to, bytes_max, damaged).map(|_| ())
    }

    fn read_whole_log(&mut self, damaged: bool) -> Verdict {
        let bytes_max = [0, 500, 5000, 1 << 20][self.rng.below(4) as usize];
        let mut next = self.floor + 1;
        while next <= self.history.last() {
            // Past an entry that cannot be read, the others can.
            next += self.read_entries(next, u64::MAX, bytes_max, damaged)?.max(1);
        }
        if self.floor > 0 {
            let below = self.journal.entries(self.floor, self.floor + 1, 0);
            ensure!(matches!(below, Err(LogReadError::Absent(_))), "entry {} below the floor is read", self.floor);
        }
        Ok(())
    }

    /// Returns how many entries were read.
    fn read_entries(&mut self, from: u64, to: u64, bytes_max: usize, damaged: bool) -> Result<u64, String> {
        let before = self.disk.tally().errors();
        let found = match self.journal.entries(from, to, bytes_max) {
            Ok(found) => found,
            Err(LogReadError::Damaged(_)) if damaged => return Ok(0),
            Err(error) => return self.excuse(before, "reading the log", &error).map(|()| 0),
        };
        let there = to.min(self.history.last() + 1).saturating_sub(from);
        ensure!(found.is_empty() == (there == 0), "of {there} entries from {from} on, {} are read", found.len());
        ensure!(found.len() as u64 <= there, "{} entries from {from} on, there are {there}", found.len());
        let bytes: usize = found.iter().skip(1).map(|entry| entry.payload.len()).sum();
        let first = found.first().map_or(0, |entry| entry.payload.len());
        ensure!(found.len() <= 1 || first + bytes <= bytes_max, "{bytes} bytes beyond the first, limit {bytes_max}");
        for (nth, entry) in found.iter().enumerate() {
            self.check_entry(from + nth as u64, entry)?;
        }
        Ok(found.len() as u64)
    }

    fn check_entry(&self, index: u64, found: &LogEntry) -> Verdict {
        let Some(made) = self.history.get(index) else { return Err(format!("entry {index} is read, there is none")) };
        ensure!(
            made.is(found),
            "entry {index} is read as {:?} {}, not {}/{} {:?}",
            found.at,
            found.payload.len(),
            made.term,
            made.index,
            made.kind
        );
        let term = self.journal.term_of(index);
        ensure!(term == Some(made.term), "entry {index} is of term {}, not {term:?}", made.term);
        Ok(())
    }

    /// Reads some of a stream, and looks up a time in it.
    pub(super) fn read_stream(&mut self, damaged: bool) -> Verdict {
        let stream = self.rng.below(STREAMS + 1);
        let end = self.truth.pieces(stream, self.horizon()).last().map_or(0, Piece::end);
        let from = self.rng.below(end + 2);
        let to = if self.rng.percent(50) { u64::MAX } else { from + 1 + self.rng.below(end + 4) };
        let bytes_max = [0, 200, 3000, 1 << 20][self.rng.below(4) as usize];
        self.read_slices(stream, from, to, bytes_max, damaged)?;
        self.find_time(stream, from, to, damaged)
    }

    pub(super) fn read_whole_stream(&mut self, stream: u64, damaged: bool) -> Verdict {
        let bytes_max = [0, 200, 3000, 1 << 20][self.rng.below(4) as usize];
        let mut next = 0;
        loop {
            let wanted = self.truth.pieces(stream, self.horizon()).iter().find(|piece| piece.end() > next);
            let Some(end) = wanted.map(Piece::end) else { return Ok(()) };
            // Past a piece that cannot be read, the others can.
            next = self.read_slices(stream, next, u64::MAX, bytes_max, damaged)?.unwrap_or(end);
        }
    }

    /// Returns where what was read ends, if it could be.
    fn read_slices(
        &mut self,
        stream: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
        damaged: bool,
    ) -> Result<Option<u64>, String> {
        let before = self.disk.tally().errors();
        let found = match self.journal.read(StreamId(stream), Offset(from), Offset(to), bytes_max) {
            Ok(found) => found,
            Err(ReadError::Damaged { .. } | ReadError::Table(_)) if damaged => return Ok(None),
            Err(error) => return self.excuse(before, "reading a stream", &error).map(|()| None),
        };
        let pieces = self.truth.pieces(stream, self.horizon());
        let first = pieces.partition_point(|piece| piece.end() <= from);
        let expected = &pieces[first..first.max(pieces.partition_point(|piece| piece.base < to))];
        let compared = match self.is_compacted(stream) {
            true => self.compare_compacted(stream, from, expected, &found),
            false => compare(expected, &found, bytes_max),
        };
        compared
            .map_err(|error| format!("reading {from}..{to} of stream {stream}, horizon {}: {error}", self.horizon()))?;
        Ok(found.last().map(|slice| slice.end().0))
    }

    /// Entries up to here can be read by stream and offset: those applied, and, when the journal was
    /// opened again with an older checkpoint, those in files that were finished because they had
    /// been applied before.
    fn horizon(&self) -> u64 {
        let finished = self.journal.finished().iter().map(|file| file.table.last_index).max();
        self.applied.max(finished.unwrap_or(0))
    }

    fn find_time(&mut self, stream: u64, from: u64, to: u64, damaged: bool) -> Verdict {
        let time = Timestamp(self.rng.below(1000) as i64);
        if self.shape.compaction {
            // In files that were written anew, a time is found by the run of pieces that it is in.
            return Ok(());
        }
        let pieces = self.truth.pieces(stream, self.horizon());
        let expected = pieces
            .iter()
            .find(|piece| piece.end() > from && piece.base < to && piece.max_timestamp >= time)
            .map(|piece| (Offset(piece.base), piece.max_timestamp));
        let before = self.disk.tally().errors();
        match self.journal.find_timestamp(StreamId(stream), Offset(from), Offset(to), time) {
            Ok(found) => {
                ensure!(found == expected, "{time:?} in {from}..{to} of {stream} is at {found:?}, not {expected:?}");
                Ok(())
            }
            Err(_) if damaged => Ok(()),
            Err(error) => self.excuse(before, "looking up a time", &error),
        }
    }

    /// The checkpoint is one that was written, and holds what the machine held there.
    pub(super) fn check_checkpoint(&mut self, damaged: bool) -> Verdict {
        let before = self.disk.tally().errors();
        let (at, objects) = match self.journal.read_checkpoint() {
            Ok(read) => read,
            Err(CheckpointError::Damaged { .. }) if damaged => return Ok(()),
            Err(error) => return self.excuse(before, "reading the checkpoint", &error),
        };
        let said = self.journal.checkpoint_at();
        ensure!(at == said, "the checkpoint is at {at:?}, said to be at {said:?}");
        let right = at.index == self.checkpoint || self.checkpoints_tried.contains(&at.index);
        ensure!(right, "the checkpoint is at {}, written at {}", at.index, self.checkpoint);
        ensure!(objects == self.truth.objects_at(at.index), "the checkpoint at {} is not the machine there", at.index);
        Ok(())
    }
}

/// Whether `read` is the piece as it was written, or, when it was written for another stream too, with
/// what the leader assigned in this one.
pub(super) fn is_piece(piece: &Piece, read: &[u8]) -> bool {
    let mut assigned = piece.bytes.to_vec();
    model::piece::assign(&mut assigned, Offset(piece.base), piece.epoch);
    read == piece.bytes || read == assigned
}

/// Whether `found` are the first of `expected`, as many as fit.
fn compare(expected: &[Piece], found: &[Slice], bytes_max: usize) -> Verdict {
    let mut left = expected.iter();
    let mut bytes = 0;
    for slice in found {
        let mut rest = &slice.bytes[..];
        let (mut count, mut end, mut time) = (0, slice.base.0, Timestamp(i64::MIN));
        let mut epoch = None;
        while !rest.is_empty() {
            let Some(piece) = left.next() else { return Err(format!("{:?} should not be there", slice.base)) };
            let read = rest.get(..piece.bytes.len());
            ensure!(end == piece.base, "a piece at {end} is read, expected one at {}", piece.base);
            ensure!(read.is_some_and(|read| is_piece(piece, read)), "the piece at {end} is not what was written");
            ensure!(bytes == 0 || bytes + piece.bytes.len() <= bytes_max, "more than {bytes_max} bytes");
            rest = &rest[piece.bytes.len()..];
            bytes += piece.bytes.len();
            count += piece.count;
            end = piece.end();
            time = time.max(piece.max_timestamp);
            epoch.get_or_insert(piece.epoch);
        }
        let facts = (slice.count, slice.max_timestamp, Some(slice.epoch));
        ensure!(facts == (count, time, epoch), "the slice at {:?} says {facts:?}", slice.base);
    }
    ensure!(!found.is_empty() || expected.is_empty(), "nothing is read, there are {} pieces", expected.len());
    Ok(())
}
