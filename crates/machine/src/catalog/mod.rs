//! What every node knows: shards, topics and where their streams are, producer ids.

pub mod topic;

use crate::command::{Command, NewTopic};
use crate::outbox::Outbox;
use crate::reply::{Effect, Refusal, Reply};
use crate::table::{Single, Table, Taken};
use model::checksum::crc32c;
use model::config::StreamConfig;
use model::wire::WireError;
use model::{Name, ProducerId, ShardId, StreamId, TopicId, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use topic::{Partition, Topic};

/// Table tags. On disk: never reused.
mod tag {
    // 64 were topics without settings.
    pub(super) const TOPICS: u8 = 67;
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

    /// Topics by name, from this name on.
    pub fn topics_from<'a>(&'a self, name: &str) -> Box<dyn Iterator<Item = (TopicId, &'a Topic)> + 'a> {
        self.topics_in((Bound::Included(name), Bound::Unbounded))
    }

    /// Topics by name, behind this name.
    pub fn topics_after<'a>(&'a self, name: &str) -> Box<dyn Iterator<Item = (TopicId, &'a Topic)> + 'a> {
        self.topics_in((Bound::Excluded(name), Bound::Unbounded))
    }

    fn topics_in<'a>(
        &'a self,
        names: (Bound<&str>, Bound<&str>),
    ) -> Box<dyn Iterator<Item = (TopicId, &'a Topic)> + 'a> {
        Box::new(self.names.range::<str, _>(names).filter_map(|(_, id)| Some((*id, self.topics.get(id)?))))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.names.len()
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

    pub(crate) fn add_shards(&mut self, shards: &[ShardId], effects: &mut Vec<Effect>) -> Result<Reply, Refusal> {
        let new: BTreeSet<ShardId> = shards.iter().filter(|shard| self.shards.get(shard).is_none()).copied().collect();
        if new.contains(&ShardId::CATALOG) {
            return Err(Refusal::Invalid("the catalog's shard has no streams"));
        }
        if self.shards.len() + new.len() > limit::SHARDS_MAX as usize {
            return Err(Refusal::LimitReached("shards"));
        }
        for shard in new {
            self.shards.insert(shard, 0);
        }
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
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
        if self.names.len() >= limit::TOPICS_MAX {
            return Err(Refusal::LimitReached("topics"));
        }
        check_settings(&topic.settings)?;
        let partitions = self.new_streams(topic.partitions, &topic.config, outbox, effects)?;
        let NewTopic { name, id, config, settings, .. } = topic;
        self.names.insert(name.clone(), id);
        self.topics.insert(id, Topic { name, partitions, config, settings, revision: 0 });
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Topic(id))
    }

    pub(crate) fn add_partitions(
        &mut self,
        id: TopicId,
        partitions: u32,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopic)?;
        let (known, config) = (topic.partitions.len() as u32, topic.config.clone());
        if partitions <= known {
            return Err(Refusal::EnoughPartitions(known));
        }
        if partitions > limit::TOPIC_PARTITIONS_MAX {
            return Err(Refusal::InvalidPartitions);
        }
        let new = self.new_streams(partitions - known, &config, outbox, effects)?;
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions.extend(new);
        }
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Topic(id))
    }

    /// Places `count` streams and has their shards make them.
    fn new_streams(
        &mut self,
        count: u32,
        config: &StreamConfig,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Partition>, Refusal> {
        let streams: u64 = self.shards.iter().map(|(_, streams)| *streams).sum();
        if streams + u64::from(count) > limit::STREAMS_MAX {
            return Err(Refusal::LimitReached("streams"));
        }
        if !outbox.has_room(self.shards.len().min(count as usize)) {
            return Err(Refusal::LimitReached("outbox"));
        }
        let first = self.counters.get().next_stream;
        self.counters.get_mut().next_stream += u64::from(count);
        let partitions: Vec<Partition> = (first..)
            .zip(self.place(count))
            .map(|(stream, shard)| Partition { stream: StreamId(stream), shard })
            .collect();
        for (shard, streams) in by_shard(&partitions) {
            outbox.put(shard, &Command::CreateStreams { streams, config: config.clone() });
            effects.push(Effect::OutboxFor(shard));
        }
        Ok(partitions)
    }

    /// The shards of `count` new streams: the one with the fewest gets the next.
    fn place(&mut self, count: u32) -> Vec<ShardId> {
        let mut by_streams: BTreeSet<(u64, ShardId)> =
            self.shards.iter().map(|(shard, streams)| (*streams, *shard)).collect();
        let mut placed = Vec::with_capacity(count as usize);
        while placed.len() < count as usize
            && let Some((streams, shard)) = by_streams.pop_first()
        {
            by_streams.insert((streams + 1, shard));
            placed.push(shard);
        }
        for shard in &placed {
            if let Some(streams) = self.shards.get_mut(shard) {
                *streams += 1;
            }
        }
        placed
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
        if !outbox.has_room(shards.len()) {
            return Err(Refusal::LimitReached("outbox"));
        }
        let streams = topic.partitions.iter().map(|partition| partition.stream).collect();
        outbox.put_for_all(&shards, &Command::DeleteStreams { streams });
        for partition in &topic.partitions {
            if let Some(streams) = self.shards.get_mut(&partition.shard) {
                *streams = streams.saturating_sub(1);
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
        revision: u64,
        config: StreamConfig,
        settings: Vec<(String, String)>,
        outbox: &mut Outbox,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopic)?;
        if topic.revision != revision {
            return Err(Refusal::Changed);
        }
        check_settings(&settings)?;
        if topic.config != config {
            let shards = by_shard(&topic.partitions);
            if !outbox.has_room(shards.len()) {
                return Err(Refusal::LimitReached("outbox"));
            }
            for (shard, streams) in shards {
                outbox.put(shard, &Command::ConfigureStreams { streams, config: config.clone() });
                effects.push(Effect::OutboxFor(shard));
            }
        }
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.revision += 1;
            topic.config = config;
            topic.settings = settings;
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

    pub(crate) fn take_changes(&mut self, into: &mut Taken) {
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

fn check_settings(settings: &[(String, String)]) -> Result<(), Refusal> {
    let bytes: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    let few = settings.len() <= limit::TOPIC_SETTINGS_MAX && bytes <= limit::TOPIC_SETTINGS_BYTES_MAX;
    if few { Ok(()) } else { Err(Refusal::LimitReached("settings of a topic")) }
}

/// The streams of each shard: whatever happens to a topic costs a shard one outbox item.
fn by_shard(partitions: &[Partition]) -> BTreeMap<ShardId, Vec<StreamId>> {
    let mut shards: BTreeMap<ShardId, Vec<StreamId>> = BTreeMap::new();
    for partition in partitions {
        shards.entry(partition.shard).or_default().push(partition.stream);
    }
    shards
}
