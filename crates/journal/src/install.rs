//! Snapshots: what a replica hands over, and taking it over.
//!
//! A snapshot is the machine's checkpoint at a Raft position and the finished files with records
//! that are alive at or below it. The receiver copies the files ([`crate::parts`]) under their own ids, since
//! their checksums include those, and then replaces everything at or below the position at one instant:
//! by the manifest.

use crate::checkpoint::{self, CheckpointError, Objects};
use crate::disk::DiskFile;
use crate::file::{FileId, FileKind, name};
use crate::journal::Journal;
use crate::log::EntryLog;
use crate::manifest::{CheckpointFile, Listed, LogPosition};
use crate::parts::part_name;
use crate::rebuild::open_finished;
use crate::state::{Finished, State};
use model::checksum::{crc32c, crc32c_of};
use model::wire::Wire;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes copied at a time, at most.
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

model::wire_struct! {
    /// A snapshot as a replica offers it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SnapshotOffer {
        /// The journal that has it: each numbers its checkpoints for itself.
        pub journal: u64,
        /// What it consists of.
        pub manifest: SnapshotManifest,
    }
}

model::wire_struct! {
    /// Tells an offer from others.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OfferKey {
        /// See [`SnapshotOffer::journal`].
        pub journal: u64,
        /// See [`SnapshotManifest::at`].
        pub at: LogPosition,
        /// Checksum of the manifest's bytes.
        pub crc: u32,
    }
}

/// A part of an offered snapshot, to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What to ask for.
    pub part: Part,
    /// Its length.
    pub length: u64,
    /// The name it has here until it counts.
    pub(crate) name: String,
    /// What is said of a finished file.
    pub(crate) listed: Option<Listed>,
}

impl SnapshotOffer {
    /// Everything there is to copy.
    pub fn wanted(&self) -> impl Iterator<Item = Wanted> + '_ {
        let checkpoint = self.manifest.checkpoint.iter().map(|file| Wanted {
            part: Part::Checkpoint { number: file.number },
            length: file.length,
            name: part_name(&format!("{:016x}-{:016x}.checkpoint", self.journal, file.number)),
            listed: None,
        });
        let files = self.manifest.files.iter().map(|file| Wanted {
            part: Part::File { id: file.id, kind: file.kind },
            length: file.length,
            name: part_name(&name(file.id, file.kind)),
            listed: Some(file.clone()),
        });
        checkpoint.chain(files)
    }

    /// How much that is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let checkpoint = self.manifest.checkpoint.iter().map(|file| file.length);
        let files = self.manifest.files.iter().map(|file| file.length);
        checkpoint.chain(files).fold(0, u64::saturating_add)
    }

    /// What tells it from others.
    #[must_use]
    pub fn key(&self) -> OfferKey {
        OfferKey { journal: self.journal, at: self.manifest.at, crc: crc32c(&self.manifest.to_wire()) }
    }
}

