//! Parts of snapshots on their way here: kept until they are whole, over restarts of either side and
//! whoever hands them out.
//!
//! A part has a file of its own name, which does not count, and beside it one that says how much is
//! here ([`crate::progress`]). What a part is does not depend on the snapshot that asks for it: a finished
//! file has the same id everywhere, and a checkpoint's file is named after the journal it comes from. So one
//! that is whole is never copied again, and one that is not is gone on with, once what is here has proved
//! to be what was written.

use crate::checkpoint::{self, CheckpointError, Objects};
use crate::disk::{Disk, DiskFile};
use crate::file::{FileKind, parse_name};
use crate::install::{CHUNK_BYTES, Part, SnapshotOffer, Wanted, chunk_crc};
use crate::journal::Journal;
use crate::manifest::{CheckpointFile, Manifest};
use crate::progress::{self, Progress};
use crate::rebuild;
use crate::state::State;
use crate::table::TableError;
use model::checksum::Crc32c;
use model::limit;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What the names of parts begin with, so that nothing takes them for what counts.
const PREFIX: &str = "pulled-";
/// What is added to a part's name for the file that says how much of it is here.
const PROGRESS: &str = ".progress";

/// The name of a part.
pub(crate) fn part_name(what: &str) -> String {
    format!("{PREFIX}{what}")
}

/// The name of what says how much of a part is here.
fn progress_name(part: &str) -> String {
    format!("{part}{PROGRESS}")
}

/// Why a chunk was not added.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// It is not what was read: it changed on the way.
    #[error("a chunk is not what was read")]
    Altered,
    /// The disk did not take it, and nobody knows what of the part is here: see [`Journal::drop_part`].
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// What came of a part that is all here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is what it should be.
    Whole,
    /// It is not, and has been removed. This was the checksum of what came.
    Damaged(u32),
}

/// A part that is being copied.
pub struct PartWriter {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    progress: Arc<dyn DiskFile>,
    /// Records about it so far.
    records: u64,
    length: u64,
    position: u64,
    /// Of these bytes there is a record.
    synced: u64,
    /// A record is written after so many bytes.
    sync_bytes: u64,
    digest: Crc32c,
    /// Its names survive power loss.
    named: bool,
}

impl PartWriter {
    /// How much of it is here.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds a chunk, after checking it. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ChunkError`].
    pub fn write(&mut self, chunk: &[u8], crc: u32) -> Result<(), ChunkError> {
        if chunk_crc(self.position, chunk) != crc || chunk.len() as u64 > self.length - self.position {
            return Err(ChunkError::Altered);
        }
        self.file.write_at(self.position, &[IoSlice::new(chunk)])?;
        self.digest.update(chunk);
        self.position += chunk.len() as u64;
        if self.position - self.synced >= self.sync_bytes {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes sure that what is here survives. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says; the part is of no use then.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.position == self.synced {
            return Ok(());
        }
        if !self.named {
            self.disk.sync_names()?;
            self.named = true;
        }
        self.file.sync()?;
        self.synced = self.position;
        self.record(false)
    }

    fn record(&mut self, whole: bool) -> io::Result<()> {
        let Some(place) = progress::place(self.records) else { return Ok(()) };
        let record = Progress { position: self.position, crc: self.digest.value(), whole }.record();
        self.progress.write_at(place, &[IoSlice::new(&record)])?;
        self.records += 1;
        Ok(())
    }
}

impl Journal {
    /// Goes on with a part, or begins it. A record of how much is here is written after each `sync_bytes`. `None` when
    /// all of it is here, and is what it should be. Reads what is here; blocks on the disk.
    ///
    /// # Errors
    /// As the disk says, when it does not let a part be begun.
    pub fn begin_part(&self, wanted: &Wanted, sync_bytes: u64) -> io::Result<Option<PartWriter>> {
        if let Some(listed) = &wanted.listed
            && self.finished().iter().any(|file| file.id == listed.id)
        {
            return Ok(None);
        }
        let known = self.state.lock().parts.get(&wanted.name).copied();
        let resumed = match known {
            Some(Some(length)) if length == wanted.length => Ok(None),
            Some(_) => self.resume_part(wanted, sync_bytes),
            None => return self.create_part(wanted, sync_bytes).map(Some),
        };
        match resumed {
            Ok(None) => {
                self.state.lock().parts.insert(wanted.name.clone(), Some(wanted.length));
                self.counters.parts_reused.fetch_add(1, Relaxed);
                Ok(None)
            }
            Ok(Some(writer)) => {
                self.counters.parts_resumed.fetch_add(u64::from(writer.position > 0), Relaxed);
                Ok(Some(writer))
            }
            Err(error) => {
                tracing::warn!(shard = %self.options.shard, part = wanted.name, %error, "what is here of it is copied again");
                self.counters.parts_refused.fetch_add(1, Relaxed);
                self.create_part(wanted, sync_bytes).map(Some)
            }
        }
    }

