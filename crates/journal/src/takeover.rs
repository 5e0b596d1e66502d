//! Taking the compacted part of streams over from another replica.
//!
//! Each replica compacts its own files, so what is damaged here may have another form everywhere else. What
//! another replica has of the damaged offsets alone does not do: it may lack the removal of a key whose older
//! record is still here, below; and it may have a record whose removal is gone here, above. What it has of
//! everything below the offset from which on nothing was ever compacted here does: what it removed, it
//! removed for records that it has too or that are above that offset, where this replica has all there were
//! once its stream goes as far as the other's.
//!
//! So the other's pieces go into files of their own, the files here are written anew without the streams, and
//! the manifest switches at once. Meanwhile the files here are pinned.

use crate::file::FileId;
use crate::journal::Journal;
use crate::pack::Output;
use crate::read::Slice;
use crate::reclaim::{Liveness, PackGroup, ReclaimError};
use crate::state::Finished;
use crate::table::{Extent, TableError};
use bytes::Bytes;
use model::{Form, Offset, PieceHead, StreamId, limit, piece};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A stream of which a part is taken over.
#[derive(Clone, Debug)]
struct Part {
    range: Range<Offset>,
    /// What comes next.
    next: Offset,
}

/// Streams being taken over. Dropped, it leaves nothing behind.
pub struct Takeover {
    journal: Arc<Journal>,
    parts: BTreeMap<StreamId, Part>,
    /// The files here that have something of them, pinned.
    sources: Vec<Arc<Finished>>,
    /// Indexes that their content came from.
    rank: (u64, u64),
    output: Option<Output>,
    copies: Vec<Arc<Finished>>,
}

impl Journal {
    /// The files with something of `stream` below `to`: while they are the same, so is what they say.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn files_of(&self, stream: StreamId, to: Offset) -> Result<Vec<FileId>, TableError> {
        let mut files = Vec::new();
        for file in self.finished().iter() {
            if let Some(first) = file.table.extents_from(&*file.file, stream, Offset(0)).next()
                && first?.base < to
            {
                files.push(file.id);
            }
        }
        Ok(files)
    }

    /// Begins to take over streams, each from an offset on and at least up to one. `None` when files that
    /// have something of them cannot be rewritten yet.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn take_over(
        self: &Arc<Self>,
        wanted: &BTreeMap<StreamId, Range<Offset>>,
    ) -> Result<Option<Takeover>, TableError> {
        let mut ends: BTreeMap<StreamId, Offset> = BTreeMap::new();
        let mut sources = Vec::new();
        let (files, floor) = (self.finished(), self.floor().index);
        for file in files.iter().filter(|file| file.table.last_index <= floor) {
            let mut concerned = false;
            for (stream, range) in wanted {
                for extent in file.table.extents_from(&*file.file, *stream, range.start) {
                    let end = ends.entry(*stream).or_default();
                    *end = extent?.end().max(*end);
                    concerned = true;
                }
            }
            if concerned {
                sources.push(file.clone());
            }
        }
        // Where records were lost with entries, what follows them may be in files that the Raft log needs.
        if wanted.iter().any(|(stream, range)| ends.get(stream).is_none_or(|end| *end < range.end)) {
            return Ok(None);
        }
        {
            let mut state = self.state.lock();
            let here = |source: &Arc<Finished>| state.finished.iter().any(|file| file.id == source.id);
            if sources.iter().any(|source| !here(source) || state.is_pinned(source)) {
                return Ok(None);
            }
            sources.iter().for_each(|source| *state.pins.entry(source.id).or_default() += 1);
        }
        let ranks = sources.iter().map(|source| (source.table.first_index, source.table.last_index));
        let rank = ranks.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((1, 0));
        let part = |(stream, range): (&StreamId, &Range<Offset>)| {
            (*stream, Part { range: range.start..ends[stream], next: range.start })
        };
        let parts = wanted.iter().map(part).collect();
        Ok(Some(Takeover { journal: self.clone(), parts, sources, rank, output: None, copies: Vec::new() }))
    }
}

impl Takeover {
    /// What has to be added next: of which stream, from where, up to where. `None` when that was all.
    #[must_use]
    pub fn wants(&self) -> Option<(StreamId, Offset, Offset)> {
        let part = self.parts.iter().find(|(_, part)| part.next < part.range.end);
        part.map(|(stream, part)| (*stream, part.next, part.range.end))
    }

