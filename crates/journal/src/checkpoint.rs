//! Checkpoints of the machine: a base and increments, each a file of key-value objects. Drawn in
//! docs/formats/journal.md.
//!
//! An increment holds what changed since the one before it, so writing one costs what changed. A
//! new base is made in the background by merging the files; the machine is not asked again. The
//! journal does not know what the objects are.

use crate::canary::Fault;
use crate::disk::{Disk, DiskFile};
use crate::file::FileKind;
use crate::journal::Journal;
use crate::manifest::{CheckpointFile, LogPosition, Manifest};
use crate::state::State;
use model::checksum::{crc32c, crc32c_of};
use model::limit;
use model::wire::{Input, Wire, WireError, put_varint};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Objects of the machine by key. Both are opaque here.
pub type Objects = BTreeMap<Vec<u8>, Vec<u8>>;
/// What became of objects: a new value, or gone.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

const MAGIC: [u8; 8] = *b"MSCHECK1";
const HEADER_BYTES: usize = 64;
const BLOCK_HEAD_BYTES: usize = 8;
/// A block is closed when it has so many bytes.
const BLOCK_BYTES_TARGET: usize = 256 << 10;
/// The chain is merged when it has so many increments...
const INCREMENTS_MAX: usize = 8;

/// The name of checkpoint file `number`.
#[must_use]
pub fn name(number: u64) -> String {
    format!("checkpoint-{number:016x}")
}

/// Why a checkpoint was not written or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It would cover entries that are not on stable storage yet.
    #[error("a checkpoint at {at} would be ahead of what is on stable storage, {flushed}")]
    NotFlushed {
        /// Where it would be.
        at: u64,
        /// What is on stable storage.
        flushed: u64,
    },
    /// The bytes on disk are not what was written.
    #[error("{} is damaged: {what}", name(*number))]
    Damaged {
        /// Which file.
        number: u64,
        /// What does not match.
        what: &'static str,
    },
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Journal {
    /// Writes what changed in the machine since the last checkpoint, up to entry `at`, and makes it
    /// count. Durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// `NotFlushed` when entry `at` is not on stable storage: keep the changes and try again later.
    /// After any error the checkpoint before still counts.
    pub fn write_checkpoint(&self, at: LogPosition, changes: &Changes) -> Result<(), CheckpointError> {
        self.write_checkpoint_file(at, changes, false)
    }

    /// Writes everything there is in the machine, as of entry `at`: the files before are not needed.
    ///
    /// # Errors
    /// As [`Journal::write_checkpoint`].
    pub fn write_base(&self, at: LogPosition, objects: &Changes) -> Result<(), CheckpointError> {
        self.write_checkpoint_file(at, objects, true)
    }

    fn write_checkpoint_file(&self, at: LogPosition, changes: &Changes, base: bool) -> Result<(), CheckpointError> {
        let (number, chain, flushed) = self.checkpoint_place();
        if at.index > flushed && !self.faulty(Fault::CheckpointAheadOfFlush) {
            return Err(CheckpointError::NotFlushed { at: at.index, flushed });
        }
        let entries = changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        let written = write_file(&*self.disk, number, at, entries)?;
        self.counters.checkpoint_bytes.fetch_add(written.length, Relaxed);
        let (kept, old) = if base { (Vec::new(), chain) } else { (chain, Vec::new()) };
        self.write_manifest(|state| {
            // One that was installed while this one was written covers more.
            if at < state.manifest.checkpoint_at {
                state.leftovers.push(name(written.number));
                return;
            }
            state.manifest.checkpoint = kept;
            state.manifest.checkpoint.push(written);
            state.manifest.checkpoint_at = at;
            state.wants_base &= !base;
            state.leftovers.extend(old.iter().map(|file| name(file.number)));
        })?;
        Ok(())
    }

    /// Merges the files of the checkpoint into one when there are many or the increments have
    /// outgrown the base. Returns whether it did. Blocks on the disk; nothing waits for it.
    ///
    /// # Errors
    /// After an error the files before still count.
    pub fn merge_checkpoint(&self) -> Result<bool, CheckpointError> {
        let (number, chain, _) = self.checkpoint_place();
        let increments: u64 = chain.iter().skip(1).map(|file| file.length).sum();
        let base = chain.first().map_or(0, |file| file.length);
        if chain.len() <= INCREMENTS_MAX && increments <= base.max(1 << 20) {
            return Ok(false);
        }
        let (at, objects) = read_chain(&*self.disk, &chain)?;
        let entries = objects.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
        let merged = write_file(&*self.disk, number, at, entries)?;
        self.counters.checkpoint_bytes.fetch_add(merged.length, Relaxed);
        self.write_manifest(|state| {
            if !state.manifest.checkpoint.starts_with(&chain) {
                // Others were installed while these were merged.
                state.leftovers.push(name(merged.number));
                return;
            }
            // Increments written meanwhile follow the merged base.
            let newer = state.manifest.checkpoint.split_off(chain.len());
            state.manifest.checkpoint = vec![merged];
            state.manifest.checkpoint.extend(newer);
            state.leftovers.extend(chain.iter().map(|file| name(file.number)));
        })?;
        Ok(true)
    }

    /// Reads the checkpoint: the entry it covers and the objects. Blocks on the disk.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn read_checkpoint(&self) -> Result<(LogPosition, Objects), CheckpointError> {
        let chain = self.state.lock().manifest.checkpoint.clone();
        read_chain(&*self.disk, &chain).inspect_err(|error| {
            if let CheckpointError::Damaged { .. } = error {
                tracing::error!(shard = %self.options.shard, %error, "the next checkpoint will be a whole one");
                self.state.lock().wants_base = true;
            }
        })
    }

    /// Says whether other replicas have what this one has. Stored with the next manifest, which
    /// [`Journal::write_due_manifest`] writes soon.
    pub fn set_replicated(&self, replicated: bool) {
        let mut state = self.state.lock();
        state.manifest_due |= state.manifest.replicated != replicated;
        state.manifest.replicated = replicated;
    }

    /// The same, stored when this returns.
    ///
    /// # Errors
    /// As the disk says.
    pub fn keep_replicated(&self, replicated: bool) -> io::Result<()> {
        self.write_manifest(|state| state.manifest.replicated = replicated)
    }

    /// Writes the manifest if something in it changed that nothing else waits for. Call this now and
    /// then.
    ///
    /// # Errors
    /// As the disk says.
    pub fn write_due_manifest(&self) -> io::Result<()> {
        let due = std::mem::take(&mut self.state.lock().manifest_due);
        if !due {
            return Ok(());
        }
        self.write_manifest(|_| ()).inspect_err(|_| self.state.lock().manifest_due = true)
    }

    /// Whether other replicas have what this one has.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.state.lock().manifest.replicated
    }

    /// Gives up everything but the vote, because the checkpoint it rests on cannot be read, so that it
    /// can be copied from another replica. In doubt from now on. Only before anything is appended.
    ///
    /// # Errors
    /// As the disk says.
    pub fn start_over(&self) -> io::Result<()> {
        let mut freed = 0;
        self.write_manifest(|state| {
            let mut names = Vec::new();
            names.extend(state.finished.iter().map(|file| crate::file::name(file.id, file.kind)));
            names.extend(state.open_files.values().map(|file| crate::file::name(file.id, FileKind::Log)));
            names.extend(state.manifest.checkpoint.iter().map(|file| name(file.number)));
            freed = state.cached_bytes;
            let empty = Manifest {
                floor: LogPosition::default(),
                checkpoint: Vec::new(),
                checkpoint_at: LogPosition::default(),
                refused: Vec::new(),
                in_doubt: true,
                lost: Vec::new(),
                ..state.manifest.clone()
            };
            let (vote, number, sequence) = (state.vote.take(), state.vote_number, state.next_sequence);
            let parts = std::mem::take(&mut state.parts);
            *state = State::new(empty);
            (state.vote, state.vote_number, state.next_sequence) = (vote, number, sequence);
            state.parts = parts;
            state.leftovers = names;
        })?;
        self.options.cache.release(freed);
        Ok(())
    }

    /// The entry that the checkpoint covers.
    #[must_use]
    pub fn checkpoint_at(&self) -> LogPosition {
        self.state.lock().manifest.checkpoint_at
    }

    fn checkpoint_place(&self) -> (u64, Vec<CheckpointFile>, u64) {
        let number = self.take_sequence();
        let state = self.state.lock();
        (number, state.manifest.checkpoint.clone(), state.flushed)
    }
}