    fn create_part(&self, wanted: &Wanted, sync_bytes: u64) -> io::Result<PartWriter> {
        let progress_name = progress_name(&wanted.name);
        self.state.lock().leftovers.retain(|leftover| *leftover != wanted.name && *leftover != progress_name);
        remove(&*self.disk, &progress_name)?;
        remove(&*self.disk, &wanted.name)?;
        let file = self.disk.create(&wanted.name, 0)?;
        self.state.lock().parts.insert(wanted.name.clone(), None);
        let progress = self.disk.create(&progress_name, 0)?;
        progress.write_at(0, &[IoSlice::new(&progress::head(wanted.length))])?;
        Ok(PartWriter {
            disk: self.disk.clone(),
            file,
            progress,
            records: 0,
            length: wanted.length,
            position: 0,
            synced: 0,
            sync_bytes,
            digest: Crc32c::new(),
            named: false,
        })
    }

    /// Opens a part that is here already; `None` when it is whole.
    fn resume_part(&self, wanted: &Wanted, sync_bytes: u64) -> io::Result<Option<PartWriter>> {
        let file = self.disk.open(&wanted.name)?;
        let progress = self.disk.open(&progress_name(&wanted.name))?;
        let found = progress::read(&*progress)?.filter(|found| found.length == wanted.length);
        let found = found.ok_or_else(|| io::Error::other("it is a part of another length"))?;
        let here = found.progress;
        // Frames are the same wherever a file is; the table of one may have been made anew there. So a table comes
        // from one place, or not at all.
        let frames_end = wanted.listed.as_ref().map_or(u64::MAX, |listed| listed.frames_end);
        let stop = if here.whole { here.position } else { here.position.min(frames_end) };
        let mut writer = PartWriter {
            disk: self.disk.clone(),
            file,
            progress,
            records: found.records,
            length: wanted.length,
            position: 0,
            synced: stop,
            sync_bytes,
            digest: Crc32c::new(),
            named: true,
        };
        writer.read_on(stop)?;
        let kept = writer.digest;
        writer.read_on(here.position)?;
        if writer.digest.value() != here.crc || (here.whole && here.position != wanted.length) {
            return Err(io::Error::other("it is not what was written"));
        }
        if here.whole {
            return Ok(None);
        }
        (writer.position, writer.digest) = (stop, kept);
        if stop < here.position {
            // What comes next replaces what the last record speaks of.
            writer.record(false)?;
        }
        Ok(Some(writer))
    }

    /// Looks at a part that is all here. `before` is the checksum with which it was damaged the last time: what comes
    /// twice the same is so where it comes from. A file whose frames alone are damaged counts all the same
    /// then, for that is found by whoever reads it, and mended. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says; the part is of no use then.
    pub fn finish_part(&self, mut writer: PartWriter, wanted: &Wanted, before: Option<u32>) -> io::Result<Checked> {
        writer.sync()?;
        let crc = writer.digest.value();
        if let Some(what) = self.look_at(&*writer.file, wanted)? {
            let opens = || wanted.listed.as_ref().is_some_and(|listed| rebuild::opens(&*writer.file, listed));
            let usable = before == Some(crc) && opens();
            tracing::warn!(shard = %self.options.shard, part = wanted.name, what, usable, "a part of a snapshot is damaged");
            self.counters.parts_refused.fetch_add(1, Relaxed);
            if !usable {
                self.drop_part(wanted);
                return Ok(Checked::Damaged(crc));
            }
        }
        writer.record(true)?;
        self.state.lock().parts.insert(wanted.name.clone(), Some(wanted.length));
        Ok(Checked::Whole)
    }

    /// What is damaged of a part that is all here, if anything is.
    fn look_at(&self, file: &dyn DiskFile, wanted: &Wanted) -> io::Result<Option<String>> {
        let damage = match (&wanted.listed, wanted.part) {
            (Some(listed), _) => rebuild::verify(file, listed).map_err(|error| match error {
                TableError::Io(error) => Err(error),
                other => Ok(other.to_string()),
            }),
            (None, Part::Checkpoint { number }) => {
                let described = CheckpointFile { number, length: wanted.length };
                checkpoint::read_blocks(file, &described, &mut Objects::new()).map(drop).map_err(|error| match error {
                    CheckpointError::Io(error) => Err(error),
                    other => Ok(other.to_string()),
                })
            }
            (None, Part::File { .. }) => Err(Ok("nobody says what it is".into())),
        };
        match damage {
            Ok(()) => Ok(None),
            Err(Ok(what)) => Ok(Some(what)),
            // It speaks of more than there is.
            Err(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(error.to_string())),
            Err(Err(error)) => Err(error),
        }
    }

