//! Entries that an operator has decided to skip: the audit record of it, beside the journal's files.
//! Drawn in docs/formats/journal.md.
//!
//! The journal only keeps the record. Whoever applies entries treats one that is listed as blank. The
//! file is replaced as a whole, is never cut, and is not part of what replicas copy: the same entry
//! has to be skipped on each of them, by somebody who knows.

use crate::disk::Disk;
use crate::journal::Journal;
use model::Timestamp;
use model::checksum::crc32c;
use model::limit;
use model::wire::Wire;
use std::io;

/// The file's name.
pub const NAME: &str = "skips";
const TEMPORARY: &str = "skips.tmp";
const MAGIC: [u8; 8] = *b"MSSKIPS1";

model::wire_struct! {
    /// A decision to skip an entry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Skip {
        /// The entry's Raft index.
        pub index: u64,
        /// When it was decided.
        pub decided: Timestamp,
        /// Why, in the operator's words.
        pub reason: String,
    }
}

/// Why the record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SkipsError {
    /// The bytes on disk are not what was written. Nothing is skipped by guessing.
    #[error("the record of skipped entries is damaged")]
    Damaged,
    /// The record would be longer than it may be.
    #[error("more than {} bytes of skipped entries", limit::SKIPS_BYTES_MAX)]
    Full,
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The entries to skip, in the order in which that was decided.
///
/// # Errors
/// See [`SkipsError`].
pub fn read(disk: &dyn Disk) -> Result<Vec<Skip>, SkipsError> {
    let file = match disk.open(NAME) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let length = file.length()?;
    if !(12..=limit::SKIPS_BYTES_MAX).contains(&length) {
        return Err(SkipsError::Damaged);
    }
    let mut bytes = vec![0; length as usize];
    file.read_at(0, &mut bytes)?;
    let (content, stored) = bytes.split_at(bytes.len() - 4);
    if crc32c(content).to_le_bytes() != stored {
        return Err(SkipsError::Damaged);
    }
    let list = content.strip_prefix(&MAGIC).ok_or(SkipsError::Damaged)?;
    Wire::from_wire(list).map_err(|_| SkipsError::Damaged)
}

/// Adds decisions; on stable storage on return. Only while no journal is open on `disk`.
///
/// # Errors
/// See [`SkipsError`].
pub fn add(disk: &dyn Disk, decisions: Vec<Skip>) -> Result<(), SkipsError> {
    let mut skips = read(disk)?;
    skips.extend(decisions);
    let mut bytes = MAGIC.to_vec();
    skips.put(&mut bytes);
    crc32c(&bytes).put(&mut bytes);
    if bytes.len() as u64 > limit::SKIPS_BYTES_MAX {
        return Err(SkipsError::Full);
    }
    Ok(crate::disk::replace(disk, NAME, TEMPORARY, &bytes)?)
}

impl Journal {
    /// The entries that an operator has decided to skip. Blocks on the disk.
    ///
    /// # Errors
    /// See [`SkipsError`].
    pub fn skips(&self) -> Result<Vec<Skip>, SkipsError> {
        read(&*self.disk)
    }
}
