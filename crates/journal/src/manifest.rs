//! The one file that says which other files count. Replaced as a whole, by rename, so a change of
//! many files (packing, a checkpoint, an installed snapshot) happens at one instant or not at all.
//! Everything rests on it and it is small, so it is in the file twice. Drawn in
//! docs/formats/journal.md.

use crate::disk::Disk;
use crate::file::{FileId, FileKind};
use model::ShardId;
use model::checksum::crc32c;
use model::limit;
use model::wire::{Wire, WireError};
use std::io::{self, IoSlice};

/// The manifest's name.
pub const NAME: &str = "manifest";
pub(crate) const TEMPORARY: &str = "manifest.tmp";
const MAGIC: [u8; 8] = *b"MSMANIF1";

model::wire_struct! {
    /// A finished file.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Listed {
        /// Which.
        pub id: FileId,
        /// Its kind.
        pub kind: FileKind,
        /// Its length, table included.
        pub length: u64,
        /// Where its frames end and its table begins.
        pub frames_end: u64,
        /// Raft indexes its content came from, inclusive.
        pub first_index: u64,
        /// See `first_index`.
        pub last_index: u64,
        /// Of a log file, pieces in it that the machine refused: index and number. They are not in
        /// the table, and nothing else tells a rebuilt one so.
        pub refused: Vec<(u64, u32)>,
    }
}

model::wire_struct! {
    /// A place in the Raft log.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct LogPosition {
        /// Term of the entry; compares first, as Raft does.
        pub term: u64,
        /// Its index.
        pub index: u64,
    }
}

model::wire_struct! {
    /// A file of the checkpoint chain.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CheckpointFile {
        /// Its number; the name is made from it.
        pub number: u64,
        /// Its length.
        pub length: u64,
    }
}

model::wire_struct! {
    /// What counts.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Manifest {
        /// The journal's own id, drawn at random when it was made.
        pub journal: u64,
        /// Whose journal it is.
        pub shard: ShardId,
        /// Bumped by every replacement.
        pub generation: u64,
        /// No file with this sequence or above was ever listed or deleted.
        pub next_sequence: u64,
        /// Raft entries up to here are gone from the log.
        pub floor: LogPosition,
        /// Own log files with this sequence or above count without being listed.
        pub logs_from: u64,
        /// Finished files, by rank.
        pub files: Vec<Listed>,
        /// The machine's checkpoint: a base, then increments.
        pub checkpoint: Vec<CheckpointFile>,
        /// Raft position the checkpoint covers.
        pub checkpoint_at: LogPosition,
        /// Pieces the machine refused in entries of unfinished files: index and number.
        pub refused: Vec<(u64, u32)>,
        /// How many votes there were when this was written; zero for none.
        pub vote_number: u64,
        /// The last of them.
        pub vote: Vec<u8>,
        /// Known on stable storage: of unfinished log files, the sequence and how many bytes.
        pub flushed: Vec<(u64, u64)>,
        /// The machine's boot when this was written.
        pub boot_id: u128,
        /// Whether everything was synced and nothing written after.
        pub clean: bool,
        /// Whether the node may have forgotten what it acknowledged.
        pub in_doubt: bool,
        /// Entries up to the floor that were lost to damage, first and last: records that came with
        /// them may be missing until they are copied from another replica.
        pub lost: Vec<(u64, u64)>,
        /// Whether other replicas have what this one has.
        pub replicated: bool,
        /// The last file that the scrubber has read in the pass it is in.
        pub scrubbed: Option<FileId>,
    }
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not what was written.
    #[error("the manifest is damaged: {0}. Restore the data folder from a backup")]
    Damaged(&'static str),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<WireError> for ManifestError {
    fn from(_: WireError) -> Self {
        ManifestError::Damaged("content")
    }
}

