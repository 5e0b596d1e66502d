//! A snapshot: the machine's checkpoint at an index, and the list of files with the records that
//! are alive at or below it. The bytes stay where they are; a follower pulls them.

use crate::raft::{Runtime, Types};
use crate::replica::Replica;
use crate::store::log_id;
use journal::LogPosition;
use journal::install::SnapshotManifest;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use std::io;
use std::sync::Arc;

/// What openraft hands about as a snapshot's data.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Raft position it stands for.
    pub at: LogPosition,
    /// What it consists of.
    pub manifest: Arc<SnapshotManifest>,
}

impl<R: Runtime> Replica<R> {
    /// The journal's checkpoint as a snapshot; `None` before the first.
    pub(crate) async fn current_snapshot(&self) -> Result<Option<SnapshotOf<Types<R>, Snapshot>>, io::Error> {
        let journal = self.journal.clone();
        let shard = self.shard;
        let found = self.environment.blocking(move || {
            let Some(manifest) = journal.snapshot_manifest() else { return Ok(None) };
            let (at, objects) = journal.read_checkpoint().map_err(io::Error::other)?;
            let (_, membership) = crate::replica::rebuild::<R>(shard, &objects).map_err(io::Error::other)?;
            Ok::<_, io::Error>(Some((at, membership, manifest)))
        });
        let found = found.await.ok_or_else(|| io::Error::other("the node stops"))??;
        Ok(found.map(|(at, last_membership, manifest)| {
            let meta = SnapshotMetaOf::<Types<R>> { last_log_id: log_id::<R>(at), last_membership };
            openraft::storage::Snapshot { meta, snapshot: Snapshot { at, manifest: Arc::new(manifest) } }
        }))
    }

    /// What was just checkpointed need not be kept; what changed meanwhile stays.
    pub(crate) fn forget_saved(&self) {
        self.unsaved.lock().clear();
    }
}
