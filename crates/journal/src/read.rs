//! Reading pieces by stream and offset.

use crate::canary::Fault;
use crate::cursors::Passed;
use crate::damage::Damage;
use crate::disk::DiskFile;
use crate::frame::HEAD_BYTES;
use crate::journal::Journal;
use crate::range::{FileRange, expect_more};
use crate::state::Finished;
use crate::table::{Extent, TableError};
use bytes::Bytes;
use model::{LeaderEpoch, Offset, StreamId, Timestamp, limit, piece};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A piece, or several back to back, as read.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Offset of the first record. The bytes of a shared piece may say another.
    pub base: Offset,
    /// Offsets taken.
    pub count: u32,
    /// Leader epoch of the first piece.
    pub epoch: LeaderEpoch,
    /// Greatest timestamp.
    pub max_timestamp: Timestamp,
    /// The pieces' bytes.
    pub bytes: Bytes,
}

/// Pieces as read, or where they are.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// In memory.
    Slice(Slice),
    /// In a file, back to back.
    File {
        /// One past the last offset.
        end: Offset,
        /// Offsets taken.
        count: u64,
        /// Where.
        range: FileRange,
    },
}

impl Chunk {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Chunk::Slice(slice) => slice.bytes.len(),
            Chunk::File { range, .. } => range.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One past the last offset.
    #[must_use]
    pub fn end(&self) -> Offset {
        match self {
            Chunk::Slice(slice) => slice.end(),
            Chunk::File { end, .. } => *end,
        }
    }

    /// How many offsets its pieces take: as many as they have records, unless compaction removed some.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Chunk::Slice(slice) => u64::from(slice.count),
            Chunk::File { count, .. } => *count,
        }
    }

    fn range(&self) -> Option<&FileRange> {
        if let Chunk::File { range, .. } = self { Some(range) } else { None }
    }

    /// What is in memory.
    #[must_use]
    pub fn into_slice(self) -> Option<Slice> {
        if let Chunk::Slice(slice) = self { Some(slice) } else { None }
    }
}

impl Slice {
    /// One past the last offset.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }
}

/// Why pieces cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes on disk are not what was written, and this replica has no others.
    #[error("offsets {from} to {to} of {stream} are damaged on disk")]
    Damaged {
        /// The stream.
        stream: StreamId,
        /// First offset that cannot be read.
        from: Offset,
        /// One past the last.
        to: Offset,
    },
    /// The index of a file is damaged and is being rebuilt.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where an extent's bytes are.
enum Source {
    Memory(Bytes),
    /// In a file, at the extent's position.
    File(Arc<dyn DiskFile>),
}

enum Home {
    Entry(u64),
    File(Arc<Finished>),
}

/// Where to read on.
struct Place {
    file: Arc<Finished>,
    /// Offset of the file's first extent to read.
    first: Offset,
    /// From here on another file may have extents in between.
    before: Offset,
}

/// What reading an extent gave.
enum Fetched {
    Slice(Slice),
    /// Nothing that was wanted, because compaction removed it.
    Gone,
    /// Nothing, because it would have been too much.
    Full,
}

struct Located {
    extent: Extent,
    /// The Raft entry it is in, or the finished file.
    home: Home,
    source: Source,
}

/// Stands for offsets of which compaction left nothing.
fn nothing(from: Offset, to: Offset, last: &Extent) -> Slice {
    let count = u32::try_from(to.since(from)).unwrap_or(u32::MAX).min(i32::MAX as u32);
    let bytes = Bytes::from(piece::empty(from, count, last.epoch));
    Slice { base: from, count, epoch: last.epoch, max_timestamp: Timestamp(-1), bytes }
}

/// Whether a piece's own bytes say where it belongs. Those that streams share say where one of them has
/// it, and only the table knows of the others.
fn says_itself(file: &dyn DiskFile, extent: &Extent) -> io::Result<bool> {
    if extent.pieces > 1 {
        return Ok(true);
    }
    let mut bytes = [0; piece::PREFIX_BYTES];
    file.read_at(extent.position, &mut bytes)?;
    let mut right = bytes;
    piece::assign(&mut right, extent.base, extent.epoch);
    Ok(bytes == right)
}