pub(crate) fn write_file<'a>(
    disk: &dyn Disk,
    number: u64,
    at: LogPosition,
    objects: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> io::Result<CheckpointFile> {
    let file = disk.create(&name(number), 0)?;
    let result = write_blocks(&*file, number, at, objects).and_then(|length| {
        disk.sync_names()?;
        Ok(CheckpointFile { number, length })
    });
    if result.is_err() {
        // The first error is what matters; a file left over is removed at the next start.
        let _ = disk.remove(&name(number));
    }
    result
}

fn write_blocks<'a>(
    file: &dyn DiskFile,
    number: u64,
    at: LogPosition,
    objects: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> io::Result<u64> {
    let mut header = MAGIC.to_vec();
    (1u64, number, at.term, at.index).put(&mut header);
    header.resize(HEADER_BYTES - 4, 0);
    crc32c(&header).put(&mut header);
    file.write_at(0, &[IoSlice::new(&header)])?;
    let mut position = HEADER_BYTES as u64;
    let mut nth = 0u64;
    let mut block = Vec::new();
    let mut flush = |block: &mut Vec<u8>| -> io::Result<()> {
        let mut head = Vec::with_capacity(BLOCK_HEAD_BYTES);
        (block.len() as u32).put(&mut head);
        block_crc(number, nth, block).put(&mut head);
        file.write_at(position, &[IoSlice::new(&head), IoSlice::new(block)])?;
        position += (BLOCK_HEAD_BYTES + block.len()) as u64;
        nth += 1;
        block.clear();
        Ok(())
    };
    for (key, value) in objects {
        put_varint(key.len() as u64, &mut block);
        block.extend_from_slice(key);
        block.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put_varint(value.len() as u64, &mut block);
            block.extend_from_slice(value);
        }
        if block.len() >= BLOCK_BYTES_TARGET {
            flush(&mut block)?;
        }
    }
    if !block.is_empty() {
        flush(&mut block)?;
    }
    // An empty block ends the file, so that a cut is seen.
    flush(&mut block)?;
    file.sync()?;
    Ok(position)
}

