//! Putting right bytes back, from another replica, in the place of damaged ones.
//!
//! The right bytes go where the damaged ones are: every table and index stays true, and a repair
//! that is cut short leaves damage behind that is repaired again. Records whose place is gone too,
//! because the frame that described them is, go into a packed file of their own.

use crate::damage::Damage;
use crate::file::{FileId, FileKind};
use crate::frame::{FrameHead, HEAD_BYTES, Kind};
use crate::journal::{Journal, LogReadError};
use crate::log::LogEntry;
use crate::read::Slice;
use crate::reclaim::{PackGroup, ReclaimError};
use crate::state::Finished;
use crate::table::{Extent, TableError};
use bytes::Bytes;
use model::checksum::crc32c;
use model::{Offset, StreamId, piece};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Journal {
    /// Rebuilds a file's table. Blocks on the disk.
    ///
    /// The table of a log file is written again in its place: what its frames give is what it was. That
    /// of a packed file is not, and readers hold on to parts of the one before, so the file is written
    /// anew as a whole.
    ///
    /// # Errors
    /// See [`ReclaimError`]: when the file's frames are damaged too.
    pub fn repair_table(&self, id: FileId) -> Result<(), ReclaimError> {
        let whole = |file: &Finished| {
            crate::rebuild::check(file).is_ok() && file.table.all_extents(&*file.file).all(|extent| extent.is_ok())
        };
        // The disk may have had a bad moment.
        if let Some(file) = self.finished().iter().find(|file| file.id == id).filter(|file| !whole(file)) {
            match file.kind {
                FileKind::Log => self.rebuild_table(file)?,
                FileKind::Packed => self.pack_again(file)?,
            }
        }
        self.forget_damage(Damage::Table { file: id });
        Ok(())
    }

    fn rebuild_table(&self, file: &Finished) -> Result<(), ReclaimError> {
        let rebuilt = crate::rebuild::rebuild(file.file.clone(), self.options.shard, &file.listed())?;
        self.write_manifest(|state| {
            let same = |file: &Arc<Finished>| if file.id == rebuilt.id { rebuilt.clone() } else { file.clone() };
            state.finished = Arc::new(state.finished.iter().map(same).collect());
        })?;
        Ok(())
    }

    fn pack_again(&self, file: &Arc<Finished>) -> Result<(), ReclaimError> {
        if self.state.lock().pins.contains_key(&file.id) {
            // Somebody is copying it, and will find the damage too.
            return Err(ReclaimError::Table(TableError::Damaged("the file is being copied")));
        }
        let extents = crate::rebuild::extents(&*file.file, self.options.shard, &file.listed())?;
        let packed = self.pack(&PackGroup::whole(file.clone(), extents), None)?;
        self.replace_files(std::slice::from_ref(file), packed)?;
        Ok(())
    }

    /// The term of an entry that is damaged, to ask others by; `None` when the log no longer has the
    /// entry, and its damage is forgotten.
    pub fn damaged_entry(&self, index: u64) -> Option<u64> {
        let term = self.term_of(index).filter(|_| index > self.floor().index);
        if term.is_none() {
            self.forget_damage(Damage::Entry { index });
        }
        term
    }

    /// Puts an entry back in its place. Returns whether it is whole now; not before its file has
    /// been rolled. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn repair_entry(&self, entry: &LogEntry) -> io::Result<bool> {
        let index = entry.at.index;
        let (meta, body) = entry.payload.split_at((entry.meta_bytes as usize).min(entry.payload.len()));
        let (file, id, position) = {
            let mut state = self.state.lock();
            let Some(slot) = state.log.get(index) else { return Ok(false) };
            let same = (slot.term, slot.kind, slot.meta_bytes as usize, slot.body_bytes as usize)
                == (entry.at.term, entry.kind, meta.len(), body.len());
            let (Some(place), true) = (slot.place, same) else { return Ok(false) };
            // The writer alone syncs the file it writes to: a sync that fails must not go unseen.
            if state.open_files.get(&place.sequence).is_some_and(|file| !file.rolled) {
                state.roll = true;
                return Ok(false);
            }
            let Some(file) = state.log_file(place.sequence) else { return Ok(false) };
            (file, FileId { journal: state.manifest.journal, sequence: place.sequence }, place.position)
        };
        let mut head_bytes = [0; HEAD_BYTES];
        let read = file.read_at(position, &mut head_bytes);
        let kept = read.ok().and_then(|()| FrameHead::decode(&head_bytes)).filter(|head| {
            (head.term, head.index, head.kind) == (entry.at.term, index, entry.kind)
                && head.verify_meta(&head_bytes, id.number(), position, meta)
        });
        match kept {
            // The head still says what the body has to be.
            Some(head) if !head.verify_body(body) => return Ok(false),
            Some(_) => {}
            None => {
                let head = FrameHead {
                    kind: entry.kind,
                    shard: self.options.shard,
                    term: entry.at.term,
                    index,
                    committed: 0,
                    flushed: 0,
                    meta_bytes: meta.len() as u32,
                    body_bytes: body.len() as u32,
                    body_crc: crc32c(body),
                };
                head_bytes = head.encode(id.number(), position, meta);
            }
        }
        file.write_at(position, &[IoSlice::new(&head_bytes), IoSlice::new(&entry.payload)])?;
        self.sync_repaired(&*file, id)?;
        self.forget_damage(Damage::Entry { index });
        Ok(true)
    }

    /// After a failed sync nobody knows what is on storage: an unfinished file is not synced again.
    fn sync_repaired(&self, file: &dyn crate::disk::DiskFile, id: FileId) -> io::Result<()> {
        file.sync().inspect_err(|_| {
            if let Some(open) = self.state.lock().open_files.get_mut(&id.sequence) {
                open.poisoned = true;
            }
        })
    }

    /// Puts records back, out of what another replica has of them. `live` says which of the offsets
    /// somebody may yet read. With `compacted`, the other may have compacted them otherwise, and only the very
    /// bytes that were here will do (see [`crate::Takeover`]). Returns whether all of those can be read now.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, or when a table is damaged as well.
    pub fn repair_records(
        &self,
        damage: Damage,
        live: &[Range<u64>],
        copies: &[Slice],
        compacted: bool,
    ) -> Result<bool, ReclaimError> {
        let Damage::Records { stream, from, to } = damage else { return Ok(false) };
        let copies = pieces_of(stream, copies);
        let mut absent = Absent::new(live);
        let mut whole = true;
        for file in self.finished().iter() {
            for extent in file.table.extents_from(&*file.file, stream, from) {
                let extent = extent?;
                if extent.base >= to {
                    break;
                }
                absent.is_at(extent.base.0..extent.end().0);
                whole &= self.repair_extent(file, &extent, &copies, compacted)? || !overlaps(live, &extent);
            }
        }
        {
            let mut state = self.state.lock();
            let mut unfinished = false;
            for extent in state.active.extents_from(stream, from).take_while(|extent| extent.base < to) {
                absent.is_at(extent.base.0..extent.end().0);
                unfinished = true;
            }
            // They have a table, and with it a place, once their file is finished.
            state.roll |= unfinished;
            whole &= !unfinished;
        }
        if !absent.ranges.is_empty() {
            whole &= !compacted && self.patch(&absent.ranges, &copies)?;
        }
        if whole {
            self.forget_damage(damage);
        }
        Ok(whole)
    }

    /// Whether the extent's bytes are right now.
    fn repair_extent(
        &self,
        file: &Finished,
        extent: &Extent,
        copies: &[(Extent, Bytes)],
        compacted: bool,
    ) -> io::Result<bool> {
        let mut bytes = vec![0; extent.length as usize];
        let read = file.file.read_at(extent.position, &mut bytes).is_ok();
        if read && extent.check(&mut bytes).is_some() {
            return Ok(true);
        }
        let inside = copies.iter().filter(|(copy, _)| extent.base <= copy.base && copy.end() <= extent.end());
        let mut right: Vec<u8> = Vec::with_capacity(extent.length as usize);
        inside.for_each(|(_, bytes)| right.extend_from_slice(bytes));
        let fits = right.len() == extent.length as usize;
        let Some(pieces) = fits.then(|| extent.check(&mut right)).flatten() else { return Ok(false) };
        if compacted && !(read && pieces.iter().all(|(_, range)| is_same(&bytes[range.clone()], &right[range.clone()])))
        {
            return Ok(false);
        }
        file.file.write_at(extent.position, &[IoSlice::new(&right)])?;
        self.sync_repaired(&*file.file, file.id)?;
        Ok(true)
    }

    /// Keeps copies of records that have no place here any more. Returns whether there were copies of
    /// all of them.
    fn patch(&self, absent: &[Range<u64>], copies: &[(Extent, Bytes)]) -> Result<bool, ReclaimError> {
        let wanted: Vec<_> = copies.iter().filter(|(copy, _)| overlaps(absent, copy)).cloned().collect();
        let rank = {
            let mut state = self.state.lock();
            let rank = state.manifest.lost.iter().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            let Some(rank) = rank.filter(|_| !wanted.is_empty()) else { return Ok(false) };
            // Finished files hold what is older than all unfinished ones.
            if state.open_files.values().any(|file| file.entries.is_some_and(|(first, _)| first <= rank.1)) {
                state.roll = true;
                return Ok(false);
            }
            rank
        };
        let file = self.pack_copies(rank, &wanted)?;
        self.replace_files(&[], vec![file])?;
        let mut left = Absent::new(absent);
        wanted.iter().for_each(|(copy, _)| left.is_at(copy.base.0..copy.end().0));
        Ok(left.ranges.is_empty())
    }

    /// Entries up to the floor that were lost to damage.
    #[must_use]
    pub fn lost_entries(&self) -> Vec<(u64, u64)> {
        self.state.lock().manifest.lost.clone()
    }

    /// Says that all records that were lost with entries are noted as damage. Until then, reads refuse
    /// gaps of which nobody can say what they are.
    pub fn note_gaps_known(&self) {
        self.gaps_unknown.store(false, Relaxed);
    }

    /// Says that everything that came with lost entries is here again, or wanted by nobody.
    ///
    /// # Errors
    /// As the disk says.
    pub fn forget_lost_entries(&self) -> io::Result<()> {
        self.write_manifest(|state| state.manifest.lost.clear())
    }

    /// The offsets of `live` that no file has a place for. Reads tables.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn absent(&self, stream: StreamId, live: &[Range<u64>]) -> Result<Vec<Range<u64>>, TableError> {
        let mut absent = Absent::new(live);
        for file in self.finished().iter() {
            for extent in file.table.extents_from(&*file.file, stream, Offset(0)) {
                let extent = extent?;
                absent.is_at(extent.base.0..extent.end().0);
            }
        }
        for extent in self.state.lock().active.extents_from(stream, Offset(0)) {
            absent.is_at(extent.base.0..extent.end().0);
        }
        Ok(absent.ranges)
    }

    /// The entries from `from` on whose meta cannot be read, of those in finished files: recovery has
    /// read the others. Their damage is noted.
    #[must_use]
    pub fn unreadable_entries(&self, from: u64) -> Vec<(u64, Kind)> {
        let mut unreadable = Vec::new();
        for index in from.max(self.floor().index + 1)..=self.last().index {
            let finished = {
                let state = self.state.lock();
                let slot = state.log.get(index);
                let place = slot.and_then(|slot| slot.place);
                slot.zip(place.filter(|place| !state.open_files.contains_key(&place.sequence)))
                    .map(|(slot, _)| slot.kind)
            };
            if let Some(kind) = finished
                && self.entries_to_apply(index, index + 1, 0).is_err()
            {
                unreadable.push((index, kind));
            }
        }
        unreadable
    }

    /// Reads entries for `apply`, which needs their meta and not their bodies: a damaged body is no
    /// error here. Whoever reads the records finds it, and so does the scrubber.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub fn entries_to_apply(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<LogEntry>, LogReadError> {
        self.read_entries(from, to, bytes_max, true)
    }
}

