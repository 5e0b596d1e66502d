//! Log compaction: of each key of a compacted stream, only the last record stays.
//!
//! A pass looks at what was appended since the last one, in offset order, and notes where each key is
//! last; then everything up to there is rewritten without the records whose key comes again (see
//! [`journal::Compactor`] and [`batch::compaction`]). It is a replica's own business: each compacts its
//! own files when it is due, and readers see more or less of what was overwritten.
//!
//! Only what is committed, on stable storage and below the Raft log's floor is looked at, so a record goes
//! only for one that cannot be taken back. A record without a key stays.

use crate::liveness::MachineLiveness;
use crate::raft::Runtime;
use crate::replica::Replica;
use batch::Batch;
use batch::compaction::{self, Horizon, Left};
use bytes::Bytes;
use journal::canary::Fault;
use journal::compacted::Compacted;
use journal::{CompactionPlan, Compactor, Journal, Kept, ReadError, ReclaimError, Slice};
use machine::messaging::stream::Stream;
use model::record::Message;
use model::{Entry, Form, Offset, PieceDesc, PieceHead, StreamId, Timestamp, limit};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::BTreeMap;
use std::hash::Hasher;

/// Bytes read at a time to find keys.
const READ_BYTES: usize = limit::MIB;

/// What a replica remembers of the last pass over a stream.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Below it, each key is there once.
    to: Offset,
    /// Bytes that had been appended to the stream up to there.
    appended: u64,
    /// Bytes that were left of them.
    clean_bytes: u64,
    /// When something new was first seen above it.
    dirty_since: Option<Timestamp>,
}

/// When which stream of a replica is to be compacted.
#[derive(Debug)]
pub(crate) struct Compaction {
    seen: BTreeMap<StreamId, Seen>,
    /// How often another replica's files had taken the place of ours: what is remembered is about those
    /// since.
    installs: u64,
}

/// What a pass was to do, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// What is known of the streams now.
    seen: BTreeMap<StreamId, Seen>,
    /// Something is due of which the files cannot be rewritten yet.
    pub(crate) waits: bool,
    plan: CompactionPlan,
    by_key: Option<ByKey>,
    /// How often files had been replaced when it began.
    pub(crate) installs: u64,
}

impl Compaction {
    /// What was remembered at the last stop. Blocks on the disk.
    pub(crate) fn new(journal: &Journal) -> Self {
        let seen = |kept: Compacted| {
            let Compacted { stream, to, appended, bytes: clean_bytes } = kept;
            (stream, Seen { to, appended, clean_bytes, dirty_since: None })
        };
        Compaction { seen: journal.compacted().into_iter().map(seen).collect(), installs: journal.installs() }
    }

    /// The streams that are due, and what is known of them.
    pub(crate) fn due<R: Runtime>(&mut self, replica: &Replica<R>, now: Timestamp) -> Vec<Due> {
        let machine = replica.machine.read();
        let compacted = machine.messaging.streams().filter(|(_, stream)| stream.config.cleanup.compacts());
        let compacted: BTreeMap<StreamId, &Stream> = compacted.collect();
        if self.installs != replica.journal.installs() {
            self.installs = replica.journal.installs();
            self.seen.clear();
        }
        self.seen.retain(|id, _| compacted.contains_key(id));
        let mut due = Vec::new();
        for (id, stream) in compacted {
            let seen = self.seen.entry(id).or_default();
            let new = stream.bytes_appended.saturating_sub(seen.appended);
            if new == 0 || stream.start == stream.end {
                continue;
            }
            let since = *seen.dirty_since.get_or_insert(now);
            let much = new * 1000 > u64::from(stream.config.dirty_permille) * (new + seen.clean_bytes);
            let long = stream.config.compaction_lag_max_millis.is_some_and(|max| since.plus(max) <= now);
            if much || long {
                let keeps_removals = machine.messaging.older(id).is_some();
                due.push(Due { id, stream: stream.clone(), seen: *seen, keeps_removals });
            }
        }
        due
    }

    /// Remembers what a pass did, unless files were replaced since it began. Returns what to keep for the
    /// next start.
    pub(crate) fn note(&mut self, pass: &Pass, installs: u64) -> Vec<Compacted> {
        if (pass.installs, pass.installs) == (self.installs, installs) {
            self.seen.extend(pass.seen.iter().map(|(id, seen)| (*id, *seen)));
        }
        let kept = |(id, seen): (&StreamId, &Seen)| {
            let Seen { to, appended, clean_bytes: bytes, .. } = *seen;
            Compacted { stream: *id, to, appended, bytes }
        };
        self.seen.iter().map(kept).collect()
    }
}

/// A stream that is to be compacted.
pub(crate) struct Due {
    id: StreamId,
    stream: Stream,
    seen: Seen,
    /// Another shard has older records, which may be what a removal is of.
    keeps_removals: bool,
}

