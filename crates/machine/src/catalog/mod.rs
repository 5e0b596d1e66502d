//! What every node knows: shards, topics and where their streams are, producer ids.

pub mod topic;

use crate::command::{Command, NewTopic};
use crate::outbox::Outbox;
use crate::reply::{Effect, Refusal, Reply};
use crate::table::{Change, Single, Table};
use model::checksum::crc32c;
use model::config::StreamConfig;
use model::wire::WireError;
use model::{Name, ProducerId, ShardId, StreamId, TopicId, limit};
use std::collections::BTreeMap;
use topic::{Partition, Topic};

/// Table tags. On disk: never reused.
mod tag {
    pub(super) const TOPICS: u8 = 64;
    pub(super) const SHARDS: u8 = 65;
    pub(super) const COUNTERS: u8 = 66;
}

model::wire_struct! {
    /// Numbers that only grow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Counters {
        next_stream: u64,
        next_producer: u64,
    }
}

impl Default for Counters {
    fn default() -> Self {
        Counters { next_stream: 1, next_producer: 1 }
    }
}

/// The catalog.
#[derive(Debug)]
pub struct Catalog {
    topics: Table<TopicId, Topic>,
    /// Streams placed on each shard.
    shards: Table<ShardId, u64>,
    counters: Single<Counters>,
    /// Topics by name; made from the table.
    names: BTreeMap<Name, TopicId>,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Catalog {
            topics: Table::new(tag::TOPICS),
            shards: Table::new(tag::SHARDS),
            counters: Single::new(tag::COUNTERS),
            names: BTreeMap::new(),
        }
    }

    /// The topic `id`.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The topic called `name`.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<(TopicId, &Topic)> {
        let id = *self.names.get(name)?;
        Some((id, self.topics.get(&id)?))
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        self.names.values().filter_map(|id| Some((*id, self.topics.get(id)?)))
    }

    /// The shards that streams are placed on, ascending.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards.iter().map(|(shard, _)| *shard)
    }

    /// The shard that a group, transactional id or session of this name belongs to.
    #[must_use]
    pub fn shard_of(&self, name: &str) -> Option<ShardId> {
        let slot = crc32c(name.as_bytes()) % limit::SLOTS;
        let count = self.shards.len();
        self.shards.iter().nth(slot as usize % count.max(1)).map(|(shard, _)| *shard)
    }

    pub(crate) fn add_shards(&mut self, shards: &[ShardId], effects: &mut Vec<Effect>) -> Reply {
        for shard in shards {
            if self.shards.get(shard).is_none() {
                self.shards.insert(*shard, 0);
            }
        }
        effects.push(Effect::CatalogChanged);
        Reply::Done
    }

    pub(crate) fn create_topic(
        &mut self,
        topic: NewTopic,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if let Some(id) = self.names.get(&topic.name) {
            // A proposal whose answer was lost comes again with the same identity.
            return if *id == topic.id { Ok(Reply::Topic(*id)) } else { Err(Refusal::NameTaken) };
        }
        if !(1..=limit::TOPIC_PARTITIONS_MAX).contains(&topic.partitions) {
            return Err(Refusal::InvalidPartitions);
        }
        if self.topics.get(&topic.id).is_some() || topic.id == TopicId::default() {
            return Err(Refusal::Invalid("topic id"));
        }
        if self.shards.is_empty() {
            return Err(Refusal::NoShards);
        }
        if !outbox.has_room(topic.partitions as usize) {
            return Err(Refusal::LimitReached("outbox"));
        }
        let mut partitions = Vec::with_capacity(topic.partitions as usize);
        for _ in 0..topic.partitions {
            let counters = self.counters.get_mut();
            let stream = StreamId(counters.next_stream);
            counters.next_stream += 1;
            let shard = self.place();
            outbox.put(shard, &Command::CreateStream { stream, config: topic.config.clone() });
            effects.push(Effect::OutboxFor(shard));
            partitions.push(Partition { stream, shard });
        }
        self.names.insert(topic.name.clone(), topic.id);
        self.topics.insert(topic.id, Topic { name: topic.name, partitions, config: topic.config });
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Topic(topic.id))
    }

    /// The shard with the fewest streams gets the next one.
    fn place(&mut self) -> ShardId {
        let emptiest = self.shards.iter().min_by_key(|(shard, streams)| (**streams, **shard));
        let shard = emptiest.map_or(ShardId::CATALOG, |(shard, _)| *shard);
        if let Some(streams) = self.shards.get_mut(&shard) {
            *streams += 1;
        }
        shard
    }

    pub(crate) fn delete_topic(
        &mut self,
        id: TopicId,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopic)?.clone();
        // Every shard may hold positions over the streams.
        let shards: Vec<ShardId> = self.shards.iter().map(|(shard, _)| *shard).collect();
        if !outbox.has_room(shards.len() * topic.partitions.len()) {
            return Err(Refusal::LimitReached("outbox"));
        }
        for partition in &topic.partitions {
            for shard in &shards {
                outbox.put(*shard, &Command::DeleteStream { stream: partition.stream });
            }
            if let Some(streams) = self.shards.get_mut(&partition.shard) {
                *streams -= 1;
            }
        }
        effects.extend(shards.into_iter().map(Effect::OutboxFor));
        self.names.remove(&topic.name);
        self.topics.remove(&id);
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    pub(crate) fn configure_topic(
        &mut self,
        id: TopicId,
        config: &StreamConfig,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let topic = self.topics.get_mut(&id).ok_or(Refusal::UnknownTopic)?;
        if !outbox.has_room(topic.partitions.len()) {
            return Err(Refusal::LimitReached("outbox"));
        }
        topic.config = config.clone();
        for partition in &topic.partitions {
            outbox.put(partition.shard, &Command::ConfigureStream { stream: partition.stream, config: config.clone() });
            effects.push(Effect::OutboxFor(partition.shard));
        }
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    pub(crate) fn allocate_producers(&mut self, count: u32) -> Reply {
        let counters = self.counters.get_mut();
        let first = counters.next_producer;
        counters.next_producer += u64::from(count);
        Reply::ProducerIds(ProducerId(first))
    }

    pub(crate) fn take_changes(&mut self, into: &mut Vec<Change>) {
        self.topics.take_changes(into);
        self.shards.take_changes(into);
        self.counters.table().take_changes(into);
    }

    /// Puts back an object of a checkpoint; `None` when the tag is not of these tables.
    pub(crate) fn restore(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Option<Result<(), WireError>> {
        Some(match tag {
            tag::TOPICS => self.topics.restore(key, value),
            tag::SHARDS => self.shards.restore(key, value),
            tag::COUNTERS => self.counters.table().restore(key, value),
            _ => return None,
        })
    }

    /// Makes what is derived from the tables.
    pub(crate) fn rebuild(&mut self) {
        self.names = self.topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
    }

    pub(crate) fn dump(&self, each: &mut impl FnMut(&[u8], &[u8])) {
        self.topics.dump(&mut *each);
        self.shards.dump(&mut *each);
        self.counters.dump(&mut *each);
    }
}
