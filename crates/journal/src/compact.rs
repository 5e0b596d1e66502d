//! Log compaction: rewriting files without what has been overwritten.
//!
//! Somebody else says what of a piece stays, for the journal knows no keys. Offsets never move: where
//! pieces are gone, the piece before them stands for their offsets too, or an empty one in their place. So
//! the files still say where every record of a stream is, or that it is gone, and a gap that they do not
//! explain is damage.

use crate::canary::Fault;
use crate::file::FileId;
use crate::journal::Journal;
use crate::reclaim::{LiveExtent, Liveness, PackGroup, ReclaimError};
use crate::state::Finished;
use crate::table::TableError;
use bytes::Bytes;
use model::{Offset, StreamId, limit};
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
}

/// Files that are to be rewritten, the oldest first.
///
/// Order matters: the record that removes a key may go only when what it removed is gone, and that lies in
/// the same file or in an older one. So nothing is done behind a file that cannot be rewritten.
#[derive(Debug, Default)]
pub struct CompactionPlan {
    /// Everything applied up to here has to be on stable storage first.
    at: u64,
    groups: Vec<PackGroup>,
    /// A file that had to be rewritten could not be, and what is behind it was left out.
    cut: bool,
}

/// What a plan that was carried out did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Bytes given back.
    pub freed: u64,
    /// Whether nothing is left to do below the compactor's limits.
    pub whole: bool,
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
    pub fn compactable_end(&self, stream: StreamId) -> Result<Offset, TableError> {
        let (files, mut end) = {
            let state = self.state.lock();
            let first = state.active.extents_from(stream, Offset(0)).next();
            (state.finished.clone(), first.map_or(Offset(u64::MAX), |extent| extent.base))
        };
        for file in files.iter().filter(|file| !self.is_rewritable(file) && !self.is_passed_over(file)) {
            if let Some(first) = file.table.extents_from(&*file.file, stream, Offset(0)).next() {
                end = end.min(first?.base);
            }
        }
        Ok(end)
    }

    fn is_rewritable(&self, file: &Finished) -> bool {
        let state = self.state.lock();
        file.table.last_index <= state.floor.index && !state.is_pinned(file) && !state.unpackable.contains(&file.id)
    }

    /// A known fault: what is behind a file that has to stay is compacted all the same.
    fn is_passed_over(&self, file: &Finished) -> bool {
        self.faulty(Fault::CompactBehindStaying) && file.table.last_index <= self.floor().index
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
            let extents = self.live_extents(file, live)?;
            let concerned = |live: &LiveExtent| {
                let LiveExtent { extent, .. } = live;
                compactor.limit(extent.stream).is_some_and(|limit| extent.base < limit)
            };
            if !self.is_rewritable(file) && extents.iter().any(concerned) {
                if self.is_passed_over(file) {
                    plan.close(&mut group);
                    continue;
                }
                plan.cut = true;
                break;
            }
            match self.changes(file, &extents, compactor) {
                Ok(true) => {}
                Ok(false) => {
                    plan.close(&mut group);
                    continue;
                }
                // It stays until the damage is repaired.
                Err(ReclaimError::Damaged { .. }) => {
                    plan.cut = true;
                    break;
                }
                Err(error) => return Err(error),
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
                return Err(ReclaimError::Damaged { file: file.id, stream: extent.stream, position: extent.position });
            };
            let mut looked_at = pieces.into_iter().filter(|(head, _)| head.end() <= limit);
            if looked_at.any(|(_, range)| compactor.keep(extent.stream, &bytes[range]) != Kept::Whole) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Carries a plan out, as far as the files are still there and free.
    ///
    /// # Errors
    /// See [`ReclaimError`]; whatever was not done stays as it was.
    pub fn compact(&self, plan: CompactionPlan, compactor: &dyn Compactor) -> Result<Compaction, ReclaimError> {
        let flushed = self.flushed();
        if flushed < plan.at {
            return Err(ReclaimError::NotFlushed { at: plan.at, flushed });
        }
        let mut freed = 0;
        for group in plan.groups {
            let here = |id: FileId| self.finished().iter().any(|file| file.id == id && self.is_rewritable(file));
            if !group.sources.iter().all(|file| here(file.id)) {
                if self.faulty(Fault::CompactBehindStaying) {
                    continue;
                }
                return Ok(Compaction { freed, whole: false });
            }
            match self.pack(&group, Some(compactor)) {
                Ok(packed) => freed += self.replace_files(&group.sources, packed)?,
                Err(ReclaimError::Damaged { file, .. }) => {
                    // It stays until the damage is repaired.
                    self.state.lock().unpackable.insert(file);
                    return Ok(Compaction { freed, whole: false });
                }
                Err(error) => return Err(error),
            }
            // Somebody may have begun to copy them in the meantime: then they stay.
            if self.finished().iter().any(|file| group.sources.iter().any(|source| source.id == file.id)) {
                return Ok(Compaction { freed, whole: false });
            }
            let mut state = self.state.lock();
            group.streams().into_iter().filter(|stream| compactor.limit(*stream).is_some()).for_each(|stream| {
                // Memory has them as they were.
                state.recent.forget(stream);
            });
        }
        Ok(Compaction { freed, whole: !plan.cut })
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
