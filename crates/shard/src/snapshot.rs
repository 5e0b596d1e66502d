//! A snapshot: the machine's checkpoint at an index, and the list of files with the records that
//! are alive at or below it. The bytes stay where they are; a follower pulls them.

use crate::raft::{Runtime, StoredMembership, Types};
use crate::replica::Replica;
use crate::rpc::{self, Chunk, Question};
use crate::store::log_id;
use crate::transport::Lane;
use journal::install::{CHUNK_BYTES, Part, SnapshotManifest, write_chunk};
use journal::{Journal, LogPosition};
use model::NodeId;
use model::wire::Wire;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A chunk without an answer for so long is asked for again.
const PULL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a chunk is asked for before the snapshot is given up; the leader offers it again.
const PULL_TRIES: usize = 5;

/// What openraft hands about as a snapshot's data: nothing but its position, or, at the receiver,
/// what has been pulled.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Raft position it stands for.
    pub at: LogPosition,
    /// At the receiver: what it consists of; its parts are here.
    pub pulled: Option<Arc<SnapshotManifest>>,
}

/// Keeps a snapshot's files: at the sender while they are pulled, at the receiver until they count.
pub(crate) struct Lease {
    journal: Arc<Journal>,
    manifest: SnapshotManifest,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.journal.unpin(self.manifest.files.iter().map(|file| file.id));
    }
}

fn stopped() -> io::Error {
    io::Error::other("the node stops")
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
    pub(crate) async fn offer(&self) -> Option<SnapshotManifest> {
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

    pub(crate) fn lease(&self, manifest: &SnapshotManifest) -> Lease {
        self.journal.pin(manifest.files.iter().map(|file| file.id));
        Lease { journal: self.journal.clone(), manifest: manifest.clone() }
    }

    /// Pulls every part that is not here yet.
    pub(crate) async fn pull(&self, from: NodeId, manifest: &SnapshotManifest) -> io::Result<()> {
        for (part, length, name) in manifest.parts() {
            let (journal, create) = (self.journal.clone(), name.clone());
            let file = self.environment.blocking(move || journal.create_part(&create)).await.ok_or_else(stopped)??;
            let Some(file) = file else { continue };
            let mut position = 0;
            while position < length {
                let chunk = self.pull_chunk(from, part, position).await?;
                if chunk.bytes.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let pulled = chunk.bytes.len() as u64;
                let file = file.clone();
                let write = move || write_chunk(&*file, position, &chunk.bytes, chunk.crc);
                self.environment.blocking(write).await.ok_or_else(stopped)??;
                position += pulled;
            }
            self.environment.blocking(move || file.sync()).await.ok_or_else(stopped)??;
        }
        Ok(())
    }

    async fn pull_chunk(&self, from: NodeId, part: Part, position: u64) -> io::Result<Chunk> {
        let question = Question::Pull { part, position, bytes: CHUNK_BYTES as u32 };
        let mut last = stopped();
        for _ in 0..PULL_TRIES {
            let request = rpc::encode_question(&question);
            let sent = self.environment.transport.call(from, self.shard, Lane::Bulk, request);
            match R::timeout(PULL_TIMEOUT, sent).await {
                Ok(Ok(answer)) => return Chunk::from_wire(&answer).map_err(io::Error::other),
                Ok(Err(error)) => last = io::Error::other(error),
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// A snapshot as openraft wants it.
pub(crate) fn snapshot<R: Runtime>(
    at: LogPosition,
    last_membership: StoredMembership<R>,
    pulled: Option<Arc<SnapshotManifest>>,
) -> SnapshotOf<Types<R>, Snapshot> {
    let meta = SnapshotMetaOf::<Types<R>> { last_log_id: log_id::<R>(at), last_membership };
    openraft::storage::Snapshot { meta, snapshot: Snapshot { at, pulled } }
}
