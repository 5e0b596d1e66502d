//! The producers that each stream remembers.

use super::producer::Producer;
use crate::command::ProducerBatch;
use crate::table::Table;
use model::{Hlc, Offset, ProducerId, StreamId, limit};
use std::collections::{BTreeMap, BTreeSet};

/// The producers of all streams.
#[derive(Debug)]
pub(crate) struct Producers {
    pub(crate) rows: Table<(StreamId, ProducerId), Producer>,
    /// Each stream's producers, the longest idle one first; made from the table.
    by_idleness: BTreeMap<StreamId, BTreeSet<(Hlc, ProducerId)>>,
}

impl Producers {
    pub(crate) fn new(tag: u8) -> Self {
        Producers { rows: Table::new(tag), by_idleness: BTreeMap::new() }
    }

    pub(crate) fn get(&self, stream: StreamId, producer: ProducerId) -> Option<&Producer> {
        self.rows.get(&(stream, producer))
    }

    /// Remembers `batch`, which was judged to be next.
    pub(crate) fn remember(&mut self, stream: StreamId, batch: &ProducerBatch, base: Offset, now: Hlc) {
        let known = self.rows.get(&(stream, batch.producer)).cloned();
        self.put(stream, batch.producer, Producer::remember(known, batch, base, now));
    }

    /// Remembers a producer. At the limit the longest idle one makes room for a new one.
    pub(crate) fn put(&mut self, stream: StreamId, id: ProducerId, producer: Producer) {
        let others = self.by_idleness.entry(stream).or_default();
        let makes_room = match self.rows.get(&(stream, id)) {
            Some(known) => Some((known.last_seen, id)),
            None if others.len() >= limit::STREAM_PRODUCERS_MAX => others.first().copied(),
            None => None,
        };
        if let Some((seen, idle)) = makes_room {
            others.remove(&(seen, idle));
            if idle != id {
                self.rows.remove(&(stream, idle));
            }
        }
        others.insert((producer.last_seen, id));
        self.rows.insert((stream, id), producer);
    }

    /// Forgets producers of `stream`, at most `left` of them, which it counts down. Returns whether
    /// none is left.
    pub(crate) fn forget_stream(&mut self, stream: StreamId, left: &mut usize) -> bool {
        let Some(producers) = self.by_idleness.get_mut(&stream) else { return true };
        while *left > 0
            && let Some((_, producer)) = producers.pop_first()
        {
            self.rows.remove(&(stream, producer));
            *left -= 1;
        }
        let none_left = producers.is_empty();
        if none_left {
            self.by_idleness.remove(&stream);
        }
        none_left
    }

    /// Makes what is derived from the table.
    pub(crate) fn rebuild(&mut self) {
        self.by_idleness.clear();
        for ((stream, producer), known) in self.rows.iter() {
            self.by_idleness.entry(*stream).or_default().insert((known.last_seen, *producer));
        }
    }
}