    /// Gives up what is here of a part. Blocks on the disk.
    pub fn drop_part(&self, wanted: &Wanted) {
        self.drop_parts_named(std::slice::from_ref(&wanted.name));
    }

    /// Gives up parts that cannot be installed after all: those that are gone, and the checkpoint. Blocks on the disk.
    pub fn drop_unusable_parts(&self, offer: &SnapshotOffer) {
        for wanted in offer.wanted() {
            if wanted.listed.is_none() || self.disk.open(&wanted.name).is_err() {
                self.drop_part(&wanted);
            }
        }
    }

    /// Removes the parts that `offer` has no use for. Nobody may be copying others. Returns how many. Blocks on the
    /// disk.
    pub fn discard_parts(&self, offer: Option<&SnapshotOffer>) -> usize {
        let useless = self.useless_parts(offer);
        self.drop_parts_named(&useless);
        useless.len()
    }

    /// Removes parts that `offer` has no use for until those that stay are within
    /// [`limit::PULL_PARTS_UNCLAIMED_MAX`] and [`limit::PULL_PARTS_UNCLAIMED_BYTES_MAX`]. Files with high numbers
    /// stay: of low ones the records are the first to expire. Nobody may be copying others. Returns how many are gone.
    /// Blocks on the disk.
    pub fn trim_parts(&self, offer: &SnapshotOffer) -> usize {
        let mut useless = self.useless_parts(Some(offer));
        let mut bytes = 0;
        let stay = useless.iter().rev().take(limit::PULL_PARTS_UNCLAIMED_MAX).take_while(|name| {
            // What cannot be looked at counts as too much.
            let length = self.disk.open(name).and_then(|file| file.length()).unwrap_or(u64::MAX);
            bytes = length.saturating_add(bytes);
            bytes <= limit::PULL_PARTS_UNCLAIMED_BYTES_MAX
        });
        let stay = stay.count();
        useless.truncate(useless.len() - stay);
        self.drop_parts_named(&useless);
        useless.len()
    }

    /// How many parts `offer` has no use for.
    #[must_use]
    pub fn count_useless_parts(&self, offer: Option<&SnapshotOffer>) -> usize {
        self.useless_parts(offer).len()
    }

    fn useless_parts(&self, offer: Option<&SnapshotOffer>) -> Vec<String> {
        let wanted: BTreeSet<String> =
            offer.into_iter().flat_map(SnapshotOffer::wanted).map(|part| part.name).collect();
        let state = self.state.lock();
        state.parts.keys().filter(|name| !wanted.contains(*name)).cloned().collect()
    }

    fn drop_parts_named(&self, parts: &[String]) {
        for part in parts {
            for name in [progress_name(part), part.clone()] {
                // What cannot be removed now is with the next manifest, or at the next start.
                if remove(&*self.disk, &name).is_err() {
                    self.state.lock().leftovers.push(name);
                }
            }
            self.state.lock().parts.remove(part);
        }
    }

    /// Parts that are here, whole or not.
    #[must_use]
    pub fn kept_parts(&self) -> usize {
        self.state.lock().parts.len()
    }
}

impl PartWriter {
    /// Takes what is here up to `to` into account.
    fn read_on(&mut self, to: u64) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(to - self.position).unwrap_or(CHUNK_BYTES))];
        while self.position < to {
            let bytes = (buffer.len() as u64).min(to - self.position) as usize;
            self.file.read_at(self.position, &mut buffer[..bytes])?;
            self.digest.update(&buffer[..bytes]);
            self.position += bytes as u64;
        }
        Ok(())
    }
}

fn remove(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Finds the parts that an earlier process left. Returns the names that are taken care of.
///
/// One that an installation had given its own name, and that does not count, gets its part's name again.
pub(crate) fn recover(
    disk: &dyn Disk,
    names: &[String],
    state: &mut State,
    manifest: &Manifest,
) -> io::Result<BTreeSet<String>> {
    let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut taken = BTreeSet::new();
    for beside in names {
        let Some(part) = beside.strip_suffix(PROGRESS) else { continue };
        let Some(own) = part.strip_prefix(PREFIX) else { continue };
        if !there.contains(part) {
            if !there.contains(own) || counts(own, state, manifest) {
                continue;
            }
            disk.rename(own, part)?;
            taken.insert(own.to_owned());
        }
        taken.insert(part.to_owned());
        taken.insert(beside.clone());
        state.parts.insert(part.to_owned(), None);
    }
    Ok(taken)
}

/// Whether the log or packed file of this name counts; anything else does.
pub(crate) fn counts(own: &str, state: &State, manifest: &Manifest) -> bool {
    let Some((id, kind)) = parse_name(own) else { return true };
    let own_log = kind == FileKind::Log && id.journal == manifest.journal;
    state.finished.iter().any(|file| file.id == id) || (own_log && state.open_files.contains_key(&id.sequence))
}
