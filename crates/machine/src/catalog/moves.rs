//! Streams on their way from shard to shard, and where their older records are. See ADR 12.

use super::Catalog;
use super::topic::Partition;
use crate::command::Command;
use crate::outbox::Outbox;
use crate::refusal::{Fault, Limit, Refusal};
use crate::reply::{Effect, Reply};
use model::config::Settlement;
use model::{ShardId, StreamId, TopicId, limit};
use std::collections::BTreeMap;

model::wire_struct! {
    /// A stream that is on its way to another shard.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Move {
        /// Its topic.
        pub topic: TopicId,
        /// Which partition it is.
        pub partition: u32,
        /// Where it goes.
        pub to: ShardId,
    }
}

impl Catalog {
    /// The streams that are on their way, ascending.
    pub fn moves(&self) -> impl Iterator<Item = (StreamId, Move)> {
        self.moves.iter().map(|(stream, on_its_way)| (*stream, *on_its_way))
    }

    /// The shard that a stream is on its way to.
    #[must_use]
    pub fn moving_to(&self, stream: StreamId) -> Option<ShardId> {
        self.moves.get(&stream).map(|on_its_way| on_its_way.to)
    }

    /// The shard that has older records of a stream, if they are not where its newest are.
    #[must_use]
    pub fn older_of(&self, stream: StreamId) -> Option<ShardId> {
        self.older.get(&stream).copied()
    }

    /// Has a stream go to another shard.
    pub(crate) fn move_stream(
        &mut self,
        id: TopicId,
        partition: u32,
        to: ShardId,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopic)?;
        let place = topic.partitions.get(partition as usize).ok_or(Refusal::UnknownStream)?;
        let (stream, from) = (place.stream, place.shard);
        if self.shards.get(&to).is_none() {
            return Err(Refusal::UnknownShard);
        }
        if let Some(on_its_way) = self.moves.get(&stream) {
            return if on_its_way.to == to { Ok(Reply::Done) } else { Err(Refusal::Moving) };
        }
        if from == to {
            return Ok(Reply::Done);
        }
        if self.older.get(&stream).is_some() {
            return Err(Refusal::Moving);
        }
        if topic.config.settlement == Settlement::Each {
            return Err(Refusal::Invalid(Fault::Queue));
        }
        if self.moves.len() >= limit::MOVES_MAX {
            return Err(Refusal::LimitReached(Limit::Moves));
        }
        if !outbox.has_room(1) {
            return Err(Refusal::LimitReached(Limit::Outbox));
        }
        self.moves.insert(stream, Move { topic: id, partition, to });
        outbox.put(from, &Command::FenceStream { stream, to });
        effects.extend([Effect::OutboxFor(from), Effect::CatalogChanged]);
        Ok(Reply::Done)
    }

    /// A shard has taken over a stream: it is there from now on. One of a topic that was deleted meanwhile goes.
    pub(crate) fn stream_adopted(
        &mut self,
        stream: StreamId,
        by: ShardId,
        has_older: bool,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let Some(Move { topic, partition, .. }) = self.moves.get(&stream).copied().filter(|known| known.to == by)
        else {
            if self.partition_of(stream).is_none() {
                outbox.put(by, &Command::DeleteStreams { streams: vec![stream] });
                effects.push(Effect::OutboxFor(by));
            }
            return Reply::Done;
        };
        self.moves.remove(&stream);
        let Some(topic) = self.topics.get_mut(&topic) else { return Reply::Done };
        // A change of the configuration may have been on its way to where the stream was.
        outbox.put(by, &Command::ConfigureStream { stream, config: topic.config.clone() });
        let Some(place) = topic.partitions.get_mut(partition as usize) else { return Reply::Done };
        let from = std::mem::replace(&mut place.shard, by);
        if has_older {
            self.older.insert(stream, from);
        }
        if let Some(streams) = self.shards.get_mut(&from) {
            *streams = streams.saturating_sub(1);
        }
        if let Some(streams) = self.shards.get_mut(&by) {
            *streams += 1;
        }
        effects.extend([Effect::OutboxFor(by), Effect::CatalogChanged]);
        Reply::Done
    }

    /// Of a stream nothing is left in the shard that it was in before.
    pub(crate) fn older_gone(&mut self, stream: StreamId, effects: &mut Vec<Effect>) -> Reply {
        if self.older.remove(&stream) {
            effects.push(Effect::CatalogChanged);
        }
        Reply::Done
    }

    /// The streams among `partitions` of which a shard has older records, by shard.
    pub(super) fn older_by_shard(&self, partitions: &[Partition]) -> BTreeMap<ShardId, Vec<StreamId>> {
        let mut shards: BTreeMap<ShardId, Vec<StreamId>> = BTreeMap::new();
        for stream in partitions.iter().map(|partition| partition.stream) {
            if let Some(shard) = self.older_of(stream) {
                shards.entry(shard).or_default().push(stream);
            }
        }
        shards
    }
}
