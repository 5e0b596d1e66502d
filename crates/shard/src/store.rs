//! The Raft log and vote, over the journal. Which invariant each method upholds is said at the
//! method: it is what openraft relies on.

use crate::purges::Purges;
use crate::raft::{LogId, Membership, Payload, RaftEntry, Runtime, Types, Vote};
use crate::replica::{Replica, flushed};
use bytes::Bytes;
use futures::channel::oneshot;
use journal::frame::Kind;
use journal::{Journal, LogEntry, LogPosition, LogReadError};
use model::limit;
use model::wire::{Input, Wire, WireError};
use openraft::alias::VoteOf;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

/// How often an entry that is damaged is looked for again.
const DAMAGE_INTERVAL: Duration = Duration::from_millis(50);

/// openraft's view of a journal.
pub(crate) struct Store<R: Runtime> {
    journal: Arc<Journal>,
    purges: Arc<Purges<R>>,
    /// Entries that are blank when they make no sense.
    skips: Arc<BTreeSet<u64>>,
    /// What the checkpoint covered at the start.
    applied_at_start: u64,
    /// Entries that could not be read at the start.
    unreadable: Arc<BTreeSet<u64>>,
}

impl<R: Runtime> Store<R> {
    pub(crate) fn new(replica: &Replica<R>, unreadable: BTreeSet<u64>) -> Self {
        let (journal, purges, skips) = (replica.journal.clone(), replica.purges.clone(), replica.skips.clone());
        let applied_at_start = journal.checkpoint_at().index;
        Store { journal, purges, skips, applied_at_start, unreadable: Arc::new(unreadable) }
    }
}

impl<R: Runtime> Clone for Store<R> {
    fn clone(&self) -> Self {
        let (journal, purges, skips) = (self.journal.clone(), self.purges.clone(), self.skips.clone());
        let (applied_at_start, unreadable) = (self.applied_at_start, self.unreadable.clone());
        Store { journal, purges, skips, applied_at_start, unreadable }
    }
}

/// A log id as the journal counts: its first entry has index 1, openraft's has 0.
pub(crate) fn position<R: Runtime>(id: &LogId<R>) -> LogPosition {
    LogPosition { term: **id.committed_leader_id(), index: from_raft(id.index()) }
}

pub(crate) fn log_id<R: Runtime>(at: LogPosition) -> Option<LogId<R>> {
    (at.index > 0).then(|| LogId::<R>::new_term_index(at.term, to_raft(at.index)))
}

/// openraft's index as ours.
pub(crate) fn from_raft(index: u64) -> u64 {
    index + 1
}

/// Our index as openraft's.
pub(crate) fn to_raft(index: u64) -> u64 {
    index.saturating_sub(1)
}

pub(crate) fn encode_vote<R: Runtime>(vote: &Vote<R>) -> Bytes {
    Bytes::from((vote.leader_id.term, vote.leader_id.voted_for, vote.committed).to_wire())
}

pub(crate) fn decode_vote<R: Runtime>(bytes: &[u8]) -> Result<Vote<R>, WireError> {
    let (term, node, committed): (u64, u64, bool) = Wire::from_wire(bytes)?;
    Ok(if committed { Vote::<R>::new_committed(term, node) } else { Vote::<R>::new(term, node) })
}

/// A membership: the voters of one configuration, or of two while it changes, and the learners.
pub(crate) fn encode_membership(membership: &Membership) -> Vec<u8> {
    let configs: Vec<Vec<u64>> =
        membership.get_joint_config().iter().map(|config| config.iter().copied().collect()).collect();
    let nodes: Vec<u64> = membership.nodes().map(|(id, ())| *id).collect();
    (configs, nodes).to_wire()
}

pub(crate) fn take_membership(input: &mut Input<'_>) -> Result<Membership, WireError> {
    let (configs, nodes): (Vec<Vec<u64>>, Vec<u64>) = Wire::take(input)?;
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> = configs.into_iter().map(|config| config.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, ()> = nodes.into_iter().map(|id| (id, ())).collect();
    Membership::new(configs, nodes).map_err(|_| WireError::Invalid("membership"))
}

pub(crate) fn to_journal<R: Runtime>(entry: RaftEntry<R>) -> (LogEntry, bool) {
    let at = position::<R>(&entry.log_id);
    match entry.payload {
        EntryPayload::Blank => (LogEntry { at, kind: Kind::Blank, payload: Bytes::new(), meta_bytes: 0 }, true),
        EntryPayload::Normal(Payload { bytes, meta_bytes, fsync }) => {
            (LogEntry { at, kind: Kind::Entry, payload: bytes, meta_bytes }, fsync)
        }
        EntryPayload::Membership(membership) => {
            let payload = Bytes::from(encode_membership(&membership));
            let meta_bytes = payload.len() as u32;
            // Who votes must survive whatever the topics' durability.
            (LogEntry { at, kind: Kind::Membership, payload, meta_bytes }, true)
        }
    }
}

pub(crate) fn from_journal<R: Runtime>(entry: LogEntry) -> io::Result<RaftEntry<R>> {
    let malformed = |error: &dyn std::error::Error| io::Error::other(format!("entry {}: {error}", entry.at.index));
    let payload = match entry.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Entry => EntryPayload::Normal(Payload::new(entry.payload.clone()).map_err(|error| malformed(&error))?),
        Kind::Membership => {
            let mut input = Input::new(&entry.payload);
            EntryPayload::Membership(take_membership(&mut input).map_err(|error| malformed(&error))?)
        }
        Kind::Vote | Kind::Packed => return Err(io::Error::other("not an entry")),
    };
    let log_id = LogId::<R>::new_term_index(entry.at.term, to_raft(entry.at.index));
    Ok(RaftEntry::<R>::new(log_id, payload))
}

