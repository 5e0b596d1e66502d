//! The streams of a shard and the commands on them.

use super::dedup::Dedup;
use super::group::Groups;
use super::producer::{Producer, Verdict};
use super::stream::Stream;
use crate::command::ProducerBatch;
use crate::reply::{Effect, Refusal, Reply};
use crate::table::{Change, Table};
use bytes::Bytes;
use model::config::{Settlement, StreamConfig};
use model::wire::WireError;
use model::{Hlc, IntervalSet, Offset, PieceDesc, ProducerId, StreamId, limit};

/// Table tags. On disk: never reused.
mod tag {
    pub(super) const STREAMS: u8 = 16;
    pub(super) const PRODUCERS: u8 = 17;
    pub(super) const SETTLED: u8 = 18;
    pub(super) const DEDUP: u8 = 19;
    pub(super) const GROUPS: u8 = 20;
    pub(super) const OFFSETS: u8 = 21;
}

/// All of a shard's streams, and positions over streams of any shard.
#[derive(Debug)]
pub struct Messaging {
    pub(super) streams: Table<StreamId, Stream>,
    pub(super) producers: Table<(StreamId, ProducerId), Producer>,
    settled: Table<StreamId, IntervalSet>,
    /// Message ids within their windows.
    pub dedup: Dedup,
    /// Consumer groups.
    pub groups: Groups,
}

impl Messaging {
    pub(crate) fn new() -> Self {
        Messaging {
            streams: Table::new(tag::STREAMS),
            producers: Table::new(tag::PRODUCERS),
            settled: Table::new(tag::SETTLED),
            dedup: Dedup::new(tag::DEDUP),
            groups: Groups::new(tag::GROUPS, tag::OFFSETS),
        }
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

    /// The settled records of a queue above its start.
    #[must_use]
    pub fn settled(&self, id: StreamId) -> Option<&IntervalSet> {
        self.settled.get(&id)
    }

    /// What is known of a producer on a stream.
    #[must_use]
    pub fn producer(&self, stream: StreamId, producer: ProducerId) -> Option<&Producer> {
        self.producers.get(&(stream, producer))
    }

    pub(crate) fn create(&mut self, id: StreamId, config: StreamConfig, effects: &mut Vec<Effect>) -> Reply {
        // Ids are never reused, so a stream that is there was created by the same decision.
        if self.streams.get(&id).is_none() {
            self.streams.insert(id, Stream::new(config));
            effects.push(Effect::StreamMade(id));
        }
        Reply::Done
    }

    pub(crate) fn configure(&mut self, id: StreamId, config: StreamConfig) -> Reply {
        match self.streams.get_mut(&id) {
            Some(stream) => {
                stream.config = config;
                Reply::Done
            }
            None => Reply::Refused(Refusal::UnknownStream),
        }
    }

    pub(crate) fn delete(&mut self, id: StreamId, effects: &mut Vec<Effect>) -> Reply {
        self.groups.forget_stream(id);
        if self.streams.remove(&id) {
            self.settled.remove(&id);
            self.dedup.forget_stream(id);
            let range = (id, ProducerId(0))..=(id, ProducerId(u64::MAX));
            let producers: Vec<_> = self.producers.range(range).map(|(key, _)| *key).collect();
            for key in producers {
                self.producers.remove(&key);
            }
            effects.push(Effect::StreamGone(id));
        }
        Reply::Done
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
            return Err(Refusal::Invalid("append without pieces"));
        };
        let id = first.stream;
        let stream = self.streams.get(&id).ok_or(Refusal::UnknownStream)?;
        let mut next = stream.end;
        for piece in pieces {
            if piece.stream != id {
                return Err(Refusal::Invalid("append over two streams"));
            }
            if piece.base != next || stream.epochs.last().is_some_and(|(epoch, _)| piece.epoch < *epoch) {
                return Err(Refusal::WrongOffset);
            }
            if piece.length > stream.config.piece_bytes_max {
                return Err(Refusal::TooLarge);
            }
            next = piece.end();
        }
        if let Some(batch) = &producer {
            let known = self.producers.get(&(id, batch.producer));
            if let Verdict::Duplicate(base) = Producer::judge(known, batch)? {
                return Ok(Reply::Duplicate { base, start: stream.start });
            }
        }
        let window = stream.config.dedup_window_millis;
        if let Some(message) = message_id.as_ref().filter(|_| window > 0) {
            if let Some(base) = self.dedup.find(id, message, now) {
                return Ok(Reply::Duplicate { base, start: stream.start });
            }
            if message.len() > limit::DEDUP_ID_BYTES_MAX {
                return Err(Refusal::LimitReached("message id bytes"));
            }
            if !self.dedup.has_room(id) {
                return Err(Refusal::LimitReached("message ids in the window"));
            }
            self.dedup.remember(id, message, first.base, now.timestamp().plus(window));
        }
        if let Some(batch) = producer {
            self.remember_producer(id, &batch, first.base, now);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(Refusal::UnknownStream);
        };
        for piece in pieces {
            stream.enter_epoch(piece.epoch, term, piece.base);
            stream.end = piece.end();
            stream.max_timestamp = stream.max_timestamp.max(piece.max_timestamp);
            stream.bytes_appended += u64::from(piece.length);
        }
        effects.push(Effect::StreamGrew(id));
        Ok(Reply::Appended { base: first.base, start: stream.start })
    }