    /// Adds what another replica has from there on. Returns whether it was that. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn add(&mut self, slices: &[Slice]) -> Result<bool, ReclaimError> {
        let Some((stream, before, _)) = self.wants() else { return Ok(false) };
        for slice in slices {
            let Some(pieces) = self.parts.get_mut(&stream).and_then(|part| part.pieces(stream, slice)) else {
                return Ok(false);
            };
            for (extent, bytes, has_gap) in pieces {
                self.hold(extent, bytes, has_gap)?;
            }
        }
        Ok(self.parts.get(&stream).is_some_and(|part| part.next > before))
    }

    fn hold(&mut self, extent: Extent, bytes: Bytes, has_gap: bool) -> Result<(), ReclaimError> {
        if self.output.as_ref().is_some_and(|output| output.bytes() > limit::PACKED_FILE_BYTES_MAX / 2) {
            self.close_output()?;
        }
        if self.output.is_none() {
            self.output = Some(Output::create(&self.journal, self.rank)?);
        }
        if let Some(output) = &mut self.output {
            // Of a piece that begins below, not all may be alive.
            let may_run = self.parts[&extent.stream].range.start <= extent.base;
            output.hold(bytes, vec![extent], may_run, has_gap)?;
        }
        Ok(())
    }

    fn close_output(&mut self) -> Result<(), ReclaimError> {
        let Some(mut output) = self.output.take() else { return Ok(()) };
        match output.finish(&self.journal) {
            Ok(file) => {
                self.copies.push(file);
                Ok(())
            }
            Err(error) => {
                self.journal.remove_output(output.id());
                Err(error)
            }
        }
    }

    /// Makes what was added count instead of what is here, if it is all and nobody is copying the files.
    /// What the other replica removed, it has to have removed for records that are applied and on stable
    /// storage here, too. Returns whether it counts now. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ReclaimError`]; nothing has changed then.
    pub fn finish(mut self, live: &dyn Liveness) -> Result<bool, ReclaimError> {
        if self.wants().is_some() {
            return Ok(false);
        }
        self.close_output()?;
        let mut made = Vec::new();
        let rewritten = self.rewrite(live, &mut made);
        let outcome = match rewritten {
            Ok(()) => self.switch(std::mem::take(&mut made)),
            // It is noted, and comes first.
            Err(ReclaimError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        made.iter().for_each(|file| self.journal.remove_output(file.id));
        outcome
    }

    /// Writes each file anew, without the streams, in its place: of other streams nothing may change its
    /// order.
    fn rewrite(&self, live: &dyn Liveness, made: &mut Vec<Arc<Finished>>) -> Result<(), ReclaimError> {
        let without = Without { live, parts: &self.parts };
        for source in &self.sources {
            let extents = self.journal.live_extents(source, &without)?;
            if !extents.is_empty() {
                let mut group = PackGroup::default();
                group.add_live(source.clone(), extents);
                made.extend(self.journal.pack(&group, None)?);
            }
        }
        Ok(())
    }

    fn switch(&mut self, mut new: Vec<Arc<Finished>>) -> Result<bool, ReclaimError> {
        let journal = self.journal.clone();
        new.append(&mut self.copies);
        let ids: Vec<FileId> = new.iter().map(|file| file.id).collect();
        let sources = std::mem::take(&mut self.sources);
        // How far it is compacted is the other's to say.
        let forgotten = journal.forget_compacted();
        journal.unpin(sources.iter().map(|file| file.id));
        let replaced = forgotten.and_then(|()| journal.replace_files(&sources, new));
        let counts = journal.finished().iter().any(|file| ids.contains(&file.id));
        journal.files_were_replaced();
        if !counts {
            ids.into_iter().for_each(|id| journal.remove_output(id));
            return replaced.map(|_| false).map_err(Into::into);
        }
        {
            let mut state = journal.state.lock();
            self.parts.keys().for_each(|stream| state.recent.forget(*stream));
        }
        for (stream, part) in &self.parts {
            journal.forget_records_damage(*stream, part.range.end);
        }
        journal.counters.takeovers.fetch_add(1, Relaxed);
        Ok(true)
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.journal.unpin(self.sources.iter().map(|file| file.id));
        let unfinished = self.output.iter().map(Output::id);
        unfinished.chain(self.copies.iter().map(|file| file.id)).for_each(|id| self.journal.remove_output(id));
    }
}

impl Part {
    /// The pieces of a slice that continue the part, with whether they stand for others that are gone;
    /// `None` when something is missing before them or they are not whole.
    fn pieces(&mut self, stream: StreamId, slice: &Slice) -> Option<Vec<(Extent, Bytes, bool)>> {
        let heads: Vec<(PieceHead, Range<usize>)> = piece::walk(&slice.bytes).collect::<Result<_, _>>().ok()?;
        let mut pieces = Vec::new();
        for (nth, (head, range)) in heads.iter().enumerate() {
            // A piece alone goes by what the slice says; in a run, each says itself.
            let alone = heads.len() == 1;
            let (base, epoch) = if alone { (slice.base, slice.epoch) } else { (head.base, head.epoch) };
            let max_timestamp = if alone { slice.max_timestamp } else { head.max_timestamp };
            let end = heads.get(nth + 1).map_or(slice.end(), |(next, _)| next.base);
            if end <= self.next || base >= self.range.end {
                continue;
            }
            let begins = self.next == self.range.start && base <= self.next;
            if base != self.next && !begins {
                return None;
            }
            let mut bytes = slice.bytes[range.clone()].to_vec();
            piece::assign(&mut bytes, base, epoch);
            piece::verify(&bytes).ok()?;
            // What stands for offsets that are gone may stand for more of them there than here.
            let end = end.min(self.range.end);
            let count = u32::try_from(end.since(base)).ok()?;
            if head.count > count {
                if head.form != Form::Batch || bytes.len() != piece::BATCH_HEAD_BYTES {
                    return None;
                }
                bytes = piece::empty(base, count, epoch);
            }
            let length = bytes.len() as u32;
            let extent = Extent { stream, base, max_timestamp, position: 0, length, count, epoch, pieces: 1 };
            pieces.push((extent, Bytes::from(bytes), head.count < count));
            self.next = end;
        }
        Some(pieces)
    }
}

/// What is alive, but for what is taken over.
struct Without<'a> {
    live: &'a dyn Liveness,
    parts: &'a BTreeMap<StreamId, Part>,
}

impl Liveness for Without<'_> {
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        let ranges = self.live.live(stream, from, to);
        let Some(Part { range: gone, .. }) = self.parts.get(&stream) else { return ranges };
        let outside =
            |range: Range<u64>| [range.start..range.end.min(gone.start.0), range.start.max(gone.end.0)..range.end];
        ranges.into_iter().flat_map(outside).filter(|range| !range.is_empty()).collect()
    }

    fn expiry_class(&self, stream: StreamId) -> u8 {
        self.live.expiry_class(stream)
    }
}