fn read_error(error: LogReadError) -> io::Error {
    match error {
        LogReadError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<R: Runtime> Store<R> {
    /// Entries to send, at least the first, of a half-open range of openraft's indexes.
    ///
    /// openraft takes every storage error for the end, so damage is waited out here: it is noted, and
    /// housekeeping mends it.
    async fn read_to_send(&self, from: u64, to: u64) -> io::Result<Vec<RaftEntry<R>>> {
        let (from, mut to) = (from_raft(from), from_raft(to));
        if !self.journal.is_replicated() {
            // As long as this replica decides alone, what it holds in memory may be committed, and power loss
            // takes it. Then those who follow must not have applied it.
            if self.journal.flushed() < from && !flushed(&self.journal).await {
                return Err(io::Error::other("the node stops"));
            }
            if self.journal.last().index < from {
                // It leads no longer, and another leader's entries took their place.
                return Ok(Vec::new());
            }
            to = to.min(self.journal.flushed() + 1).max(from + 1);
        }
        loop {
            match self.journal.entries(from, to, limit::APPEND_BYTES_MAX) {
                // What comes before can be sent meanwhile.
                Err(LogReadError::Damaged(index)) if index > from => to = index,
                Err(LogReadError::Damaged(_)) if !self.journal.is_stopping() => R::sleep(DAMAGE_INTERVAL).await,
                other => return other.map_err(read_error)?.into_iter().map(from_journal::<R>).collect(),
            }
        }
    }

    /// Entries to apply, or to look for a membership in, at least the first: a damaged body is no
    /// obstacle then. What cannot be read is waited for.
    async fn read_to_apply(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<RaftEntry<R>>> {
        let (from, mut to) = (from_raft(from), from_raft(to));
        loop {
            match self.journal.entries_to_apply(from, to, bytes_max) {
                // What comes before can be applied meanwhile.
                Err(LogReadError::Damaged(index)) if index > from => to = index,
                Err(LogReadError::Damaged(_)) if !self.journal.is_stopping() => R::sleep(DAMAGE_INTERVAL).await,
                other => return self.readable(other.map_err(read_error)?),
            }
        }
    }

    /// As openraft sees them; what makes no sense may be skipped.
    fn readable(&self, entries: Vec<LogEntry>) -> io::Result<Vec<RaftEntry<R>>> {
        let entries = entries.into_iter().map(|entry| {
            let index = entry.at.index;
            from_journal::<R>(entry).or_else(|error| match self.skips.contains(&index) {
                true => self.nothing(index),
                false => Err(error),
            })
        });
        entries.collect()
    }

    /// A blank entry in the place of one that cannot be read.
    fn nothing(&self, index: u64) -> io::Result<RaftEntry<R>> {
        let term = self.journal.term_of(index).ok_or_else(|| read_error(LogReadError::Absent(index)))?;
        Ok(RaftEntry::<R>::new(LogId::<R>::new_term_index(term, to_raft(index)), EntryPayload::Blank))
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX - 1,
    };
    (from, to)
}

impl<R: Runtime> RaftLogReader<Types<R>> for Store<R> {
    /// Every entry of the range that the log has is returned, whether it is flushed or not. openraft
    /// asks when it starts, for what it applies then and for memberships, and never to send them: see
    /// `limited_get_log_entries`. An entry that could not be read at the start lies above what is applied
    /// then and passes for blank; if it may have been a membership, the replica is in doubt.
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry<R>>, io::Error> {
        let (from, to) = bounds(&range);
        let first = to_raft(self.journal.floor().index + 1);
        let (mut next, to) = (from.max(first), to.min(self.journal.last().index));
        let mut entries = Vec::new();
        while next < to {
            let index = from_raft(next);
            // Of what is applied only its place in the log is asked for.
            if self.unreadable.contains(&index) || index <= self.applied_at_start {
                entries.push(self.nothing(index)?);
                next += 1;
                continue;
            }
            let stop = self.unreadable.range(index..).next().map_or(to, |index| to_raft(*index).min(to));
            let read = self.read_to_apply(next, stop, usize::MAX).await?;
            next += read.len() as u64;
            entries.extend(read);
        }
        Ok(entries)
    }

    /// The last log id of each leader, from memory; the default reads entries. Its documentation speaks of
    /// the first of each; what it does, and what is made of it, is the last.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId<R>>) -> Result<Vec<LogId<R>>, io::Error> {
        let (first, last) = range.into_inner();
        let ends = self.journal.term_ends(from_raft(first.index()), from_raft(last.index()));
        Ok(ends.into_iter().filter_map(log_id::<R>).collect())
    }

    /// At least one entry of a non-empty range; bounds what one AppendEntries carries.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry<R>>, io::Error> {
        self.read_to_send(start, end).await
    }

    /// Yields committed entries for `apply` in bounded bites; the default would load all of them.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl futures::Stream<Item = Result<RaftEntry<R>, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let to = to.min(self.journal.last().index);
        let store = self.clone();
        futures::stream::unfold((store, from, Vec::new().into_iter()), move |(store, next, mut waiting)| async move {
            if let Some(entry) = waiting.next() {
                return Some((Ok(entry), (store, next, waiting)));
            }
            if next >= to {
                return None;
            }
            match store.read_to_apply(next, to, limit::ENTRY_BYTES_MAX).await {
                Ok(entries) => {
                    let next = next + entries.len() as u64;
                    let mut waiting = entries.into_iter();
                    waiting.next().map(|entry| (Ok(entry), (store, next, waiting)))
                }
                Err(error) => Some((Err(error), (store, to, Vec::new().into_iter()))),
            }
        })
    }

    /// The vote last saved, as of now: a leader's stream of entries checks it.
    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types<R>>>, io::Error> {
        self.journal.vote().map(|bytes| decode_vote::<R>(&bytes).map_err(io::Error::other)).transpose()
    }
}