impl Journal {
    /// Reads the pieces of `stream` that hold offsets from `from` up to `to`, exclusive: the first
    /// one whole whatever its size, then more while they fit `bytes_max`. Where records are gone the
    /// next ones follow. Empty when there is nothing in the range. May read files.
    ///
    /// # Errors
    /// See [`ReadError`]; only when the first piece cannot be read.
    pub fn read(&self, stream: StreamId, from: Offset, to: Offset, bytes_max: usize) -> Result<Vec<Slice>, ReadError> {
        let chunks = self.read_as(stream, from, to, bytes_max, false)?;
        Ok(chunks.into_iter().filter_map(Chunk::into_slice).collect())
    }

    /// The same, but what lies in a file in a row stays there: for whoever sends it as it is. Its
    /// checksums are the receiver's to verify.
    ///
    /// # Errors
    /// See [`Journal::read`].
    pub fn read_chunks(
        &self,
        stream: StreamId,
        from: Offset,
        to: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Chunk>, ReadError> {
        let chunks = self.read_as(stream, from, to, bytes_max, true)?;
        // Whoever has come to what is in memory goes on there.
        if let Some(Chunk::File { .. }) = chunks.last() {
            expect_more(chunks.iter().filter_map(Chunk::range));
        }
        Ok(chunks)
    }

    fn read_as(
        &self,
        stream: StreamId,
        from: Offset,
        to: Offset,
        bytes_max: usize,
        in_files: bool,
    ) -> Result<Vec<Chunk>, ReadError> {
        let mut passed = self.cursors.get(stream, from);
        let chunks = self.read_on(&mut passed, stream, from..to, bytes_max, in_files)?;
        if let Some(last) = chunks.last() {
            self.cursors.put(stream, last.end(), &passed);
        }
        Ok(chunks)
    }

    fn read_on(
        &self,
        passed: &mut Passed,
        stream: StreamId,
        Range { start: from, end: to }: Range<Offset>,
        bytes_max: usize,
        in_files: bool,
    ) -> Result<Vec<Chunk>, ReadError> {
        let mut chunks = Vec::new();
        let mut left = bytes_max;
        let (mut next, mut gone) = (from, None);
        while next < to {
            if let Some(recent) = self.read_recent(stream, next, to, left, chunks.is_empty()) {
                let Some(last) = recent.last() else { break };
                next = last.end();
                left = left.saturating_sub(recent.iter().map(|slice| slice.bytes.len()).sum());
                chunks.extend(recent.into_iter().map(Chunk::Slice));
                continue;
            }
            let located = self.locate(passed, stream, next, to, left, chunks.is_empty())?;
            if located.iter().any(|located| matches!(located.source, Source::File(_))) {
                self.read_behind_at.store(self.counters.log_bytes.load(Relaxed), Relaxed);
            }
            if located.is_empty() {
                match self.missing(stream, next, to) {
                    Some(error) if chunks.is_empty() => return Err(error),
                    _ => break,
                }
            }
            let mut rest = &located[..];
            while let Some((extent, others)) = rest.split_first() {
                if in_files && let Some((range, count)) = self.in_a_row(rest, from, left)? {
                    let (row, others) = rest.split_at(count);
                    next = row[count - 1].extent.end();
                    left = left.saturating_sub(range.len());
                    let count = row.iter().map(|located| u64::from(located.extent.count)).sum();
                    chunks.push(Chunk::File { end: next, count, range });
                    rest = others;
                    continue;
                }
                if let Some(error) = self.missing(stream, next, extent.extent.base) {
                    return if chunks.is_empty() { Err(error) } else { Ok(chunks) };
                }
                next = extent.extent.end();
                match self.fetch(extent, from..to, left, chunks.is_empty()) {
                    Ok(Fetched::Gone) if self.faulty(Fault::StallAtGaps) => return Ok(chunks),
                    // Of what was wanted here, nothing is left.
                    Ok(Fetched::Gone) => gone = Some(extent.extent),
                    Ok(Fetched::Slice(slice)) => {
                        let cut = slice.end() < extent.extent.end();
                        left = left.saturating_sub(slice.bytes.len());
                        chunks.push(Chunk::Slice(slice));
                        if cut {
                            return Ok(chunks);
                        }
                    }
                    Ok(Fetched::Full) => return Ok(chunks),
                    Err(error) if chunks.is_empty() => return Err(error),
                    Err(_) => return Ok(chunks),
                }
                rest = others;
            }
            if left == 0 {
                break;
            }
        }
        if let (true, Some(last)) = (chunks.is_empty(), gone) {
            // Nothing is left up to the end, and the reader has to get there.
            chunks.push(Chunk::Slice(nothing(from, next.min(to), &last)));
        }
        Ok(chunks)
    }

    /// The pieces that lie in a file one behind the other just as a reader is to get them, from the first
    /// on: where, and how many extents. `None` when they are too few bytes to bother.
    fn in_a_row(
        &self,
        located: &[Located],
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<(FileRange, usize)>, ReadError> {
        let Some(Located { extent: first, source: Source::File(file), .. }) = located.first() else { return Ok(None) };
        // While anything is known to be damaged, all that is read is verified.
        if first.base < from || file.descriptor().is_none() || self.knows_damage() {
            return Ok(None);
        }
        let (mut range, mut count) = (FileRange::new(file.clone(), first.position, 0), 0);
        for Located { extent, source, .. } in located {
            let follows = matches!(source, Source::File(file) if range.is_in(file)) && extent.position == range.end();
            let length = extent.length as usize;
            if !follows || range.len() + length > bytes_max || !says_itself(&**file, extent)? {
                break;
            }
            range.grow(length);
            count += 1;
        }
        Ok((range.len() >= limit::SEND_FILE_BYTES_MIN).then_some((range, count)))
    }

    /// Whether somebody reads what has left the tail cache, and will do so with what is written now: then
    /// that is better kept in the page cache.
    pub(crate) fn is_read_behind(&self) -> bool {
        let (at, now) = (self.read_behind_at.load(Relaxed), self.counters.log_bytes.load(Relaxed));
        at != u64::MAX && now.saturating_sub(at) < limit::READ_BEHIND_BYTES
    }

    /// Whether the piece that holds `from` is in memory: reading it will not touch a file.
    #[must_use]
    pub fn in_memory(&self, stream: StreamId, from: Offset) -> bool {
        let state = self.state.lock();
        let first = state.active.extents_from(stream, from).next();
        let active = first.is_some_and(|extent| {
            extent.base <= from && state.log.get(extent.index).is_some_and(|slot| slot.cached.is_some())
        });
        active || state.recent.covers(stream, from)
    }

    /// The first record of `stream` at or above `from` whose piece has a timestamp of at least
    /// `time`: the base offset and greatest timestamp of that piece. May read files.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn find_timestamp(
        &self,
        stream: StreamId,
        from: Offset,
        to: Offset,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, ReadError> {
        let (mut next, mut passed) = (from, Passed::default());
        while next < to {
            let located = self.locate(&mut passed, stream, next, to, limit::MIB, true)?;
            let Some(last) = located.last() else { break };
            next = last.extent.end();
            if let Some(found) = located.iter().map(|located| located.extent).find(|found| found.max_timestamp >= time)
            {
                return Ok(Some((found.base, found.max_timestamp)));
            }
        }
        Ok(None)
    }

    /// The greatest timestamp of the piece of `stream` that holds `from`, if the index says so that is in
    /// memory.
    #[must_use]
    pub fn timestamp_in_memory(&self, stream: StreamId, from: Offset) -> Option<Timestamp> {
        let state = self.state.lock();
        let active = state.active.extents_from(stream, from).next().filter(|extent| extent.base <= from);
        active.map(|extent| extent.max_timestamp).or_else(|| state.recent.timestamp(stream, from))
    }

    /// The greatest timestamp of the pieces that lie together, of which one holds `from` or is the next
    /// before `to`. May read tables.
    ///
    /// # Errors
    /// When tables cannot be read.
    pub fn timestamp_at(&self, stream: StreamId, from: Offset, to: Offset) -> Result<Option<Timestamp>, ReadError> {
        let located = self.locate(&mut Passed::default(), stream, from, to, 0, true)?;
        Ok(located.first().map(|located| located.extent.max_timestamp))
    }

    /// The first offset of `stream` from which on its pieces up to `to` take at most `bytes_max`
    /// bytes, or as much more as the run of pieces has in which that offset lies. Walks all of the stream's extents; may read files.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn find_size(&self, stream: StreamId, from: Offset, to: Offset, bytes_max: u64) -> Result<Offset, ReadError> {
        let (mut next, mut first, mut bytes) = (from, from, 0u64);
        let mut passed = Passed::default();
        let mut kept = std::collections::VecDeque::new();
        while next < to {
            let located = self.locate(&mut passed, stream, next, to, limit::MIB, true)?;
            let Some(last) = located.last() else { break };
            next = last.extent.end();
            for Located { extent, .. } in located {
                bytes += u64::from(extent.length);
                kept.push_back((u64::from(extent.length), extent.pieces, extent.end()));
                while let Some((length, pieces, end)) = kept.front().copied()
                    && bytes > bytes_max
                    // A run goes only when not one of its pieces would be kept.
                    && (pieces == 1 || bytes - length >= bytes_max)
                {
                    bytes -= length;
                    first = end;
                    kept.pop_front();
                }
            }
        }
        Ok(first)
    }

    /// Bytes of the stream's pieces with a record between `from` and `to`. Looks at every extent.
    ///
    /// # Errors
    /// When tables cannot be read.
    pub fn bytes_of(&self, stream: StreamId, from: Offset, to: Offset) -> Result<u64, ReadError> {
        let (mut next, mut bytes) = (from, 0);
        let mut passed = Passed::default();
        while next < to {
            let located = self.locate(&mut passed, stream, next, to, limit::MIB, true)?;
            let Some(last) = located.last() else { break };
            next = last.extent.end();
            bytes += located.iter().map(|located| u64::from(located.extent.length)).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Extents from the one that covers or follows `from`: all from one file or all from memory.
    fn locate(
        &self,
        passed: &mut Passed,
        stream: StreamId,
        from: Offset,
        to: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Vec<Located>, ReadError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut take = |extent: Located, found: &mut Vec<Located>| {
            let first = found.is_empty() && at_least_one;
            // A run of several pieces is cut to size when it is fetched.
            if !first && bytes + extent.extent.length as usize > bytes_max && extent.extent.pieces == 1 {
                return false;
            }
            bytes += extent.extent.length as usize;
            found.push(extent);
            bytes < bytes_max
        };
        let finished = {
            let state = self.state.lock();
            let mut extents = state.active.extents_from(stream, from).take_while(|extent| extent.base < to).peekable();
            // Finished files hold what is older: only when the index covers `from` is it the answer.
            let covered = extents.peek().is_some_and(|first| first.base <= from);
            if covered || state.finished.is_empty() {
                for extent in extents {
                    let Some(slot) = state.log.get(extent.index) else { break };
                    let (position, source) = match (&slot.cached, slot.place) {
                        (Some(payload), _) => {
                            let from = extent.position as usize;
                            (0, Source::Memory(payload.slice(from..from + extent.length as usize)))
                        }
                        (None, Some(place)) => match state.log_file(place.sequence) {
                            Some(file) => {
                                let position = place.position + HEAD_BYTES as u64 + u64::from(extent.position);
                                (position, Source::File(file))
                            }
                            None => break,
                        },
                        (None, None) => break,
                    };
                    let home = Home::Entry(extent.index);
                    let located = Located { extent: extent.placed(stream, position), home, source };
                    if !take(located, &mut found) {
                        break;
                    }
                }
                return Ok(found);
            }
            state.finished.clone()
        };
        let Some(Place { file, first, before }) = self.find_file(&finished, passed, stream, from)? else {
            // Not in any finished file: what memory has above `from`, if anything, is next.
            let next = self.state.lock().active.extents_from(stream, from).next().map(|extent| extent.base);
            return match next {
                Some(base) if base > from && base < to => {
                    self.locate(passed, stream, base, to, bytes_max, at_least_one)
                }
                _ => Ok(found),
            };
        };
        for extent in file.table.extents_from(&*file.file, stream, first) {
            let extent = extent.inspect_err(|_| self.note_damage(Damage::Table { file: file.id }))?;
            if extent.base >= to.min(before) {
                break;
            }
            let located = Located { extent, home: Home::File(file.clone()), source: Source::File(file.file.clone()) };
            if !take(located, &mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// The finished file with the first extent of `stream` that ends above `from`.
    ///
    /// Files hold what their rank says, so the first that has anything is the one, unless ranks
    /// overlap: files that were packed together, and repaired records.
    fn find_file(
        &self,
        finished: &Arc<Vec<Arc<Finished>>>,
        passed: &mut Passed,
        stream: StreamId,
        from: Offset,
    ) -> Result<Option<Place>, ReadError> {
        if !Arc::ptr_eq(finished, &passed.files) {
            *passed = Passed { files: finished.clone(), count: 0 };
        }
        let mut found: Option<Place> = None;
        let mut last_index = 0;
        for (nth, file) in finished.iter().enumerate().skip(passed.count) {
            if found.is_some() && file.table.first_index > last_index {
                break;
            }
            let Some(extent) = file.table.extents_from(&*file.file, stream, from).next() else {
                if found.is_none() {
                    passed.count = nth + 1;
                }
                continue;
            };
            let extent = extent.inspect_err(|_| self.note_damage(Damage::Table { file: file.id }))?;
            last_index = last_index.max(file.table.last_index);
            let base = extent.base;
            match &mut found {
                Some(place) if place.first == base => {}
                Some(place) if place.first < base => place.before = place.before.min(base),
                other => {
                    let before = other.as_ref().map_or(Offset(u64::MAX), |place| place.first);
                    found = Some(Place { file: file.clone(), first: base, before });
                }
            }
        }
        Ok(found)
    }

    /// The bytes of an extent; of a run of pieces, those that hold an offset of `range` and fit `bytes_max`.
    fn fetch(
        &self,
        located: &Located,
        Range { start: from, end: to }: Range<Offset>,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ReadError> {
        let Located { extent, home, source } = located;
        let (bytes, pieces) = match source {
            Source::Memory(bytes) => {
                self.counters.cache_hits.fetch_add(1, Relaxed);
                let small = bytes.len() < limit::PIN_BYTES_MIN;
                (if small { Bytes::copy_from_slice(bytes) } else { bytes.clone() }, None)
            }
            Source::File(file) => {
                self.counters.cache_misses.fetch_add(1, Relaxed);
                let mut bytes = vec![0; extent.length as usize];
                let read = file.read_at(extent.position, &mut bytes);
                let Some(pieces) = read.as_ref().ok().and_then(|()| extent.check(&mut bytes)) else {
                    match home {
                        Home::Entry(index) => self.note_bad_extent(extent, Some(*index), None),
                        Home::File(file) => self.note_bad_extent(extent, None, Some(file)),
                    }
                    read?;
                    return Err(ReadError::Damaged { stream: extent.stream, from: extent.base, to: extent.end() });
                };
                (Bytes::from(bytes), Some(pieces))
            }
        };
        let whole = Slice {
            base: extent.base,
            count: extent.count,
            epoch: extent.epoch,
            max_timestamp: extent.max_timestamp,
            bytes,
        };
        // The last piece may stand for others behind it that are gone.
        if pieces.as_ref().is_some_and(|pieces| pieces.last().is_some_and(|(last, _)| last.end() <= from)) {
            return Ok(Fetched::Gone);
        }
        let Some(pieces) = pieces.filter(|pieces| pieces.len() > 1) else {
            return Ok(Fetched::Slice(whole));
        };
        let last = pieces.len() - 1;
        let mut kept: Option<(Slice, usize)> = None;
        let wanted = pieces.into_iter().enumerate().filter(|(_, (head, _))| head.end() > from && head.base < to);
        for (nth, (head, range)) in wanted {
            let end = if nth == last { extent.end() } else { head.end() };
            match &mut kept {
                None if !at_least_one && range.len() > bytes_max => break,
                None => {
                    let slice = Slice {
                        base: head.base,
                        count: end.since(head.base) as u32,
                        epoch: head.epoch,
                        max_timestamp: head.max_timestamp,
                        bytes: whole.bytes.slice(range.clone()),
                    };
                    kept = Some((slice, range.start));
                }
                Some((slice, start)) => {
                    if range.end - *start > bytes_max {
                        break;
                    }
                    slice.bytes = whole.bytes.slice(*start..range.end);
                    slice.count = end.since(slice.base) as u32;
                    slice.max_timestamp = slice.max_timestamp.max(head.max_timestamp);
                }
            }
        }
        Ok(kept.map_or(Fetched::Full, |(slice, _)| Fetched::Slice(slice)))
    }
}