    fn remember_producer(&mut self, id: StreamId, batch: &ProducerBatch, base: Offset, now: Hlc) {
        let key = (id, batch.producer);
        let known = self.producers.get(&key).cloned();
        if known.is_none() {
            let all = (id, ProducerId(0))..=(id, ProducerId(u64::MAX));
            if self.producers.range(all.clone()).nth(limit::STREAM_PRODUCERS_MAX - 1).is_some() {
                let idle = self.producers.range(all).min_by_key(|(key, producer)| (producer.last_seen, **key));
                if let Some(idle) = idle.map(|(key, _)| *key) {
                    self.producers.remove(&idle);
                }
            }
        }
        self.producers.insert(key, Producer::remember(known, batch, base, now));
    }

    /// Answers an append that was in flight when it was repeated.
    pub(crate) fn recall(
        &self,
        id: StreamId,
        producer: Option<ProducerBatch>,
        message_id: Option<&Bytes>,
        now: Hlc,
    ) -> Result<Reply, Refusal> {
        let stream = self.streams.get(&id).ok_or(Refusal::UnknownStream)?;
        let start = stream.start;
        if let Some(batch) = producer {
            return match Producer::judge(self.producers.get(&(id, batch.producer)), &batch)? {
                Verdict::Duplicate(base) => Ok(Reply::Duplicate { base, start }),
                // The append that was in flight did not come to be.
                Verdict::Next => Err(Refusal::WrongOffset),
            };
        }
        let found = message_id.and_then(|message| self.dedup.find(id, message, now));
        found.map(|base| Reply::Duplicate { base, start }).ok_or(Refusal::WrongOffset)
    }

    pub(crate) fn trim(&mut self, id: StreamId, to: Offset, effects: &mut Vec<Effect>) -> Result<Reply, Refusal> {
        let stream = self.streams.get(&id).ok_or(Refusal::UnknownStream)?;
        if to > stream.end {
            return Err(Refusal::OffsetOutOfRange);
        }
        if to > stream.start {
            self.move_start(id, to);
            effects.push(Effect::StreamShrank(id));
        }
        let start = self.streams.get(&id).map_or(to, |stream| stream.start);
        Ok(Reply::Trimmed { start })
    }

    fn move_start(&mut self, id: StreamId, to: Offset) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.trim(to);
        }
        if let Some(settled) = self.settled.get_mut(&id) {
            settled.remove_below(to.0);
            if settled.is_empty() {
                self.settled.remove(&id);
            }
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
            return Err(Refusal::Invalid("the stream is not a queue"));
        }
        let (start, end) = (stream.start, stream.end);
        if ranges.iter().any(|(from, to)| from >= to || *to > end.0) {
            return Err(Refusal::OffsetOutOfRange);
        }
        let settled = self.settled.get_or_insert_with(&id, IntervalSet::new);
        if settled.intervals() + ranges.len() > limit::SETTLED_INTERVALS_MAX {
            return Err(Refusal::LimitReached("settled intervals"));
        }
        for (from, to) in ranges {
            settled.insert((*from).max(start.0)..(*to).max(start.0));
        }
        // A settled prefix is below the start: nothing needs to remember it.
        let new_start = settled.first_gap(start.0);
        if new_start > start.0 {
            self.move_start(id, Offset(new_start));
        }
        effects.push(Effect::StreamShrank(id));
        Ok(Reply::Done)
    }

    pub(crate) fn take_changes(&mut self, into: &mut Vec<Change>) {
        self.streams.take_changes(into);
        self.producers.take_changes(into);
        self.settled.take_changes(into);
        self.dedup.ids.take_changes(into);
        self.groups.states.take_changes(into);
        self.groups.offsets.take_changes(into);
    }

    /// Puts back an object of a checkpoint; `None` when the tag is not of these tables.
    pub(crate) fn restore(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Option<Result<(), WireError>> {
        Some(match tag {
            tag::STREAMS => self.streams.restore(key, value),
            tag::PRODUCERS => self.producers.restore(key, value),
            tag::SETTLED => self.settled.restore(key, value),
            tag::DEDUP => self.dedup.ids.restore(key, value),
            tag::GROUPS => self.groups.states.restore(key, value),
            tag::OFFSETS => self.groups.offsets.restore(key, value),
            _ => return None,
        })
    }

    pub(crate) fn dump(&self, each: &mut impl FnMut(&[u8], &[u8])) {
        self.streams.dump(&mut *each);
        self.producers.dump(&mut *each);
        self.settled.dump(&mut *each);
        self.dedup.ids.dump(&mut *each);
        self.groups.states.dump(&mut *each);
        self.groups.offsets.dump(&mut *each);
    }
}
