//! How far streams are compacted, beside the journal's files. Drawn in docs/formats/journal.md.
//!
//! It saves work after a restart and nothing rests on it: one that is lost, damaged or behind makes the
//! next pass look at what it need not. It says something about this replica's own files, so it goes when
//! others take their place.

use crate::disk::{Disk, replace};
use crate::journal::Journal;
use model::checksum::crc32c;
use model::limit;
use model::wire::Wire;
use model::{Offset, StreamId};
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// The file's name.
pub const NAME: &str = "compacted";
const TEMPORARY: &str = "compacted.tmp";
const MAGIC: [u8; 8] = *b"MSCOMPA1";

model::wire_struct! {
    /// How far a stream is compacted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Compacted {
        /// The stream.
        pub stream: StreamId,
        /// Below it, each key is there once.
        pub to: Offset,
        /// Bytes that had been appended to the stream up to there.
        pub appended: u64,
        /// Bytes that were left of them.
        pub bytes: u64,
    }
}

/// How far streams are compacted; none when that cannot be read.
#[must_use]
pub fn read(disk: &dyn Disk) -> Option<Vec<Compacted>> {
    let file = disk.open(NAME).ok()?;
    let length = file.length().ok().filter(|length| (12..=limit::COMPACTED_BYTES_MAX).contains(length))?;
    let mut bytes = vec![0; length as usize];
    file.read_at(0, &mut bytes).ok()?;
    let (content, stored) = bytes.split_at(bytes.len() - 4);
    let list = content.strip_prefix(&MAGIC).filter(|_| crc32c(content).to_le_bytes() == stored)?;
    Wire::from_wire(list).ok()
}

impl Journal {
    /// How far streams are compacted, as far as that is known.
    #[must_use]
    pub fn compacted(&self) -> Vec<Compacted> {
        read(&*self.disk).unwrap_or_default()
    }

    /// Keeps how far streams are compacted. On stable storage on return. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn keep_compacted(&self, compacted: &Vec<Compacted>) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        compacted.put(&mut bytes);
        crc32c(&bytes).put(&mut bytes);
        if bytes.len() as u64 > limit::COMPACTED_BYTES_MAX {
            return Ok(());
        }
        replace(&*self.disk, NAME, TEMPORARY, &bytes)
    }

    /// Forgets it: files of another replica take the place of this one's.
    pub(crate) fn forget_compacted(&self) -> io::Result<()> {
        self.installs.fetch_add(1, Relaxed);
        match self.disk.remove(NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// How often files of another replica took the place of this one's since the start.
    #[must_use]
    pub fn installs(&self) -> u64 {
        self.installs.load(Relaxed)
    }
}