fn block_crc(number: u64, nth: u64, block: &[u8]) -> u32 {
    crc32c_of(&[&number.to_le_bytes(), &nth.to_le_bytes(), &(block.len() as u32).to_le_bytes(), block])
}

/// Reads files of a checkpoint, base first: the entry the last of them covers, and the objects.
///
/// # Errors
/// See [`CheckpointError`].
pub fn read_chain(disk: &dyn Disk, chain: &[CheckpointFile]) -> Result<(LogPosition, Objects), CheckpointError> {
    let mut objects = Objects::new();
    let mut at = LogPosition::default();
    for file in chain {
        let disk_file: Arc<dyn DiskFile> = disk.open(&name(file.number))?;
        at = read_blocks(&*disk_file, file, &mut objects)?;
    }
    Ok((at, objects))
}

pub(crate) fn read_blocks(
    disk_file: &dyn DiskFile,
    file: &CheckpointFile,
    objects: &mut Objects,
) -> Result<LogPosition, CheckpointError> {
    let damaged = |what| CheckpointError::Damaged { number: file.number, what };
    if disk_file.length()? < file.length || file.length < HEADER_BYTES as u64 {
        return Err(damaged("length"));
    }
    let mut header = [0; HEADER_BYTES];
    disk_file.read_at(0, &mut header)?;
    let (content, stored) = header.split_at(HEADER_BYTES - 4);
    if crc32c(content).to_le_bytes() != stored || content[..8] != MAGIC {
        return Err(damaged("header"));
    }
    let fields: Result<(u64, u64, u64, u64), WireError> = Wire::take(&mut Input::new(&content[8..]));
    let (version, number, term, index) = fields.map_err(|_| damaged("header"))?;
    if version != 1 || number != file.number {
        return Err(damaged("header"));
    }
    let mut position = HEADER_BYTES as u64;
    for nth in 0.. {
        let mut head = [0; BLOCK_HEAD_BYTES];
        if position + BLOCK_HEAD_BYTES as u64 > file.length {
            return Err(damaged("cut"));
        }
        disk_file.read_at(position, &mut head)?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = u32_at(0) as usize;
        position += BLOCK_HEAD_BYTES as u64;
        if length > limit::CHECKPOINT_BLOCK_BYTES_MAX || position + length as u64 > file.length {
            return Err(damaged("block length"));
        }
        let mut block = vec![0; length];
        disk_file.read_at(position, &mut block)?;
        if block_crc(number, nth, &block) != u32_at(4) {
            return Err(damaged("block"));
        }
        if block.is_empty() {
            break;
        }
        position += length as u64;
        read_objects(&block, objects).map_err(|_| damaged("objects"))?;
    }
    Ok(LogPosition { term, index })
}

fn read_objects(block: &[u8], objects: &mut Objects) -> Result<(), WireError> {
    let mut input = Input::new(block);
    while input.left() > 0 {
        let key = input.count()?;
        let key = input.bytes(key)?.to_vec();
        if bool::take(&mut input)? {
            let value = input.count()?;
            objects.insert(key, input.bytes(value)?.to_vec());
        } else {
            objects.remove(&key);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    #[test]
    fn increments_add_up_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let at = |index| LogPosition { term: 2, index };
        let big = vec![7u8; 300 << 10];
        let base = [(&b"a"[..], Some(&b"1"[..])), (b"b", Some(&big)), (b"c", Some(b"3"))];
        let first = write_file(&disk, 1, at(10), base.into_iter()).unwrap();
        let second = write_file(&disk, 2, at(20), [(&b"a"[..], None), (b"d", Some(&b""[..]))].into_iter()).unwrap();
        let (position, objects) = read_chain(&disk, &[first.clone(), second.clone()]).unwrap();
        assert_eq!(position, at(20));
        assert_eq!(objects.keys().map(|k| k[0]).collect::<Vec<_>>(), b"bcd");
        assert_eq!(objects[&b"b"[..]], big);
        for place in [20, 70, 100_000, first.length - 3] {
            let file = disk.open(&name(1)).unwrap();
            let mut byte = [0];
            file.read_at(place, &mut byte).unwrap();
            file.write_at(place, &[IoSlice::new(&[byte[0] ^ 4])]).unwrap();
            let outcome = read_chain(&disk, std::slice::from_ref(&first));
            assert!(matches!(outcome, Err(CheckpointError::Damaged { .. })), "byte {place}");
            file.write_at(place, &[IoSlice::new(&byte)]).unwrap();
        }
        disk.open(&name(2)).unwrap().truncate(second.length - 8).unwrap();
        assert!(matches!(read_chain(&disk, &[first, second]), Err(CheckpointError::Damaged { .. })));
    }
}
