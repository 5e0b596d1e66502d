//! A snapshot: the machine's checkpoint at an index, and the list of files with the records that
//! are alive at or below it. The bytes stay where they are: `lease` hands them out, and a follower pulls them
//! (`pull`).

use crate::raft::{Runtime, StoredMembership, Types};
use crate::replica::Replica;
use crate::store::log_id;
use journal::LogPosition;
use journal::install::{SnapshotManifest, SnapshotOffer};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use std::io;
use std::sync::Arc;

/// What openraft hands about as a snapshot's data: nothing but its position, or, at the receiver,
/// what has been pulled.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Raft position it stands for.
    pub at: LogPosition,
    /// At the receiver: what it consists of; its parts are here.
    pub pulled: Option<Arc<SnapshotOffer>>,
}

impl<R: Runtime> Replica<R> {
    /// The journal's checkpoint as a snapshot; `None` before the first. From memory: openraft takes an
    /// error of the disk for the end.
    pub(crate) fn current_snapshot(&self) -> Result<Option<SnapshotOf<Types<R>, Snapshot>>, io::Error> {
        let (at, membership) = self.saved.lock().clone();
        Ok((at != LogPosition::default()).then(|| snapshot::<R>(at, membership, None)))
    }

    /// What was just checkpointed need not be kept; what changed meanwhile stays.
    pub(crate) fn forget_saved(&self) {
        self.unsaved.lock().clear();
    }

    /// The latest checkpoint with its files, all of them finished.
    pub(crate) async fn offer(&self) -> Option<SnapshotOffer> {
        let manifest = self.finished_manifest().await?;
        Some(SnapshotOffer { journal: self.journal.id(), manifest })
    }

    async fn finished_manifest(&self) -> Option<SnapshotManifest> {
        if !self.journal.lost_entries().is_empty() {
            // Whoever installs it would not know what is missing.
            return None;
        }
        let journal = self.journal.clone();
        // What is damaged is not handed on: the next checkpoint, soon, holds everything.
        if let Some(Err(error)) = self.environment.blocking(move || journal.read_checkpoint().map(drop)).await {
            tracing::warn!(shard = %self.shard, %error, "no snapshot can be offered now");
            return None;
        }
        if let Some(manifest) = self.journal.snapshot_manifest() {
            return Some(manifest);
        }
        self.journal.roll();
        if !self.flushed().await {
            return None;
        }
        let journal = self.journal.clone();
        // A leader that has committed nothing yet may need those for it whom this is for.
        let waits = self.applied.lock().at.term < journal.last().term;
        let finished = self.environment.blocking(move || {
            while journal.finish_next()? {}
            if waits && journal.snapshot_manifest().is_none() {
                journal.finish_settled()?;
            }
            Ok::<(), io::Error>(())
        });
        match finished.await {
            Some(Ok(())) => self.journal.snapshot_manifest(),
            _ => None,
        }
    }
}

/// A snapshot as openraft wants it.
pub(crate) fn snapshot<R: Runtime>(
    at: LogPosition,
    last_membership: StoredMembership<R>,
    pulled: Option<Arc<SnapshotOffer>>,
) -> SnapshotOf<Types<R>, Snapshot> {
    let meta = SnapshotMetaOf::<Types<R>> { last_log_id: log_id::<R>(at), last_membership };
    openraft::storage::Snapshot { meta, snapshot: Snapshot { at, pulled } }
}
