//! Applying committed entries, and the machine's checkpoints as openraft's snapshots.

use crate::raft::{Runtime, StoredMembership, Types};
use crate::replica::{Replica, rebuild, switch_faults_on};
use crate::snapshot::Snapshot;
use crate::store::{log_id, position};
use futures::{Stream, TryStreamExt};
use journal::checkpoint::CheckpointError;
use machine::{Effect, Position};
use model::Entry;
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a disk that refused a checkpoint is left alone.
const RETRY: Duration = Duration::from_millis(250);

/// openraft's view of a replica's machine.
pub struct StateMachine<R: Runtime> {
    replica: Arc<Replica<R>>,
}

impl<R: Runtime> StateMachine<R> {
    pub(crate) fn new(replica: Arc<Replica<R>>) -> Self {
        StateMachine { replica }
    }

    fn apply_entry(&self, at: journal::LogPosition, payload: &crate::raft::Payload) -> io::Result<Vec<machine::Reply>> {
        let entry = Entry::parse(payload.bytes.clone()).map_err(io::Error::other)?;
        if self.replica.skips.contains(&at.index) {
            tracing::warn!(shard = %self.replica.shard, index = at.index, "entry skipped");
            let refused: Vec<u32> = (0..entry.piece_count()).collect();
            self.replica.journal.publish(at.index, &[], &refused);
            return Ok(Vec::new());
        }
        let position = Position { term: at.term, index: at.index };
        let outcome = self.replica.machine.write().apply(position, &entry).map_err(|error| {
            tracing::error!(shard = %self.replica.shard, %error, "the shard stops: an entry cannot be applied");
            io::Error::other(error)
        })?;
        self.replica.journal.publish(at.index, &outcome.accepted, &outcome.refused);
        if outcome.effects.iter().any(|effect| matches!(effect, Effect::StreamShrank(_) | Effect::StreamGone(_))) {
            self.replica.shrank.store(true, Relaxed);
        }
        (self.replica.environment.on_effects)(self.replica.shard, &outcome.effects);
        Ok(outcome.replies)
    }
}

impl<R: Runtime> RaftStateMachine<Types<R>> for StateMachine<R> {
    type SnapshotData = Snapshot;
    type SnapshotBuilder = Builder<R>;

    /// Where the checkpoint stands: openraft applies again what was committed after it.
    async fn applied_state(&mut self) -> Result<(Option<LogIdOf<Types<R>>>, StoredMembershipOf<Types<R>>), io::Error> {
        let applied = self.replica.applied.lock();
        Ok((log_id::<R>(applied.at), applied.membership.clone()))
    }

    /// One entry after the other, each as a whole; readers see an entry's effects only when all of
    /// it is applied and its pieces can be found.
    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let at = position::<R>(&entry.log_id);
            let replies = match &entry.payload {
                EntryPayload::Normal(payload) => self.apply_entry(at, payload)?,
                EntryPayload::Blank | EntryPayload::Membership(_) => {
                    self.replica.journal.publish(at.index, &[], &[]);
                    Vec::new()
                }
            };
            let is_membership = matches!(entry.payload, EntryPayload::Membership(_));
            let is_first_of_term = {
                let mut applied = self.replica.applied.lock();
                let is_first = applied.at.term < at.term;
                applied.at = at;
                if let EntryPayload::Membership(membership) = entry.payload {
                    applied.membership = StoredMembership::<R>::new(Some(entry.log_id), membership);
                }
                is_first
            };
            if is_membership {
                self.replica.note_replicated();
            }
            self.replica.progress.notify_waiters();
            if is_first_of_term {
                // Whoever leads in it is ready now.
                (self.replica.environment.on_role)(self.replica.shard);
            }
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        Ok(())
    }

    /// Takes the changes since the last checkpoint by reference, between two entries; writing them
    /// is the builder's work and stalls nobody.
    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        let base = self.replica.journal.wants_base();
        let (at, membership) = self.replica.take_changes(base);
        Builder { replica: self.replica.clone(), at, membership, base }
    }

    /// Replaces the state and everything at or below the snapshot's index. Its files are here
    /// already.
    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types<R>>, snapshot: Snapshot) -> Result<(), io::Error> {
        let at = meta.last_log_id.as_ref().map(position::<R>).unwrap_or_default();
        let (applied, journal) = (self.replica.applied.lock().at, self.replica.journal.clone());
        if at <= applied {
            return Ok(());
        }
        let Some(offer) = snapshot.pulled else {
            return Err(io::Error::other("a snapshot without its files"));
        };
        let objects = loop {
            let (journal, offer) = (journal.clone(), offer.clone());
            let installed = self.replica.environment.blocking(move || journal.install(&offer)).await;
            match installed.ok_or_else(|| io::Error::other("the node stops"))? {
                Ok(objects) => break objects,
                // openraft stops at the first error; a full or failing disk is waited for instead.
                Err(CheckpointError::Io(error)) if !self.replica.journal.is_stopping() => {
                    tracing::warn!(shard = %self.replica.shard, %error, "the snapshot will be installed again");
                    R::sleep(RETRY).await;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        };
        let (mut machine, membership) = rebuild::<R>(self.replica.shard, &objects).map_err(io::Error::other)?;
        switch_faults_on(&self.replica.journal, &mut machine);
        *self.replica.machine.write() = machine;
        self.replica.unsaved.lock().clear();
        let mut applied = self.replica.applied.lock();
        applied.at = at;
        applied.membership = membership.clone();
        drop(applied);
        self.replica.note_replicated();
        *self.replica.saved.lock() = (at, membership);
        self.replica.progress.notify_waiters();
        // Nobody knows which of the entries that were not applied one by one would have rung.
        self.replica.shrank.store(true, Relaxed);
        (self.replica.environment.on_effects)(self.replica.shard, &[Effect::CatalogChanged]);
        (self.replica.environment.on_role)(self.replica.shard);
        Ok(())
    }

    /// The checkpoint and the files with the records it speaks of.
    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types<R>, Snapshot>>, io::Error> {
        self.replica.current_snapshot()
    }
}

/// Writes a checkpoint.
pub struct Builder<R: Runtime> {
    replica: Arc<Replica<R>>,
    at: journal::LogPosition,
    membership: StoredMembership<R>,
    /// The checkpoints before it are damaged: this one holds everything.
    base: bool,
}

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Snapshot;

    /// Waits until the entries it covers are on stable storage here: entries are applied before
    /// they are flushed, and a checkpoint ahead of the log would survive what the log does not.
    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types<R>, Snapshot>, io::Error> {
        if !self.replica.flushed().await {
            return Err(io::Error::other("the node stops"));
        }
        let base = self.base;
        loop {
            let (replica, at, membership) = (self.replica.clone(), self.at, self.membership.clone());
            let written = self.replica.environment.blocking(move || {
                let changes = replica.unsaved_bytes(&membership);
                if base {
                    replica.journal.write_base(at, &changes)?;
                } else {
                    replica.journal.write_checkpoint(at, &changes)?;
                }
                replica.forget_saved();
                *replica.saved.lock() = (at, membership);
                Ok::<(), CheckpointError>(())
            });
            match written.await.ok_or_else(|| io::Error::other("the node stops"))? {
                Ok(()) => break,
                // openraft stops at the first error; a full or failing disk is waited for instead.
                Err(error) if !self.replica.journal.is_stopping() => {
                    tracing::warn!(shard = %self.replica.shard, %error, "the checkpoint will be written again");
                    R::sleep(RETRY).await;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let snapshot = self.replica.current_snapshot()?;
        snapshot.ok_or_else(|| io::Error::other("no checkpoint"))
    }
}
