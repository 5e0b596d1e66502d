//! A stream that moves to another shard: fenced here, adopted there, its older records left behind.
//!
//! The shard that has the newest range is the stream's authority: it alone knows where the stream starts, and which
//! numbers producers have used. The other keeps the records below the fence until they expire or are trimmed, and
//! says so. See ADR 12.

use super::producer::Producer;
use super::stream::Stream;
use super::streams::Messaging;
use crate::canary::Canary;
use crate::command::{AdoptedId, AdoptedProducer, Adoption, Command};
use crate::outbox::Outbox;
use crate::refusal::{Fault, Limit, Refusal};
use crate::reply::{Effect, Reply};
use model::config::Settlement;
use model::{LeaderEpoch, Offset, ProducerId, ShardId, StreamId, limit};

model::wire_struct! {
    /// Records of a stream that are in the shard it was in before.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Older {
        /// That shard.
        pub shard: ShardId,
        /// The first of them. They end where the stream begins here.
        pub start: Offset,
    }
}

/// Producers in the order in which iterating over a hash map shows them: on each replica another one.
#[cfg(feature = "canary")]
#[expect(clippy::disallowed_types, reason = "the fault that the simulator has to find")]
fn as_a_hash_map_says(producers: Vec<AdoptedProducer>) -> Vec<AdoptedProducer> {
    let producers = producers.into_iter().map(|producer| (producer.id, producer));
    producers.collect::<std::collections::HashMap<_, _>>().into_values().collect()
}

impl Messaging {
    /// Where a stream is continued that was here.
    #[must_use]
    pub fn moved_to(&self, id: StreamId) -> Option<ShardId> {
        self.moved.get(&id).copied()
    }

    /// The records of a stream that are still in the shard it was in before.
    #[must_use]
    pub fn older(&self, id: StreamId) -> Option<Older> {
        self.older.get(&id).copied()
    }

    /// The first offset of a stream, wherever the record is.
    #[must_use]
    pub fn start_of(&self, id: StreamId) -> Option<Offset> {
        let stream = self.streams.get(&id)?;
        Some(self.older(id).map_or(stream.start, |older| older.start))
    }

    /// The stream whose newest range is here.
    pub(super) fn newest(&self, id: StreamId) -> Result<&Stream, Refusal> {
        match self.moved.get(&id) {
            Some(to) => Err(Refusal::Moved(*to)),
            None => self.streams.get(&id).ok_or(Refusal::UnknownStream),
        }
    }

    /// Ends a stream here, for it to go on in shard `to`, which is told all that is known of it. `me` is this shard,
    /// and `term` the one of the entry.
    pub(crate) fn fence(
        &mut self,
        id: StreamId,
        to: ShardId,
        (me, term): (ShardId, u64),
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let stream = self.newest(id)?;
        if stream.config.settlement == Settlement::Each {
            return Err(Refusal::Invalid(Fault::Queue));
        }
        if self.older.get(&id).is_some() {
            return Err(Refusal::Moving);
        }
        if to == me || to == ShardId::CATALOG {
            return Err(Refusal::UnknownShard);
        }
        let Stream { config, start, end, epochs, max_timestamp, bytes_appended, .. } = stream.clone();
        // What any leader here may have shown is below it.
        let epoch = LeaderEpoch(stream.epoch_in(term).0.saturating_add(1));
        for command in self.rows_to_adopt(id) {
            outbox.put(to, &command);
        }
        let adoption = Adoption { from: me, config, start, end, epochs, epoch, max_timestamp, bytes_appended };
        outbox.put(to, &Command::AdoptStream { stream: id, adoption });
        if self.has(Canary::UnfencedMove) {
            effects.push(Effect::OutboxFor(to));
            return Ok(Reply::Done);
        }
        // As much work as sending them was.
        let mut all = usize::MAX;
        self.producers.forget_stream(id, &mut all);
        self.dedup.forget_stream(id, &mut all);
        self.moved.insert(id, to);
        // Whoever waits for more looks elsewhere.
        effects.push(Effect::StreamGrew(id));
        effects.push(Effect::OutboxFor(to));
        if start == end {
            self.forget_range(id, effects);
        }
        Ok(Reply::Done)
    }

