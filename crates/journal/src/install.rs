//! Snapshots: what a replica hands over, and taking it over.
//!
//! A snapshot is the machine's checkpoint at a Raft position and the finished files with records
//! that are alive at or below it. The receiver copies the files under their own ids, since their
//! checksums include those, and then replaces everything at or below the position at one instant:
//! by the manifest.

use crate::checkpoint::{self, CheckpointError, Objects};
use crate::disk::DiskFile;
use crate::file::{FileId, FileKind, name, parse_name};
use crate::journal::Journal;
use crate::log::EntryLog;
use crate::manifest::{CheckpointFile, Listed, LogPosition};
use crate::rebuild::open_finished;
use crate::state::{Finished, State};
use model::checksum::crc32c_of;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes copied at a time.
pub const CHUNK_BYTES: usize = 256 << 10;

model::wire_struct! {
    /// What a snapshot consists of.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SnapshotManifest {
        /// The Raft position it stands for.
        pub at: LogPosition,
        /// The checkpoint's files, base first.
        pub checkpoint: Vec<CheckpointFile>,
        /// The files with records that are alive at or below the position.
        pub files: Vec<Listed>,
    }
}

model::wire_enum! {
    /// A part of a snapshot that can be asked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Part {
        /// A file of the checkpoint, by number.
        1 = Checkpoint {
            /// Its number.
            number: u64,
        },
        /// A finished file.
        2 = File {
            /// Which.
            id: FileId,
            /// Its kind.
            kind: FileKind,
        },
    }
}

impl SnapshotManifest {
    /// Everything to copy: what, how long, and the name it is copied under.
    pub fn parts(&self) -> impl Iterator<Item = (Part, u64, String)> + '_ {
        let checkpoint = self.checkpoint.iter().map(|file| {
            (Part::Checkpoint { number: file.number }, file.length, format!("pulled-{:016x}", file.number))
        });
        let files = self
            .files
            .iter()
            .map(|file| (Part::File { id: file.id, kind: file.kind }, file.length, name(file.id, file.kind)));
        checkpoint.chain(files)
    }
}

impl Journal {
    /// What a replica that installs the latest checkpoint needs. `None` before the first
    /// checkpoint, or while records at or below it are in an unfinished file: finish it first.
    #[must_use]
    pub fn snapshot_manifest(&self) -> Option<SnapshotManifest> {
        let state = self.state.lock();
        let at = state.manifest.checkpoint_at;
        let unfinished = state.open_files.values().filter_map(|file| file.entries).any(|(first, _)| first <= at.index);
        if state.manifest.checkpoint.is_empty() || unfinished {
            return None;
        }
        let files = state.finished.iter().filter(|file| file.table.first_index <= at.index);
        Some(SnapshotManifest {
            at,
            checkpoint: state.manifest.checkpoint.clone(),
            files: files.map(|file| file.listed()).collect(),
        })
    }

    /// Ends the current log file with the next write, so that it can be finished.
    pub fn roll(&self) {
        self.state.lock().roll = true;
        self.flush(crate::writer::nobody());
    }

