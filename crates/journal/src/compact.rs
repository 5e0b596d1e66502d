//! Log compaction: rewriting files without what has been overwritten.
//!
//! Somebody else says what of a piece stays, for the journal knows no keys. Offsets never move: where
//! pieces are gone, the piece before them stands for their offsets too, or an empty one in their place. So
//! the files still say where every record of a stream is, or that it is gone, and a gap that they do not
//! explain is damage.

use crate::file::FileId;
use crate::journal::Journal;
use crate::reclaim::{LiveExtent, Liveness, PackGroup, ReclaimError};
use crate::state::Finished;
use bytes::Bytes;
use model::{LeaderEpoch, Offset, StreamId, limit};
use std::sync::Arc;

/// What stays of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// These bytes, which are a piece with the same offsets.
    Part(Bytes),
    /// Nothing.
    Nothing,
}

/// Says what of pieces stays.
pub trait Compactor: Send + Sync {
    /// Below which offset the stream is to be compacted; `None` is not at all.
    fn limit(&self, stream: StreamId) -> Option<Offset>;

    /// What stays of a piece of the stream. Asked twice of a piece, it answers the same.
    fn keep(&self, stream: StreamId, piece: &[u8]) -> Kept;

    /// A piece without records that takes `count` offsets.
    fn empty(&self, base: Offset, count: u32, epoch: LeaderEpoch) -> Bytes;
}

/// Files that are to be rewritten.
#[derive(Debug, Default)]
pub struct CompactionPlan {
    /// Everything applied up to here has to be on stable storage first.
    at: u64,
    groups: Vec<PackGroup>,
}

impl CompactionPlan {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Journal {
    /// Where the part of the stream begins that cannot be compacted yet: its file is being written, or
    /// copied, or the Raft log needs it. Reads tables.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn compactable_end(&self, stream: StreamId) -> Result<Offset, ReclaimError> {
        let (files, mut end) = {
            let state = self.state.lock();
            let first = state.active.extents_from(stream, Offset(0)).next();
            (state.finished.clone(), first.map_or(Offset(u64::MAX), |extent| extent.base))
        };
        for file in files.iter().filter(|file| !self.is_rewritable(file)) {
            if let Some(first) = file.table.extents_from(&*file.file, stream, Offset(0)).next() {
                end = end.min(first?.base);
            }
        }
        Ok(end)
    }

    fn is_rewritable(&self, file: &Finished) -> bool {
        let state = self.state.lock();
        file.table.last_index <= state.floor.index
            && !state.pins.contains_key(&file.id)
            && !state.unpackable.contains(&file.id)
    }

    /// Finds the files in which something is to go. Reads what may go.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub fn plan_compaction(
        &self,
        live: &dyn Liveness,
        compactor: &dyn Compactor,
    ) -> Result<CompactionPlan, ReclaimError> {
        let mut plan = CompactionPlan::default();
        let mut group = PackGroup::default();
        for file in self.finished().iter() {
            let extents = if self.is_rewritable(file) { self.live_extents(file, live)? } else { Vec::new() };
            if !self.changes(file, &extents, compactor)? {
                plan.close(&mut group);
                continue;
            }
            if group.live_bytes() > limit::PACKED_FILE_BYTES_MAX / 2 {
                plan.close(&mut group);
            }
            group.add_live(file.clone(), extents);
        }
        plan.close(&mut group);
        plan.at = self.applied();
        Ok(plan)
    }

    /// Whether something in the file is to go.
    fn changes(
        &self,
        file: &Arc<Finished>,
        extents: &[LiveExtent],
        compactor: &dyn Compactor,
    ) -> Result<bool, ReclaimError> {
        for LiveExtent { extent, .. } in extents {
            let Some(limit) = compactor.limit(extent.stream).filter(|limit| extent.base < *limit) else { continue };
            let mut bytes = vec![0; extent.length as usize];
            file.file.read_at(extent.position, &mut bytes)?;
            let Some(pieces) = extent.check(&mut bytes) else {
                self.note_bad_extent(extent, None, Some(file));
                return Ok(false);
            };
            let mut looked_at = pieces.into_iter().filter(|(head, _)| head.end() <= limit);
            if looked_at.any(|(_, range)| compactor.keep(extent.stream, &bytes[range]) != Kept::Whole) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Carries a plan out. Returns bytes given back.
    ///
    /// # Errors
    /// See [`ReclaimError`]; whatever was not done stays as it was.
    pub fn compact(&self, plan: CompactionPlan, compactor: &dyn Compactor) -> Result<u64, ReclaimError> {
        let flushed = self.flushed();
        if flushed < plan.at {
            return Err(ReclaimError::NotFlushed { at: plan.at, flushed });
        }
        let mut freed = 0;
        for group in plan.groups {
            let here = |id: FileId| self.finished().iter().any(|file| file.id == id && self.is_rewritable(file));
            if !group.sources.iter().all(|file| here(file.id)) {
                continue;
            }
            match self.pack(&group, Some(compactor)) {
                Ok(packed) => freed += self.replace_files(&group.sources, packed)?,
                // These files stay until the damage is repaired; others need not.
                Err(ReclaimError::Damaged { file, .. }) => drop(self.state.lock().unpackable.insert(file)),
                Err(error) => return Err(error),
            }
            let mut state = self.state.lock();
            group.streams().into_iter().filter(|stream| compactor.limit(*stream).is_some()).for_each(|stream| {
                // Memory has them as they were.
                state.recent.forget(stream);
            });
        }
        Ok(freed)
    }
}

impl CompactionPlan {
    fn close(&mut self, group: &mut PackGroup) {
        let group = std::mem::take(group);
        if !group.sources.is_empty() {
            self.groups.push(group);
        }
    }
}