    /// The producers and message ids of a stream, as commands that each fit an entry with room to spare.
    fn rows_to_adopt(&self, stream: StreamId) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.has(Canary::ForgetfulMove) {
            return commands;
        }
        let producers = self.producers.rows.range((stream, ProducerId(0))..=(stream, ProducerId(u64::MAX)));
        let producers: Vec<AdoptedProducer> =
            producers.map(|((_, id), known)| AdoptedProducer { id: *id, known: known.clone() }).collect();
        #[cfg(feature = "canary")]
        let producers = if self.dedup.iterates_over_hash_map { as_a_hash_map_says(producers) } else { producers };
        for some in producers.chunks(limit::ADOPTED_ROWS_MAX) {
            commands.push(Command::AdoptProducers { stream, producers: some.to_vec() });
        }
        let ids: Vec<AdoptedId> =
            self.dedup.of_stream(stream).map(|(id, seen)| AdoptedId { id: id.clone(), seen: *seen }).collect();
        for some in ids.chunks(limit::ADOPTED_ROWS_MAX) {
            commands.push(Command::AdoptIds { stream, ids: some.to_vec() });
        }
        commands
    }

    pub(crate) fn adopt_producers(&mut self, id: StreamId, producers: Vec<AdoptedProducer>) -> Result<Reply, Refusal> {
        let few = |known: &Producer| known.batches.len() <= limit::PRODUCER_BATCHES_MAX;
        if producers.len() > limit::ADOPTED_ROWS_MAX || !producers.iter().all(|producer| few(&producer.known)) {
            return Err(Refusal::Invalid(Fault::Adoption));
        }
        self.check_unknown(id)?;
        for AdoptedProducer { id: producer, known } in producers {
            self.producers.put(id, producer, known);
        }
        Ok(Reply::Done)
    }

    pub(crate) fn adopt_ids(&mut self, id: StreamId, ids: Vec<AdoptedId>) -> Result<Reply, Refusal> {
        let fits = |adopted: &AdoptedId| adopted.id.len() <= limit::DEDUP_ID_BYTES_MAX;
        if ids.len() > limit::ADOPTED_ROWS_MAX || !ids.iter().all(fits) {
            return Err(Refusal::Invalid(Fault::Adoption));
        }
        self.check_unknown(id)?;
        for AdoptedId { id: message, seen } in ids {
            self.dedup.remember(id, &message, seen.base, seen.until);
        }
        Ok(Reply::Done)
    }

    /// Makes a stream that goes on here from where it was fenced. `me` is this shard, and `term` the one of the entry.
    pub(crate) fn adopt(
        &mut self,
        id: StreamId,
        adoption: Adoption,
        (me, term): (ShardId, u64),
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if !adoption.fits_together() {
            return Err(Refusal::Invalid(Fault::Adoption));
        }
        self.check_unknown(id)?;
        self.moved.remove(&id);
        let (start, shard, has_older) = (adoption.start, adoption.from, adoption.start < adoption.end);
        self.streams.insert(id, Stream::adopted(adoption, term));
        if has_older {
            self.older.insert(id, Older { shard, start });
        }
        effects.push(Effect::StreamMade(id));
        self.tell(outbox, ShardId::CATALOG, Command::StreamAdopted { stream: id, by: me, has_older }, effects);
        Ok(Reply::Done)
    }

    /// Ids are never reused, so a stream that is to come is not here, and was not deleted here meanwhile. There may be
    /// something left of when it was here before, of which nobody knows any more: the catalog lets nothing move
    /// before.
    fn check_unknown(&self, id: StreamId) -> Result<(), Refusal> {
        let is_here = self.streams.get(&id).is_some() && self.moved.get(&id).is_none();
        let known = is_here || self.gone.get(&id).is_some();
        if known { Err(Refusal::Invalid(Fault::StreamIdUsed)) } else { Ok(()) }
    }

    /// The older records of a stream start at `start`, says the shard that has them.
    pub(crate) fn older_starts(
        &mut self,
        id: StreamId,
        from: ShardId,
        start: Offset,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let end = self.streams.get(&id).map(|stream| stream.start);
        if let Some(older) = self.older.get_mut(&id).filter(|older| older.shard == from) {
            older.start = older.start.max(start);
            self.forget_epochs(id);
            if end.is_none_or(|end| start >= end) {
                self.forget_older(id, outbox, effects);
            }
            effects.push(Effect::StreamShrank(id));
        }
        Reply::Done
    }

    /// Has the other shard hear that what lies below `to` goes, of a stream whose records are in two.
    pub(super) fn trim_moved(
        &mut self,
        id: StreamId,
        to: Offset,
        me: ShardId,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let (older, moved) = (self.older(id), self.moved_to(id));
        if let Some(older) = older {
            if !outbox.has_room(1) {
                return Err(Refusal::LimitReached(Limit::Outbox));
            }
            let first = self.streams.get(&id).map_or(to, |stream| stream.start);
            self.tell(outbox, older.shard, Command::Trim { stream: id, to: to.min(first) }, effects);
            match self.older.get_mut(&id).filter(|_| to < first) {
                Some(older) => {
                    older.start = to;
                    self.forget_epochs(id);
                }
                None => self.forget_older(id, outbox, effects),
            }
        }
        // Where there is no room, the next time it goes will tell, and the last time is told in any case.
        let end = self.streams.get(&id).map(|stream| stream.end);
        if let Some(newest) = moved.filter(|_| outbox.has_room(1) || end == Some(to)) {
            self.tell(outbox, newest, Command::OlderStarts { stream: id, from: me, start: to }, effects);
        }
        Ok(())
    }

    /// Forgets the range of a stream that is continued elsewhere and of which nothing is left here.
    pub(super) fn forget_range(&mut self, id: StreamId, effects: &mut Vec<Effect>) {
        self.streams.remove(&id);
        effects.push(Effect::StreamGone(id));
    }

    fn forget_older(&mut self, id: StreamId, outbox: &mut Outbox, effects: &mut Vec<Effect>) {
        self.older.remove(&id);
        self.forget_epochs(id);
        self.tell(outbox, ShardId::CATALOG, Command::OlderGone { stream: id }, effects);
    }

    /// Forgets the leader epochs of records that are gone.
    fn forget_epochs(&mut self, id: StreamId) {
        if let Some(start) = self.start_of(id)
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.forget_epochs_below(start);
        }
    }

    fn tell(&self, outbox: &mut Outbox, to: ShardId, command: Command, effects: &mut Vec<Effect>) {
        outbox.put(to, &command);
        effects.push(Effect::OutboxFor(to));
    }
}