/// Offsets for which no place was found yet.
struct Absent {
    ranges: Vec<Range<u64>>,
}

impl Absent {
    fn new(wanted: &[Range<u64>]) -> Self {
        Absent { ranges: wanted.to_vec() }
    }

    fn is_at(&mut self, found: Range<u64>) {
        let cut = |range: Range<u64>| {
            let before = range.start..range.end.min(found.start);
            let after = range.start.max(found.end)..range.end;
            [before, after].into_iter().filter(|part| !part.is_empty())
        };
        self.ranges = std::mem::take(&mut self.ranges).into_iter().flat_map(cut).collect();
    }
}

/// Whether a damaged piece was this one: its checksum still says so, or nothing but its checksum is damaged.
fn is_same(damaged: &[u8], right: &[u8]) -> bool {
    let checksum = piece::LENGTH_END + 5..piece::PREFIX_BYTES;
    damaged[checksum.clone()] == right[checksum] || damaged[piece::PREFIX_BYTES..] == right[piece::PREFIX_BYTES..]
}

fn overlaps(ranges: &[Range<u64>], extent: &Extent) -> bool {
    ranges.iter().any(|range| range.start < extent.end().0 && extent.base.0 < range.end)
}

/// The pieces in slices, each with where it belongs; what is no whole piece is left out.
fn pieces_of(stream: StreamId, slices: &[Slice]) -> Vec<(Extent, Bytes)> {
    let mut pieces = Vec::new();
    for slice in slices {
        let heads: Vec<_> = piece::walk(&slice.bytes).map_while(Result::ok).collect();
        for (head, range) in &heads {
            // A piece alone goes by what the slice says; in a run, each says itself.
            let alone = heads.len() == 1;
            let (base, epoch) = if alone { (slice.base, slice.epoch) } else { (head.base, head.epoch) };
            let max_timestamp = if alone { slice.max_timestamp } else { head.max_timestamp };
            let mut bytes = slice.bytes[range.clone()].to_vec();
            piece::assign(&mut bytes, base, epoch);
            if piece::verify(&bytes).is_err() {
                continue;
            }
            let extent = Extent {
                stream,
                base,
                max_timestamp,
                position: 0,
                length: bytes.len() as u32,
                count: head.count,
                epoch,
                pieces: 1,
            };
            pieces.push((extent, Bytes::from(bytes)));
        }
    }
    pieces.sort_by_key(|(extent, _)| extent.base);
    pieces
}

/// Whether `file` holds entries that the Raft log may yet be asked for.
pub(crate) fn holds_log(file: &Arc<Finished>, journal: u64, floor: u64) -> bool {
    file.kind == FileKind::Log && file.id.journal == journal && file.table.last_index > floor
}