impl Pass {
    /// Finds out what is to go. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub(crate) fn plan<R: Runtime>(replica: &Replica<R>, due: Vec<Due>, now: Timestamp) -> Result<Pass, ReclaimError> {
        let journal = &replica.journal;
        let mut pass = Pass { installs: journal.installs(), ..Pass::default() };
        let mut by_key = ByKey::new(journal);
        for due in due {
            let stream = due.id;
            match pass.plan_stream(journal, &mut by_key, due, now) {
                // Other streams need not wait for its repair.
                Err(ReadError::Damaged { .. }) => tracing::warn!(%stream, "damaged: not compacted this time"),
                other => other.map_err(unreadable)?,
            }
        }
        if !by_key.streams.is_empty() {
            pass.plan = journal.plan_compaction(&MachineLiveness(&replica.machine), &by_key)?;
            pass.by_key = Some(by_key);
        }
        Ok(pass)
    }

    /// Finds out where the keys of a stream are last.
    fn plan_stream(
        &mut self,
        journal: &Journal,
        by_key: &mut ByKey,
        Due { id, stream, seen, keeps_removals }: Due,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        let finished = journal.compactable_end(id)?.min(stream.end);
        let mut end = finished;
        let lag = stream.config.compaction_lag_min_millis;
        if lag > 0 && seen.to.max(stream.start) < end {
            let young = journal.find_timestamp(id, seen.to.max(stream.start), end, now.minus(lag));
            end = young?.map_or(end, |(base, _)| base);
        }
        // What is left above is there for the next pass, and what is too young when it is older: for that no file
        // has to be finished.
        let (rest, young) = (journal.bytes_of(id, finished, stream.end)?, journal.bytes_of(id, end, finished)?);
        let new = stream.bytes_appended.saturating_sub(seen.appended).saturating_sub(young);
        self.waits |= rest * 2 > new;
        if end <= seen.to.max(stream.start) {
            return Ok(());
        }
        let end = by_key.learn(journal, id, seen.to.max(stream.start), end)?;
        let tombstone_millis = i64::try_from(stream.config.tombstone_millis).unwrap_or(i64::MAX);
        let keep_millis = (!keeps_removals).then_some(tombstone_millis);
        by_key.streams.insert(id, Target { end, horizon: Horizon { now: now.0, keep_millis } });
        if journal.faulty(Fault::CompactUncommitted) {
            by_key.learn_uncommitted(journal, id);
        }
        let rest = journal.bytes_of(id, end, stream.end)?;
        let appended = stream.bytes_appended.saturating_sub(rest);
        let dirty_since = (rest > 0).then_some(now);
        self.seen.insert(id, Seen { to: end, appended, clean_bytes: 0, dirty_since });
        Ok(())
    }

    /// Removes it. What the plan rests on has to be on stable storage by now. Blocks on the disk. Returns
    /// bytes given back. What could not be done is not remembered as done: the next pass looks at it again.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub(crate) fn carry_out<R: Runtime>(&mut self, replica: &Replica<R>) -> Result<u64, ReclaimError> {
        let Some(by_key) = self.by_key.take() else { return Ok(0) };
        let journal::Compaction { freed, whole } = replica.journal.compact(std::mem::take(&mut self.plan), &by_key)?;
        if !whole {
            self.seen.clear();
            return Ok(freed);
        }
        for (id, seen) in &mut self.seen {
            let start = replica.machine.read().messaging.stream(*id).map_or(seen.to, |stream| stream.start);
            seen.clean_bytes = replica.journal.bytes_of(*id, start, seen.to).map_err(unreadable)?;
        }
        Ok(freed)
    }
}

fn unreadable(error: ReadError) -> ReclaimError {
    match error {
        ReadError::Table(error) => error.into(),
        ReadError::Io(error) => error.into(),
        damaged @ ReadError::Damaged { .. } => std::io::Error::other(damaged).into(),
    }
}

/// A stream in a pass.
struct Target {
    /// Below it is compacted.
    end: Offset,
    horizon: Horizon,
}

/// Where each key is last.
struct ByKey {
    streams: BTreeMap<StreamId, Target>,
    /// By a hash of stream and key that nobody can aim at.
    last: BTreeMap<u128, Offset>,
    secret: (u64, u64),
    /// Known faults.
    to_first: bool,
    removals_at_once: bool,
}

impl std::fmt::Debug for ByKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByKey").field("keys", &self.last.len()).finish_non_exhaustive()
    }
}

impl ByKey {
    fn new(journal: &Journal) -> Self {
        let secret = (journal.id(), !journal.id());
        let to_first = journal.faulty(Fault::CompactToFirst);
        let removals_at_once = journal.faulty(Fault::CompactRemovalsAtOnce);
        ByKey { streams: BTreeMap::new(), last: BTreeMap::new(), secret, to_first, removals_at_once }
    }

