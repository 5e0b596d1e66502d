//! Finishing a log file: once its last entry is committed, applied and on stable storage, it gets a
//! table and never changes again.
//!
//! What is settled of a file can be finished before the rest is, as a copy. The file stays for its rest; what
//! the copy has of it counts there.

use crate::file::{FileHeader, FileId, FileKind, HEADER_BYTES, name};
use crate::frame::{ALIGNMENT, FrameHead, HEAD_BYTES};
use crate::journal::Journal;
use crate::state::{Finished, State};
use crate::table::{EntryRow, Table, TableError, TableHead};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// A file that can be finished, and what goes into its table.
struct Ready {
    sequence: u64,
    id: FileId,
    file: Arc<dyn crate::disk::DiskFile>,
    poisoned: bool,
    last_index: u64,
    /// Entries follow in the file that are not settled.
    is_part: bool,
    table: Table,
    refused: Vec<(u64, u32)>,
}

impl Journal {
    /// Finishes the oldest log file that can be. Returns whether there was one. Writes and syncs
    /// that file.
    ///
    /// # Errors
    /// As the disk says; the file stays unfinished then and can be tried again.
    pub fn finish_next(&self) -> io::Result<bool> {
        self.trim_cache();
        let _one_at_a_time = self.finish_lock.lock();
        match self.ready_to_finish(false) {
            Some(ready) => self.finish(ready).map(|()| true),
            None => Ok(false),
        }
    }

    /// Finishes, as a copy, what is settled of a log file that can not be finished. Returns whether there was such a
    /// file. Writes and syncs the copy.
    ///
    /// # Errors
    /// As for [`Journal::finish_next`].
    pub fn finish_settled(&self) -> io::Result<bool> {
        let _one_at_a_time = self.finish_lock.lock();
        match self.ready_to_finish(true) {
            Some(ready) => self.finish(ready).map(|()| true),
            None => Ok(false),
        }
    }

    fn finish(&self, mut ready: Ready) -> io::Result<()> {
        if ready.last_index == 0 {
            return self.drop_empty(&ready);
        }
        let copies = ready.poisoned || ready.is_part;
        let (id, file) = if copies { self.copy_frames(&mut ready)? } else { (ready.id, ready.file.clone()) };
        let bytes = ready.table.encode(id);
        file.write_at(ready.table.frames_end, &[IoSlice::new(&bytes)])?;
        let length = ready.table.frames_end + bytes.len() as u64;
        file.truncate(length)?;
        file.sync()?;
        let table = TableHead::read(&*file, length, id).map_err(|error| match error {
            TableError::Io(error) => error,
            other => io::Error::other(other),
        })?;
        let refused = ready.refused;
        let finished = Arc::new(Finished { id, kind: FileKind::Log, file, length, table, refused });
        let moved = if copies { ready.table.entries } else { Vec::new() };
        let mut freed = 0;
        let change = |state: &mut State| {
            let before = state.cached_bytes;
            state.on_finished(ready.sequence, ready.last_index, finished, &moved);
            freed = before - state.cached_bytes;
        };
        if copies {
            self.disk.sync_names()?;
            let written = self.write_manifest(change);
            self.options.cache.release(freed);
            written?;
        } else {
            change(&mut self.state.lock());
            self.options.cache.release(freed);
        }
        Ok(())
    }

    /// The oldest log file, if all of it is settled, or with `part` if some of it is and some is not.
    fn ready_to_finish(&self, part: bool) -> Option<Ready> {
        let state = self.state.lock();
        let (sequence, file) = state.open_files.first_key_value()?;
        let settled = state.applied.min(state.flushed).min(state.committed);
        let (first, last) = file.entries.unwrap_or((1, 0));
        if !file.rolled || part != (last > settled) || part && first > settled {
            return None;
        }
        let last = last.min(settled);
        let own = |index: u64| state.log.get(index).filter(|slot| slot.place.is_some_and(|p| p.sequence == *sequence));
        let entries: Vec<EntryRow> = (first..=last)
            .map(|index| match own(index).and_then(|slot| Some((slot, slot.place?))) {
                Some((slot, place)) => EntryRow {
                    position: place.position,
                    term: slot.term,
                    meta_bytes: slot.meta_bytes,
                    body_bytes: slot.body_bytes,
                    kind: slot.kind,
                },
                None => EntryRow::LOST,
            })
            .collect();
        let extents = state.active.up_to(last).filter_map(|(stream, extent)| {
            let frame = own(extent.index)?.place?.position;
            Some(extent.placed(stream, frame + HEAD_BYTES as u64 + u64::from(extent.position)))
        });
        let table =
            Table { frames_end: file.end, first_index: first, last_index: last, entries, extents: extents.collect() };
        let (id, file, poisoned) = (file.id, file.file.clone(), file.poisoned);
        let refused = state.refused.iter().filter(|(index, _)| *index <= last).copied().collect();
        Some(Ready { sequence: *sequence, id, file, poisoned, last_index: last, is_part: part, table, refused })
    }

