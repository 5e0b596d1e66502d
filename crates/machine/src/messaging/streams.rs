//! The streams of a shard and the commands on them.

use super::dedup::Dedup;
use super::group::Groups;
use super::moving::Older;
use super::producer::{Producer, Verdict};
use super::producers::Producers;
use super::stream::Stream;
use crate::canary::Canary;
use crate::command::ProducerBatch;
use crate::outbox::Outbox;
use crate::refusal::{Fault, Limit, Refusal};
use crate::reply::{Effect, Reply};
use crate::table::{Table, Taken};
use bytes::Bytes;
use model::config::{Settlement, StreamConfig};
use model::wire::WireError;
use model::{Hlc, IntervalSet, Offset, PieceDesc, ProducerId, ShardId, StreamId, Timestamp, limit};

/// Table tags. On disk: never reused.
mod tag {
    // 16 were streams whose configuration had a fixed form.
    pub(super) const STREAMS: u8 = 23;
    pub(super) const PRODUCERS: u8 = 17;
    pub(super) const SETTLED: u8 = 18;
    pub(super) const DEDUP: u8 = 19;
    pub(super) const GROUPS: u8 = 20;
    pub(super) const OFFSETS: u8 = 21;
    pub(super) const GONE: u8 = 22;
    pub(super) const MOVED: u8 = 24;
    pub(super) const OLDER: u8 = 25;
}

/// All of a shard's streams, and positions over streams of any shard.
#[derive(Debug)]
pub struct Messaging {
    pub(super) streams: Table<StreamId, Stream>,
    pub(super) producers: Producers,
    settled: Table<StreamId, IntervalSet>,
    /// Deleted streams of which something is still to be forgotten.
    pub(super) gone: Table<StreamId, ()>,
    /// Where streams are continued that were here. Records of them may still be here.
    pub(super) moved: Table<StreamId, ShardId>,
    /// Where the older records of streams are that came here.
    pub(super) older: Table<StreamId, Older>,
    /// Message ids within their windows.
    pub dedup: Dedup,
    /// Consumer groups.
    pub groups: Groups,
    /// A known fault: see [`crate::canary`].
    pub(crate) canary: Option<Canary>,
}

impl Messaging {
    pub(crate) fn new() -> Self {
        Messaging {
            streams: Table::new(tag::STREAMS),
            producers: Producers::new(tag::PRODUCERS),
            settled: Table::new(tag::SETTLED),
            gone: Table::new(tag::GONE),
            moved: Table::new(tag::MOVED),
            older: Table::new(tag::OLDER),
            dedup: Dedup::new(tag::DEDUP),
            groups: Groups::new(tag::GROUPS, tag::OFFSETS),
            canary: None,
        }
    }

    /// Whether this known fault is switched on.
    pub(super) fn has(&self, canary: Canary) -> bool {
        cfg!(feature = "canary") && self.canary == Some(canary)
    }

    /// Judges a batch by what is known of its producer.
    pub(super) fn judge(&self, known: Option<&Producer>, batch: &ProducerBatch) -> Result<Verdict, Refusal> {
        let is_old = |known: &Producer| batch.epoch < known.epoch;
        if self.has(Canary::UnfencedProducer) && known.is_some_and(is_old) {
            return Ok(Verdict::Next);
        }
        Producer::judge(known, batch)
    }

    /// A stream's state.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// All streams.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// How many streams there are.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// The settled records of a queue above its start.
    #[must_use]
    pub fn settled(&self, id: StreamId) -> Option<&IntervalSet> {
        self.settled.get(&id)
    }

    /// What is known of a producer on a stream.
    #[must_use]
    pub fn producer(&self, stream: StreamId, producer: ProducerId) -> Option<&Producer> {
        self.producers.get(stream, producer)
    }

    /// When there is something to do that waits for a Tick: `now` when it should have been done.
    pub(crate) fn next_deadline(&self, now: Hlc) -> Option<Timestamp> {
        if self.gone.is_empty() { self.dedup.next_expiry() } else { Some(now.timestamp()) }
    }