impl<R: Runtime> RaftLogStorage<Types<R>> for Store<R> {
    type LogReader = Self;

    /// What survived: nothing that was acknowledged as flushed is missing, unless the journal said
    /// so when it was opened.
    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let last_purged_log_id = log_id::<R>(self.journal.floor());
        Ok(LogState { last_purged_log_id, last_log_id: log_id::<R>(self.journal.last()) })
    }

    /// Reads the same journal: what `append` and `truncate_after` did is seen at once.
    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    /// On stable storage when this returns: a vote that is forgotten could be given twice.
    async fn save_vote(&mut self, vote: &Vote<R>) -> Result<(), io::Error> {
        let (saved, wait) = oneshot::channel();
        let done = Box::new(move || {
            let _ = saved.send(());
        });
        self.journal.save_vote(encode_vote::<R>(vote), done);
        wait.await.map_err(|_| io::Error::other("the journal was stopped"))
    }

    /// Rides in the next frame: a restarted node applies at least up to there again.
    async fn save_committed(&mut self, committed: Option<LogId<R>>) -> Result<(), io::Error> {
        if let Some(id) = committed {
            self.journal.set_committed(from_raft(id.index()));
        }
        Ok(())
    }

    /// openraft asks when it starts, and applies everything up to here before it goes on: an entry that
    /// cannot be read yet must not hold up what would mend it.
    async fn read_committed(&mut self) -> Result<Option<LogId<R>>, io::Error> {
        let readable = self.unreadable.first().map_or(u64::MAX, |index| index - 1);
        let index = self.journal.committed().min(self.journal.last().index).min(readable);
        Ok(self.journal.term_of(index).and_then(|term| log_id::<R>(LogPosition { term, index })))
    }

    /// Readable when this returns; `callback` when as durable as each entry asks. Never an error:
    /// the journal waits out full disks and leaves failing files.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(to_journal::<R>).collect();
        self.journal.append(entries, Box::new(move || callback.io_completed(Ok(()))));
        Ok(())
    }

    /// Entries above are gone for every reader when this returns; on disk, by what follows.
    async fn truncate_after(&mut self, last: Option<LogId<R>>) -> Result<(), io::Error> {
        self.journal.truncate_after(last.map_or(0, |id| from_raft(id.index())));
        Ok(())
    }

    /// Moves the floor, a moment later: see [`Purges`]. Files are given back by reclaim, when their
    /// pieces are dead too.
    async fn purge(&mut self, id: LogId<R>) -> Result<(), io::Error> {
        self.purges.add(position::<R>(&id));
        Ok(())
    }
}
