//! What a sequencer has in flight on one stream, and whether it came to be.

use super::producer::Producer;
use bytes::Bytes;
use model::{Hlc, LeaderEpoch, Offset, ProducerId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// A message id in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingId {
    /// The entry that it is in.
    pub(super) ticket: u64,
    /// From when on the id is free again.
    pub(super) until: Timestamp,
}

/// What is in flight on one stream: a guess of the state after it.
///
/// The guess is that every append is accepted. The stream's end tells whether that holds: appends
/// follow each other without gaps, so when one is refused the end stops in front of it, at a place
/// where no guess had it after that entry, and everything sequenced behind it is refused as well.
/// Then the guess starts again from the state. What was in flight changes nothing any more, being
/// for offsets beyond the end, and is applied before anything that comes now.
#[derive(Debug)]
pub(super) struct Pending {
    /// The offset that the next piece gets.
    pub(super) next: Offset,
    /// The epoch of all pieces of this leader.
    pub(super) epoch: LeaderEpoch,
    /// The last entry in flight that touches the stream.
    ticket: u64,
    /// Where the stream ends now, without the entries in flight.
    end: Offset,
    /// Where it will end after each entry in flight.
    ends: VecDeque<(u64, Offset)>,
    /// Producers after their batches in flight, and the entry with the last one.
    producers: BTreeMap<ProducerId, (u64, Producer)>,
    message_ids: BTreeMap<Bytes, PendingId>,
    /// Producers with batches in flight that will be refused, and the last entry with such a batch.
    failing: BTreeMap<ProducerId, u64>,
}

impl Pending {
    /// Nothing in flight on a stream that ends at `end`.
    pub(super) fn new(end: Offset, epoch: LeaderEpoch) -> Self {
        Pending {
            next: end,
            epoch,
            ticket: 0,
            end,
            ends: VecDeque::new(),
            producers: BTreeMap::new(),
            message_ids: BTreeMap::new(),
            failing: BTreeMap::new(),
        }
    }

    /// Starts again from the state, in which the stream ends at `end`, if that is not as guessed.
    ///
    /// The state may be ahead of what [`Pending::on_applied`] was told. So the end may be that of any
    /// entry in flight, and where the stream stopped at one of them is only seen when the next is told.
    pub(super) fn believe(&mut self, end: Offset) {
        if end == self.end || self.ends.iter().any(|(_, guessed)| *guessed == end) {
            return;
        }
        self.next = end;
        self.end = end;
        self.ends.clear();
        self.message_ids.clear();
        self.failing.extend(std::mem::take(&mut self.producers).into_iter().map(|(id, (ticket, _))| (id, ticket)));
    }

    /// Entries up to `ticket` have been applied. Returns whether anything is still in flight.
    pub(super) fn on_applied(&mut self, ticket: u64) -> bool {
        while let Some((_, end)) = self.ends.pop_front_if(|(of, _)| *of <= ticket) {
            self.end = end;
        }
        self.producers.retain(|_, (of, _)| *of > ticket);
        self.message_ids.retain(|_, id| id.ticket > ticket);
        self.failing.retain(|_, of| *of > ticket);
        self.ticket > ticket
    }

    /// Entry `ticket` takes the stream's end to `next`.
    pub(super) fn grow(&mut self, ticket: u64) {
        self.ticket = ticket;
        match self.ends.back_mut() {
            Some((last, end)) if *last == ticket => *end = self.next,
            _ => self.ends.push_back((ticket, self.next)),
        }
    }

    /// The producer after its batches in flight, if it has any.
    pub(super) fn producer(&self, id: ProducerId) -> Option<&Producer> {
        self.producers.get(&id).map(|(_, producer)| producer)
    }

    /// Entry `ticket` makes a producer this one.
    pub(super) fn put_producer(&mut self, id: ProducerId, producer: Producer, ticket: u64) {
        self.ticket = ticket;
        self.producers.insert(id, (ticket, producer));
    }

    /// Whether batches of the producer are in flight that will be refused.
    pub(super) fn is_failing(&self, id: ProducerId) -> bool {
        self.failing.contains_key(&id)
    }

    /// Whether a message id is in flight and counts in entry `ticket`. An entry has one time, so no
    /// id expires within it.
    pub(super) fn has_message_id(&self, id: &Bytes, ticket: u64, now: Hlc) -> bool {
        self.message_ids.get(id).is_some_and(|seen| seen.ticket == ticket || seen.until > now.timestamp())
    }

    /// How many message ids are in flight.
    pub(super) fn message_id_count(&self) -> usize {
        self.message_ids.len()
    }

    /// Puts a message id in flight.
    pub(super) fn put_message_id(&mut self, id: Bytes, seen: PendingId) {
        self.ticket = seen.ticket;
        self.message_ids.insert(id, seen);
    }
}