/// Keeps what a snapshot consists of while it is handed out.
pub struct Hold {
    journal: Arc<Journal>,
    files: Vec<FileId>,
    checkpoint: Vec<u64>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.journal.unpin(self.files.iter().copied());
        let mut state = self.journal.state.lock();
        for number in &self.checkpoint {
            if let Some((_, holders)) = state.held.get_mut(number) {
                *holders -= 1;
                if *holders == 0 {
                    state.held.remove(number);
                }
            }
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({} files)", self.files.len() + self.checkpoint.len())
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

    /// Keeps everything a snapshot consists of as it is, and readable, whatever comes. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says; `NotFound` when some of it is gone already.
    pub fn hold(self: &Arc<Self>, snapshot: &SnapshotManifest) -> io::Result<Hold> {
        let mut opened = Vec::with_capacity(snapshot.checkpoint.len());
        for file in &snapshot.checkpoint {
            opened.push((file.number, self.disk.open(&checkpoint::name(file.number))?));
        }
        let mut state = self.state.lock();
        let here: BTreeSet<FileId> = state.finished.iter().map(|file| file.id).collect();
        if snapshot.files.iter().any(|file| !here.contains(&file.id)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let files: Vec<FileId> = snapshot.files.iter().map(|file| file.id).collect();
        files.iter().for_each(|id| *state.pins.entry(*id).or_default() += 1);
        let checkpoint = opened.iter().map(|(number, _)| *number).collect();
        for (number, file) in opened {
            state.held.entry(number).or_insert((file, 0)).1 += 1;
        }
        drop(state);
        Ok(Hold { journal: self.clone(), files, checkpoint })
    }

    fn open_part(&self, part: Part) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        match part {
            Part::Checkpoint { number } => {
                let held = self.state.lock().held.get(&number).map(|(file, _)| file.clone());
                let file = held.map_or_else(|| self.disk.open(&checkpoint::name(number)), Ok)?;
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

    /// The machine's objects in a snapshot whose parts are here, all of them. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, or when a part is not what it should be: see [`Journal::drop_unusable_parts`].
    pub fn read_pulled(&self, snapshot: &SnapshotOffer) -> Result<Objects, CheckpointError> {
        let mut objects = Objects::new();
        let here: BTreeSet<FileId> = self.finished().iter().map(|file| file.id).collect();
        for Wanted { part, length, name: pulled, .. } in snapshot.wanted() {
            match part {
                Part::Checkpoint { number } => {
                    let file = self.disk.open(&pulled)?;
                    checkpoint::read_blocks(&*file, &CheckpointFile { number, length }, &mut objects)?;
                }
                Part::File { id, .. } if here.contains(&id) => {}
                // An earlier try may have given it its own name.
                Part::File { id, kind } => {
                    self.disk.open(&pulled).or_else(|_| self.disk.open(&name(id, kind)))?;
                }
            }
        }
        Ok(objects)
    }

    /// Replaces everything at or below the snapshot's position by the snapshot, whose parts are here
    /// and whole ([`Journal::finish_part`]), and of no use after it ([`Journal::discard_parts`]). Entries above it
    /// stay if they continue it. Returns the machine's objects. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, or when a part is not what it should be; nothing has changed then.
    pub fn install(&self, snapshot: &SnapshotOffer) -> Result<Objects, CheckpointError> {
        let at = snapshot.manifest.at;
        let objects = self.read_pulled(snapshot)?;
        let _one_at_a_time = self.finish_lock.lock();
        let here: BTreeSet<FileId> = self.finished().iter().map(|file| file.id).collect();
        self.name_parts(snapshot, &here)?;
        let mut files = Vec::with_capacity(snapshot.manifest.files.len());
        for listed in &snapshot.manifest.files {
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
        })?;
        self.files_were_replaced();
        self.options.cache.release(freed);
        self.counters.installs.fetch_add(1, Relaxed);
        Ok(objects)
    }

    /// Gives the files of a snapshot that are not `here` the names under which they are going to count.
    fn name_parts(&self, snapshot: &SnapshotOffer, here: &BTreeSet<FileId>) -> io::Result<()> {
        // Of a file that counts no more and could not be removed, the name is noted, to be tried again. It must not be
        // once it is this one's, and nobody may be at it: that is done under this lock.
        let _nobody_removes = self.manifest_lock.lock();
        for Wanted { name: pulled, listed, .. } in snapshot.wanted() {
            let Some(listed) = listed.filter(|listed| !here.contains(&listed.id)) else { continue };
            let own = name(listed.id, listed.kind);
            self.state.lock().leftovers.retain(|leftover| *leftover != own);
            // A log file of this journal that others have finished, and that is unfinished here, has the same
            // frames, and no table.
            match self.disk.rename(&pulled, &own) {
                // Renamed by an earlier try.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// The checksum of a chunk: of where it belongs, and of what it is.
pub(crate) fn chunk_crc(position: u64, chunk: &[u8]) -> u32 {
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