    /// Makes all of `ids` or none.
    pub(crate) fn create(
        &mut self,
        ids: &[StreamId],
        config: &StreamConfig,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if ids.iter().any(|id| self.gone.get(id).is_some() || self.moved.get(id).is_some()) {
            return Err(Refusal::Invalid(Fault::StreamIdUsed));
        }
        for id in ids {
            // Ids are never reused, so a stream that is there was created by the same decision.
            if self.streams.get(id).is_none() {
                self.streams.insert(*id, Stream::new(config.clone()));
                effects.push(Effect::StreamMade(*id));
            }
        }
        Ok(Reply::Done)
    }

    /// Configures all of `ids` or none.
    pub(crate) fn configure(&mut self, ids: &[StreamId], config: &StreamConfig) -> Result<Reply, Refusal> {
        if ids.iter().any(|id| self.streams.get(id).is_none() && self.moved.get(id).is_none()) {
            return Err(Refusal::UnknownStream);
        }
        for id in ids {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.config = config.clone();
            }
            // Records that are not settled one by one are all alive above the start.
            if config.settlement != Settlement::Each {
                self.settled.remove(id);
            }
        }
        Ok(Reply::Done)
    }

    /// Deletes streams. Whatever is known about them beyond `left` rows is forgotten by later ticks.
    pub(crate) fn delete(&mut self, ids: &[StreamId], left: &mut usize, effects: &mut Vec<Effect>) -> Reply {
        for id in ids {
            self.moved.remove(id);
            self.older.remove(id);
            if self.streams.remove(id) {
                self.settled.remove(id);
                effects.push(Effect::StreamGone(*id));
            }
            // Also of one that was never here: positions over the streams of other shards are.
            if !self.forget_rows(*id, left) {
                self.gone.insert(*id, ());
            }
        }
        Reply::Done
    }

    /// Forgets rows about a stream that is gone, at most `left` of them, which it counts down.
    /// Returns whether none is left.
    fn forget_rows(&mut self, id: StreamId, left: &mut usize) -> bool {
        self.producers.forget_stream(id, left)
            && self.dedup.forget_stream(id, left)
            && self.groups.forget_stream(id, left)
    }

    /// Forgets what was deleted or has expired, at most `left` rows of it, which it counts down.
    pub(crate) fn tick(&mut self, now: Hlc, left: &mut usize) {
        let gone: Vec<StreamId> = self.gone.iter().take(*left).map(|(id, ())| *id).collect();
        for id in gone {
            if !self.forget_rows(id, left) {
                break;
            }
            self.gone.remove(&id);
        }
        self.dedup.expire(now, left);
    }

    /// Adds `pieces`, all of one stream and consecutive. All or none.
    pub(crate) fn append(
        &mut self,
        pieces: &[PieceDesc],
        producer: Option<ProducerBatch>,
        message_id: Option<Bytes>,
        term: u64,
        now: Hlc,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let Some(first) = pieces.first() else {
            return Err(Refusal::Invalid(Fault::NoPieces));
        };
        let id = first.stream;
        let stream = self.newest(id)?;
        let start = self.start_of(id).unwrap_or(stream.start);
        let (mut next, epoch) = (stream.end, stream.epoch_in(term));
        for piece in pieces {
            if piece.stream != id {
                return Err(Refusal::Invalid(Fault::TwoStreams));
            }
            if piece.base != next || piece.epoch != epoch {
                return Err(Refusal::WrongOffset);
            }
            if piece.length > stream.config.piece_bytes_max {
                return Err(Refusal::TooLarge);
            }
            next = piece.end();
        }
        if let Some(batch) = &producer {
            let known = self.producers.get(id, batch.producer);
            if let Verdict::Duplicate(base) = self.judge(known, batch)? {
                return Ok(Reply::Duplicate { base, start });
            }
        }
        let window = stream.config.dedup_window_millis;
        if let Some(message) = message_id.as_ref().filter(|_| window > 0) {
            if let Some(base) = self.dedup.find(id, message, now) {
                self.remember_number(id, producer, base, now);
                return Ok(Reply::Duplicate { base, start });
            }
            self.check_message_id(id, message, 0, now)?;
            self.dedup.remember(id, message, first.base, now.timestamp().plus(window));
        }
        self.remember_number(id, producer, first.base, now);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(Refusal::UnknownStream);
        };
        for piece in pieces {
            stream.enter_epoch(term, piece.base);
            stream.end = piece.end();
            stream.max_timestamp = stream.max_timestamp.max(piece.max_timestamp);
            stream.bytes_appended += u64::from(piece.length);
        }
        effects.push(Effect::StreamGrew(id));
        Ok(Reply::Appended { base: first.base, start })
    }

    /// Whether a message id can be remembered, with `ahead` others before it.
    pub(super) fn check_message_id(
        &self,
        id: StreamId,
        message: &Bytes,
        ahead: usize,
        now: Hlc,
    ) -> Result<(), Refusal> {
        if message.len() > limit::DEDUP_ID_BYTES_MAX {
            return Err(Refusal::LimitReached(Limit::MessageIdBytes));
        }
        if !self.dedup.has_room(id, ahead, now) {
            return Err(Refusal::LimitReached(Limit::MessageIds));
        }
        Ok(())
    }

    /// Notes that a producer's number was used for the message at `base`: the next one may follow.
    fn remember_number(&mut self, id: StreamId, producer: Option<ProducerBatch>, base: Offset, now: Hlc) {
        if let Some(batch) = producer {
            self.producers.remember(id, &batch, base, now);
        }
    }

    /// Answers an append that was in flight when it was repeated: as the first one was answered, and
    /// if that did not come to be with a refusal that invites to try again.
    pub(crate) fn recall(
        &mut self,
        id: StreamId,
        producer: Option<ProducerBatch>,
        message_id: Option<&Bytes>,
        now: Hlc,
    ) -> Result<Reply, Refusal> {
        self.newest(id)?;
        let start = self.start_of(id).ok_or(Refusal::UnknownStream)?;
        if let Some(batch) = &producer {
            match self.judge(self.producers.get(id, batch.producer), batch) {
                Ok(Verdict::Duplicate(base)) => return Ok(Reply::Duplicate { base, start }),
                Ok(Verdict::Next) => {}
                // The batch before it did not come to be either. Who is told that one is missing
                // gives up; here the first of them is not even answered yet.
                Err(Refusal::OutOfOrderSequence) => return Err(Refusal::WrongOffset),
                Err(refusal) => return Err(refusal),
            }
        }
        // The window was looked at when the request came: it does not matter how long this took.
        let base = message_id.and_then(|message| self.dedup.last_seen(id, message)).ok_or(Refusal::WrongOffset)?;
        self.remember_number(id, producer, base, now);
        Ok(Reply::Duplicate { base, start })
    }

    /// `me` is this shard.
    pub(crate) fn trim(
        &mut self,
        id: StreamId,
        to: Offset,
        me: ShardId,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        // Of a stream that was here, what is left.
        let elsewhere = self.moved_to(id).map_or(Refusal::UnknownStream, Refusal::Moved);
        let stream = self.streams.get(&id).ok_or(elsewhere)?;
        if to > stream.end {
            return Err(Refusal::OffsetOutOfRange);
        }
        let first = stream.start;
        let to = if self.has(Canary::TrimTooFar) { to.plus(1).min(stream.end) } else { to };
        if self.start_of(id).is_some_and(|start| to > start) {
            self.trim_moved(id, to, me, outbox, effects)?;
            // What lies below may be older records, which are elsewhere.
            if to > first {
                self.move_start(id, to);
            }
            effects.push(Effect::StreamShrank(id));
        }
        let start = self.start_of(id).unwrap_or(to);
        if self.moved.get(&id).is_some() && self.streams.get(&id).is_some_and(|stream| stream.start == stream.end) {
            self.forget_range(id, effects);
        }
        Ok(Reply::Trimmed { start })
    }

    /// Moves a stream's start to `to`, or past what is settled from there on: nothing needs to
    /// remember a settled prefix.
    fn move_start(&mut self, id: StreamId, mut to: Offset) {
        if let Some(settled) = self.settled.get_mut(&id) {
            to = Offset(settled.first_gap(to.0));
            settled.remove_below(to.0);
            if settled.is_empty() {
                self.settled.remove(&id);
            }
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.trim(to);
        }
    }

    pub(crate) fn settle(
        &mut self,
        id: StreamId,
        ranges: &[(u64, u64)],
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let stream = self.streams.get(&id).ok_or(Refusal::UnknownStream)?;
        if stream.config.settlement != Settlement::Each {
            return Err(Refusal::Invalid(Fault::NotAQueue));
        }
        let (start, end) = (stream.start, stream.end);
        if ranges.iter().any(|(from, to)| from >= to || *to > end.0) {
            return Err(Refusal::OffsetOutOfRange);
        }
        let mut asked = IntervalSet::new();
        for (from, to) in ranges {
            asked.insert((*from).max(start.0)..(*to).max(start.0));
        }
        let none = IntervalSet::new();
        let settled = self.settled.get(&id).unwrap_or(&none);
        if asked.iter().all(|range| settled.covers(range)) {
            return Ok(Reply::Done);
        }
        // Intervals that touch become one. The one at the start, if there is one, is not remembered:
        // the start moves past it.
        let merged: usize = asked.iter().map(|range| settled.touching(&range)).sum();
        let intervals = settled.intervals() + asked.intervals() - merged;
        if intervals - usize::from(asked.contains(start.0)) > limit::SETTLED_INTERVALS_MAX {
            return Err(Refusal::LimitReached(Limit::SettledIntervals));
        }
        let settled = self.settled.get_or_insert_with(&id, IntervalSet::new);
        for range in asked.iter() {
            settled.insert(range);
        }
        if settled.contains(start.0) {
            self.move_start(id, start);
        }
        effects.push(Effect::StreamShrank(id));
        Ok(Reply::Done)
    }

    pub(crate) fn take_changes(&mut self, into: &mut Taken) {
        self.streams.take_changes(into);
        self.producers.rows.take_changes(into);
        self.settled.take_changes(into);
        self.dedup.ids.take_changes(into);
        self.groups.states.take_changes(into);
        self.groups.offsets.take_changes(into);
        self.gone.take_changes(into);
        self.moved.take_changes(into);
        self.older.take_changes(into);
    }

    /// Puts back an object of a checkpoint; `None` when the tag is not of these tables.
    pub(crate) fn restore(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Option<Result<(), WireError>> {
        Some(match tag {
            tag::STREAMS => self.streams.restore(key, value),
            tag::PRODUCERS => self.producers.rows.restore(key, value),
            tag::SETTLED => self.settled.restore(key, value),
            tag::DEDUP => self.dedup.ids.restore(key, value),
            tag::GROUPS => self.groups.states.restore(key, value),
            tag::OFFSETS => self.groups.offsets.restore(key, value),
            tag::GONE => self.gone.restore(key, value),
            tag::MOVED => self.moved.restore(key, value),
            tag::OLDER => self.older.restore(key, value),
            _ => return None,
        })
    }

    /// Makes what is derived from the tables.
    pub(crate) fn rebuild(&mut self) {
        self.producers.rebuild();
        self.dedup.rebuild();
        self.groups.rebuild();
    }

    pub(crate) fn dump(&self, each: &mut impl FnMut(&[u8], &[u8])) {
        self.streams.dump(&mut *each);
        self.producers.rows.dump(&mut *each);
        self.settled.dump(&mut *each);
        self.dedup.ids.dump(&mut *each);
        self.groups.states.dump(&mut *each);
        self.groups.offsets.dump(&mut *each);
        self.gone.dump(&mut *each);
        self.moved.dump(&mut *each);
        self.older.dump(&mut *each);
    }
}