    /// Notes the keys of a part of a stream. Returns how far it came: not to the end when there are too
    /// many.
    fn learn(&mut self, journal: &Journal, id: StreamId, from: Offset, to: Offset) -> Result<Offset, ReadError> {
        let mut next = from;
        while next < to && self.last.len() < limit::COMPACTION_KEYS_MAX {
            let slices = journal.read(id, next, to, READ_BYTES)?;
            let Some(end) = slices.last().map(Slice::end) else {
                next = to;
                break;
            };
            slices.iter().for_each(|slice| self.learn_slice(id, slice));
            next = end;
        }
        Ok(next.min(to))
    }

    fn learn_slice(&mut self, id: StreamId, slice: &Slice) {
        let pieces: Vec<_> = model::piece::walk(&slice.bytes).map_while(Result::ok).collect();
        for (head, range) in &pieces {
            // Of bytes that streams share, the slice says where they are.
            let base = if pieces.len() == 1 { slice.base } else { head.base };
            let piece = slice.bytes.slice(range.clone());
            match head.form {
                Form::Message => {
                    if let Some(key) = message_key(&piece) {
                        self.learn_key(id, key, base);
                    }
                }
                Form::Batch => {
                    // What cannot be read has no key that anybody knows, and stays.
                    let Ok(records) = Batch::checked(piece).records(limit::PIECE_DECOMPRESSED_BYTES_MAX) else {
                        continue;
                    };
                    for record in records.map_while(Result::ok) {
                        if let Some(key) = &record.key {
                            let offset = base.plus(u64::try_from(record.offset_delta).unwrap_or(0));
                            self.learn_key(id, key, offset);
                        }
                    }
                }
            }
        }
    }

    fn learn_key(&mut self, id: StreamId, key: &[u8], offset: Offset) {
        let hash = self.hash(id, key);
        if self.to_first {
            self.last.entry(hash).or_insert(offset);
        } else {
            self.last.insert(hash, offset);
        }
    }

    /// A known fault: notes the keys of what may never be committed.
    fn learn_uncommitted(&mut self, journal: &Journal, id: StreamId) {
        let entries = journal.entries(journal.applied() + 1, journal.last().index + 1, READ_BYTES);
        let payloads =
            entries.unwrap_or_default().into_iter().filter(|entry| entry.kind == journal::frame::Kind::Entry);
        for entry in payloads.filter_map(|entry| Entry::parse(entry.payload).ok()) {
            for piece in entry.pieces().filter(|piece| piece.stream == id) {
                let start = piece.position as usize;
                let bytes = entry.bytes().slice(start..start + piece.length as usize);
                let PieceDesc { base, count, epoch, max_timestamp, .. } = piece;
                self.learn_slice(id, &Slice { base, count, epoch, max_timestamp, bytes });
            }
        }
    }

    fn hash(&self, stream: StreamId, key: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write_u64(stream.0);
        hasher.write(key);
        hasher.finish128().as_u128()
    }

    fn is_last(&self, stream: StreamId, key: &[u8], offset: Offset) -> bool {
        let last = self.last.get(&self.hash(stream, key));
        last.is_none_or(|last| if self.to_first { offset <= *last } else { *last <= offset })
    }
}

/// The key of a message in our own form.
fn message_key(piece: &[u8]) -> Option<&[u8]> {
    Message::decode(piece).ok()?.key
}

impl Compactor for ByKey {
    fn limit(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream).map(|target| target.end)
    }

    fn keep(&self, stream: StreamId, piece: &[u8]) -> Kept {
        let Some(Target { horizon, .. }) = self.streams.get(&stream) else { return Kept::Whole };
        let Ok(head) = PieceHead::parse(piece) else { return Kept::Whole };
        match head.form {
            Form::Message => match message_key(piece) {
                Some(key) if !self.is_last(stream, key, head.base) => Kept::Nothing,
                _ => Kept::Whole,
            },
            Form::Batch => {
                let batch = Batch::checked(Bytes::copy_from_slice(piece));
                let is_last = |key: &[u8], offset| self.is_last(stream, key, Offset(offset as u64));
                let compact = |batch: &Batch, horizon| {
                    compaction::compact(batch, limit::PIECE_DECOMPRESSED_BYTES_MAX, horizon, is_last)
                };
                match compact(&batch, *horizon) {
                    Ok(Left::Some(left)) if self.removals_at_once && left.has_delete_horizon() => {
                        match compact(&left, Horizon { now: i64::MAX, ..*horizon }) {
                            Ok(Left::Some(left)) => Kept::Part(left.into_bytes()),
                            Ok(Left::Nothing) => Kept::Nothing,
                            Ok(Left::Everything) | Err(_) => Kept::Part(left.into_bytes()),
                        }
                    }
                    Ok(Left::Some(left)) => Kept::Part(left.into_bytes()),
                    Ok(Left::Nothing) => Kept::Nothing,
                    Ok(Left::Everything) | Err(_) => Kept::Whole,
                }
            }
        }
    }
}