    /// A file none of whose entries count: they were all replaced.
    fn drop_empty(&self, ready: &Ready) -> io::Result<()> {
        self.write_manifest(|state| {
            state.open_files.remove(&ready.sequence);
            state.leftovers.push(name(ready.id, FileKind::Log));
        })
    }

    /// Copies frames into a new file: those of a file whose sync failed, because it must not be synced again, or
    /// those that can be finished before the others.
    fn copy_frames(&self, ready: &mut Ready) -> io::Result<(FileId, Arc<dyn crate::disk::DiskFile>)> {
        let sequence = self.take_sequence();
        let id = FileId { journal: ready.id.journal, sequence };
        let file = self.disk.create(&name(id, FileKind::Log), ready.table.frames_end)?;
        let header = FileHeader { id, kind: FileKind::Log, shard: self.options.shard, previous: None, copy: true };
        file.write_at(0, &[IoSlice::new(&header.encode())])?;
        let mut position = HEADER_BYTES as u64;
        let mut moved = BTreeMap::new();
        for row in ready.table.entries.iter_mut().filter(|row| !row.is_lost()) {
            let content = row.meta_bytes as usize + row.body_bytes as usize;
            let mut frame = vec![0; (HEAD_BYTES + content).next_multiple_of(ALIGNMENT)];
            ready.file.read_at(row.position, &mut frame[..HEAD_BYTES + content])?;
            let meta = &frame[HEAD_BYTES..HEAD_BYTES + row.meta_bytes as usize];
            let head = frame.first_chunk().and_then(|head_bytes| {
                let head = FrameHead::decode(head_bytes)?;
                head.verify_meta(head_bytes, ready.id.number(), row.position, meta).then_some(head)
            });
            // Copied, it would get a checksum that is right.
            let head = head.ok_or_else(|| io::Error::other("a frame is damaged before it is copied"))?;
            let bytes = FrameHead { flushed: 0, ..head }.encode(id.number(), position, meta);
            frame[..HEAD_BYTES].copy_from_slice(&bytes);
            file.write_at(position, &[IoSlice::new(&frame)])?;
            moved.insert(row.position, (position, frame.len() as u64));
            row.position = position;
            position += frame.len() as u64;
        }
        for extent in &mut ready.table.extents {
            let frame = moved.range(..=extent.position).next_back();
            if let Some((old, (new, _))) = frame {
                extent.position = extent.position - old + new;
            }
        }
        ready.table.frames_end = position;
        Ok((id, file))
    }
}

impl State {
    fn on_finished(&mut self, sequence: u64, last_index: u64, finished: Arc<Finished>, moved: &[EntryRow]) {
        let extents = self.active.take_to(last_index);
        self.recent.keep(extents, last_index, &mut self.log);
        self.refused.retain(|(index, _)| *index > last_index);
        let rest = self.open_files.get(&sequence).and_then(|file| file.entries).filter(|(_, last)| *last > last_index);
        match (rest, self.open_files.get_mut(&sequence)) {
            (Some((_, last)), Some(file)) => {
                file.entries = Some((last_index + 1, last));
                file.copies.push(finished.id);
            }
            _ => {
                // With a copy nobody else removes what is replaced since.
                let gone = self.open_files.remove(&sequence).filter(|file| file.id != finished.id);
                self.leftovers.extend(gone.map(|file| name(file.id, FileKind::Log)));
            }
        }
        for (nth, row) in moved.iter().enumerate() {
            let index = last_index + 1 - moved.len() as u64 + nth as u64;
            if let Some(slot) = self.log.get_mut(index) {
                slot.place = Some(crate::log::Place { sequence: finished.id.sequence, position: row.position });
            }
        }
        let mut files = (*self.finished).clone();
        files.push(finished);
        State::sort_files(&mut files);
        self.finished = Arc::new(files);
        self.drop_slots();
    }
}