    /// Reads a part of a snapshot, from `position` on, and its checksum. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says; `NotFound` when the part is gone: the snapshot was not pinned.
    pub fn read_part(&self, part: Part, position: u64, bytes: usize) -> io::Result<(Vec<u8>, u32)> {
        let (file, length) = self.open_part(part)?;
        let left = length.checked_sub(position).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut buffer = vec![0; bytes.min(CHUNK_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX))];
        file.read_at(position, &mut buffer)?;
        let crc = chunk_crc(position, &buffer);
        Ok((buffer, crc))
    }

    fn open_part(&self, part: Part) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        match part {
            Part::Checkpoint { number } => {
                let file = self.disk.open(&checkpoint::name(number))?;
                let length = file.length()?;
                Ok((file, length))
            }
            Part::File { id, .. } => {
                let finished = self.finished();
                let found = finished.iter().find(|file| file.id == id).ok_or(io::ErrorKind::NotFound)?;
                Ok((found.file.clone(), found.length))
            }
        }
    }

    /// Makes a file to copy a part into; one left over from an earlier try is begun anew. `None` when
    /// the file is here already. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn create_part(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        if let Some((id, _)) = parse_name(name)
            && self.finished().iter().any(|file| file.id == id)
        {
            return Ok(None);
        }
        let name = self.part_name(name);
        self.state.lock().leftovers.retain(|leftover| *leftover != name);
        match self.disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Some(self.disk.create(&name, 0)?)),
        }
    }

    /// Where a part is copied to. A log file of this journal that others have finished and that is
    /// unfinished here stays as it is until the snapshot counts.
    fn part_name(&self, name: &str) -> String {
        let unfinished = parse_name(name).is_some_and(|(id, _)| {
            let state = self.state.lock();
            state.open_files.values().any(|file| file.id == id)
        });
        if unfinished { format!("pulled-{name}") } else { name.to_owned() }
    }

    /// Removes the parts of a snapshot that was not installed. Blocks on the disk.
    pub fn discard_parts(&self, snapshot: &SnapshotManifest) {
        let finished = self.finished();
        for (part, _, name) in snapshot.parts() {
            let name = self.part_name(&name);
            let counts = matches!(part, Part::File { id, .. } if finished.iter().any(|file| file.id == id));
            if !counts {
                // Most of them are not there; what cannot be removed is, at the next start.
                let _ = self.disk.remove(&name);
            }
        }
    }

    /// The machine's objects in a snapshot whose parts are here. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, or when a part is not what it should be.
    pub fn read_pulled(&self, snapshot: &SnapshotManifest) -> Result<Objects, CheckpointError> {
        let mut objects = Objects::new();
        for (part, length, name) in snapshot.parts() {
            if let Part::Checkpoint { number } = part {
                let file = self.disk.open(&name)?;
                checkpoint::read_blocks(&*file, &CheckpointFile { number, length }, &mut objects)?;
            }
        }
        Ok(objects)
    }

    /// Replaces everything at or below the snapshot's position by the snapshot, whose parts are
    /// here, synced, under the names that [`SnapshotManifest::parts`] gave. Entries above it stay if
    /// they continue it. Returns the machine's objects. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, or when a part is not what it should be; nothing has changed then.
    pub fn install(&self, snapshot: &SnapshotManifest) -> Result<Objects, CheckpointError> {
        let at = snapshot.at;
        let objects = self.read_pulled(snapshot)?;
        let mut files = Vec::with_capacity(snapshot.files.len());
        for listed in &snapshot.files {
            let own = name(listed.id, listed.kind);
            let pulled = self.part_name(&own);
            if pulled != own {
                // It has the same frames, and its table.
                match self.disk.rename(&pulled, &own) {
                    // Renamed by an earlier try.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
            files.push(open_finished(&*self.disk, self.options.shard, listed).map_err(io::Error::from)?);
        }
        let number = self.take_sequence();
        let entries = objects.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
        let written = checkpoint::write_file(&*self.disk, number, at, entries)?;
        self.forget_compacted()?;
        // The parts' names must not be younger than the manifest that lists them.
        self.disk.sync_names()?;
        let mut freed = 0;
        self.write_manifest(|state| {
            let before = state.cached_bytes;
            let (old_logs, old_files) = state.on_installed(at, files);
            freed = before - state.cached_bytes;
            let old_chain = std::mem::replace(&mut state.manifest.checkpoint, vec![written]);
            state.manifest.checkpoint_at = at;
            state.leftovers.extend(old_logs.into_iter().map(|id| name(id, FileKind::Log)));
            state.leftovers.extend(old_files.iter().map(|file| name(file.id, file.kind)));
            state.leftovers.extend(old_chain.iter().map(|file| checkpoint::name(file.number)));
            state.leftovers.extend(snapshot.checkpoint.iter().map(|file| format!("pulled-{:016x}", file.number)));
        })?;
        self.files_were_replaced();
        self.options.cache.release(freed);
        self.counters.installs.fetch_add(1, Relaxed);
        Ok(objects)
    }
}

/// Writes a copied chunk, after checking it.
///
/// # Errors
/// `InvalidData` when the chunk is not what was read, or as the disk says.
pub fn write_chunk(file: &dyn DiskFile, position: u64, chunk: &[u8], crc: u32) -> io::Result<()> {
    if chunk_crc(position, chunk) != crc {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.write_at(position, &[IoSlice::new(chunk)])
}

fn chunk_crc(position: u64, chunk: &[u8]) -> u32 {
    crc32c_of(&[&position.to_le_bytes(), chunk])
}

impl State {
    /// Forgets everything at or below `at`, and what does not continue it. Returns log files and
    /// finished files that are not needed any more.
    fn on_installed(&mut self, at: LogPosition, files: Vec<Arc<Finished>>) -> (Vec<FileId>, Vec<Arc<Finished>>) {
        let continues = self.log.get(at.index).is_some_and(|slot| slot.term == at.term);
        self.active.take_to(at.index);
        self.cached_bytes -= self.recent.evict(usize::MAX);
        let kept: BTreeSet<FileId> = files.iter().map(|file| file.id).collect();
        // What was unfinished here and is finished in the snapshot is the same file.
        self.open_files.retain(|_, file| !kept.contains(&file.id));
        let mut old_logs = Vec::new();
        if continues {
            // An unfinished file that reaches above the position is needed for what is above it.
            self.open_files.retain(|_, file| {
                let keep = !file.rolled || file.entries.is_some_and(|(_, last)| last > at.index);
                if !keep {
                    old_logs.push(file.id);
                }
                keep
            });
        } else {
            self.cached_bytes -= self.log.truncate_after(0);
            self.log = EntryLog::new(at);
            self.open_files.retain(|_, file| {
                file.entries = None;
                if file.rolled {
                    old_logs.push(file.id);
                }
                !file.rolled
            });
            self.roll = true;
        }
        // A finished own log file above the position is still part of the Raft log.
        let above = |file: &&Arc<Finished>| continues && file.table.last_index > at.index;
        let mut all: Vec<_> = self.finished.iter().filter(above).filter(|f| !kept.contains(&f.id)).cloned().collect();
        let stay: BTreeSet<FileId> = all.iter().map(|file| file.id).chain(kept).collect();
        let old_files = self.finished.iter().filter(|file| !stay.contains(&file.id)).cloned().collect();
        all.extend(files);
        State::sort_files(&mut all);
        self.finished = Arc::new(all);
        self.floor = at;
        self.applied = at.index;
        self.committed = self.committed.max(at.index);
        self.flushed = self.flushed.max(at.index);
        self.refused.retain(|(index, _)| *index > at.index);
        self.drop_slots();
        (old_logs, old_files)
    }
}