impl Manifest {
    /// Reads the manifest. `None` when there is none: a new journal.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, ManifestError> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = file.length()?;
        if !(24..=limit::MANIFEST_BYTES_MAX).contains(&length) || length % 2 != 0 {
            return Err(ManifestError::Damaged("length"));
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(0, &mut bytes)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        Manifest::decode(first).map(Some).or_else(|error| {
            let manifest = Manifest::decode(second)?;
            tracing::warn!(%error, "one of the manifest's two copies is damaged: the other counts");
            Ok(Some(manifest))
        })
    }

    /// Whether both copies are as they were written.
    pub(crate) fn is_whole(disk: &dyn Disk) -> io::Result<bool> {
        let file = disk.open(NAME)?;
        let mut bytes = vec![0; file.length()?.min(limit::MANIFEST_BYTES_MAX) as usize];
        file.read_at(0, &mut bytes)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        Ok(first == second && Manifest::decode(first).is_ok())
    }

    /// Reads one copy.
    fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (content, stored) = bytes.split_at(bytes.len().saturating_sub(4));
        if crc32c(content).to_le_bytes() != stored {
            return Err(ManifestError::Damaged("checksum"));
        }
        match content.strip_prefix(&MAGIC) {
            Some(content) => Ok(Manifest::from_wire(content)?),
            None => Err(ManifestError::Damaged("magic")),
        }
    }

    /// Replaces the manifest; durable on return.
    ///
    /// # Errors
    /// As the disk says; the old one counts then.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        self.put(&mut bytes);
        crc32c(&bytes).put(&mut bytes);
        bytes.extend_from_within(..);
        match disk.remove(TEMPORARY) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(TEMPORARY, bytes.len() as u64)?;
        file.write_at(0, &[IoSlice::new(&bytes)])?;
        file.sync()?;
        disk.rename(TEMPORARY, NAME)?;
        disk.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    #[test]
    fn a_manifest_is_replaced_as_a_whole_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        assert!(Manifest::read(&disk).unwrap().is_none());
        let id = FileId { journal: 3, sequence: 4 };
        let mut manifest = Manifest {
            journal: 3,
            shard: ShardId(1),
            generation: 1,
            next_sequence: 9,
            floor: LogPosition { term: 1, index: 2 },
            logs_from: 4,
            files: vec![Listed {
                id,
                kind: FileKind::Log,
                length: 77,
                frames_end: 70,
                first_index: 1,
                last_index: 3,
                refused: vec![(2, 1)],
            }],
            checkpoint: vec![CheckpointFile { number: 1, length: 5 }],
            checkpoint_at: LogPosition { term: 1, index: 7 },
            refused: vec![(8, 0)],
            vote_number: 1,
            vote: b"vote".to_vec(),
            flushed: vec![(4, 64)],
            boot_id: 5,
            clean: false,
            in_doubt: true,
            lost: vec![(4, 5)],
            replicated: true,
            scrubbed: Some(id),
        };
        manifest.write(&disk).unwrap();
        manifest.generation = 2;
        manifest.write(&disk).unwrap();
        assert_eq!(Manifest::read(&disk).unwrap(), Some(manifest.clone()));
        let copy = disk.open(NAME).unwrap().length().unwrap() / 2;
        for place in [30, copy + 30] {
            let file = disk.open(NAME).unwrap();
            assert!(Manifest::is_whole(&disk).unwrap());
            file.write_at(place, &[IoSlice::new(&[0xa5])]).unwrap();
            assert_eq!(Manifest::read(&disk).unwrap(), Some(manifest.clone()), "the other copy counts");
            assert!(!Manifest::is_whole(&disk).unwrap());
            if place == 30 {
                manifest.write(&disk).unwrap();
            }
        }
        let file = disk.open(NAME).unwrap();
        file.write_at(30, &[IoSlice::new(&[0xa5])]).unwrap();
        file.write_at(copy + 40, &[IoSlice::new(&[0xa5])]).unwrap();
        assert!(matches!(Manifest::read(&disk), Err(ManifestError::Damaged(_))));
    }
}
