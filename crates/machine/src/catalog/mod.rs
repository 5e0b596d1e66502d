//! What every node knows: shards, topics and where their streams are, producer ids; and from behaviour 2 on
//! nodes, where the replicas of shards are to be, and which shard the name of a group belongs to.

pub mod moves;
pub mod node;
pub mod placement;
pub mod slots;
pub mod topic;

use crate::command::{Command, NewTopic};
use crate::outbox::Outbox;
use crate::refusal::{Fault, Limit, Refusal};
use crate::reply::{Effect, Reply};
use crate::table::{Single, Table, Taken};
use model::config::StreamConfig;
use model::wire::WireError;
use model::{Name, NodeId, ProducerId, ShardId, StreamId, TopicId, limit};
use moves::Move;
use node::Nodes;
pub use node::{Endpoint, Node, NodeState};
pub use placement::Placement;
pub use slots::Slots;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use topic::{Partition, Topic};

/// Table tags. On disk: never reused.
mod tag {
    // 64 were topics without settings.
    pub(super) const TOPICS: u8 = 67;
    pub(super) const SHARDS: u8 = 65;
    pub(super) const COUNTERS: u8 = 66;
    pub(super) const NODES: u8 = 68;
    pub(super) const PLACEMENTS: u8 = 69;
    pub(super) const SLOTS: u8 = 70;
    pub(super) const GIVEN_UP: u8 = 72;
    pub(super) const MOVES: u8 = 71;
    pub(super) const OLDER: u8 = 73;
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
    nodes: Nodes,
    placements: Table<ShardId, Placement>,
    /// Empty until they are dealt out. No [`Single`], whose default would be part of the digest: catalogs of
    /// before behaviour 2 have to have the one that they always had.
    slots: Table<(), Slots>,
    /// The greatest number of a shard that was given up, if one was.
    given_up: Table<(), ShardId>,
    /// Streams that are on their way to another shard.
    moves: Table<StreamId, Move>,
    /// The shards that have older records of streams.
    older: Table<StreamId, ShardId>,
    /// Topics by name; made from the table.
    names: BTreeMap<Name, TopicId>,
    /// Topics by their streams, of which those that were made at once have numbers one after the other: by the first
    /// of them, with the partition that it is. Made from the table.
    rows: BTreeMap<StreamId, (TopicId, u32)>,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Catalog {
            topics: Table::new(tag::TOPICS),
            shards: Table::new(tag::SHARDS),
            counters: Single::new(tag::COUNTERS),
            nodes: Nodes::new(tag::NODES),
            placements: Table::new(tag::PLACEMENTS),
            slots: Table::new(tag::SLOTS),
            given_up: Table::new(tag::GIVEN_UP),
            moves: Table::new(tag::MOVES),
            older: Table::new(tag::OLDER),
            names: BTreeMap::new(),
            rows: BTreeMap::new(),
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

    /// The topic that a stream is a partition of, and which; nothing when it is none any more.
    #[must_use]
    pub fn partition_of(&self, stream: StreamId) -> Option<(TopicId, &Topic, u32)> {
        let (first, (id, nth)) = self.rows.range(..=stream).next_back()?;
        let topic = self.topics.get(id)?;
        let nth = u64::from(*nth) + (stream.0 - first.0);
        let is_it = topic.partitions.get(usize::try_from(nth).ok()?)?.stream == stream;
        is_it.then_some((*id, topic, nth as u32))
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
        let slot = slots::slot_of(name);
        match self.slots() {
            Some(slots) => slots.owner(slot),
            None => self.shards().nth(slots::by_rule(slot, self.shards.len())),
        }
    }

    /// The shard of each slot; none before behaviour 2, or without shards.
    #[must_use]
    pub fn slots(&self) -> Option<&Slots> {
        self.slots.get(&())
    }

    /// The nodes that there are or were, ascending by id: look at their state.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.rows.iter().map(|(id, node)| (*id, node))
    }

    /// The node `id`, which may have been removed.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.rows.get(&id)
    }

    /// Where the replicas of `shard` are to be, if that was ever said.
    #[must_use]
    pub fn placement(&self, shard: ShardId) -> Option<&Placement> {
        self.placements.get(&shard)
    }

    /// Where the replicas of all shards are to be, ascending by shard. The catalog's own may be among them.
    pub fn placements(&self) -> impl Iterator<Item = (ShardId, &Placement)> {
        self.placements.iter().map(|(shard, placement)| (*shard, placement))
    }

    /// Whether a shard was given up: there is none of this number, and there will be none.
    #[must_use]
    pub fn is_given_up(&self, shard: ShardId) -> bool {
        let is_known =
            shard == ShardId::CATALOG || self.shards.get(&shard).is_some() || self.placement(shard).is_some();
        !is_known && self.given_up.get(&()).is_some_and(|last| shard <= *last)
    }

    pub(crate) fn add_shards(&mut self, shards: &[ShardId], effects: &mut Vec<Effect>) -> Result<Reply, Refusal> {
        let new: BTreeSet<ShardId> = shards.iter().filter(|shard| self.shards.get(shard).is_none()).copied().collect();
        if new.contains(&ShardId::CATALOG) {
            return Err(Refusal::Invalid(Fault::CatalogHasNoStreams));
        }
        if self.shards.len() + new.len() > limit::SHARDS_MAX as usize {
            return Err(Refusal::LimitReached(Limit::Shards));
        }
        if new.iter().any(|shard| self.is_given_up(*shard)) {
            return Err(Refusal::UnknownShard);
        }
        for shard in new {
            self.shards.insert(shard, 0);
        }
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    /// Deals the slots out to the shards that there are, unless they are already: at the barrier to behaviour 2,
    /// or to the first shards after it. Shards that come later own none until they are assigned some.
    pub(crate) fn deal_slots(&mut self) {
        let shards: Vec<ShardId> = self.shards().collect();
        if self.slots.is_empty()
            && let Some(slots) = Slots::deal(&shards)
        {
            self.slots.insert((), slots);
        }
    }

    pub(crate) fn assign_slots(
        &mut self,
        first: u32,
        count: u32,
        shard: ShardId,
        revision: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if self.shards.get(&shard).is_none() {
            return Err(Refusal::UnknownShard);
        }
        // Where there is a shard, slots were dealt out to it or to one before it.
        let mut slots = self.slots().cloned().ok_or(Refusal::NoShards)?;
        slots.assign(first, count, shard, revision)?;
        self.slots.insert((), slots);
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    /// `version` is the behaviour in force.
    pub(crate) fn allocate_node(
        &mut self,
        node: Node,
        wanted: Option<NodeId>,
        version: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let id = self.nodes.allocate(node, wanted, version)?;
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Node(id))
    }

    /// `version` is the behaviour in force.
    pub(crate) fn update_node(
        &mut self,
        id: NodeId,
        node: Node,
        version: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        self.nodes.update(id, node, version)?;
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    pub(crate) fn set_node_state(
        &mut self,
        id: NodeId,
        state: NodeState,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let in_use = self.placements.iter().any(|(_, placement)| placement.replicas.contains(&id));
        if state == NodeState::Removed && in_use {
            return Err(Refusal::NodeInUse);
        }
        self.nodes.set_state(id, state)?;
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    /// The number of the next new shard: there has never been one of it.
    #[must_use]
    pub fn next_shard(&self) -> ShardId {
        let added = self.shards.iter().next_back().map_or(0, |(shard, _)| shard.0);
        let placed = self.placements.iter().next_back().map_or(0, |(shard, _)| shard.0);
        let given_up = self.given_up.get(&()).map_or(0, |shard| shard.0);
        ShardId(added.max(placed).max(given_up).saturating_add(1))
    }

    pub(crate) fn place_shard(
        &mut self,
        shard: ShardId,
        placement: Placement,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let is_known =
            shard == ShardId::CATALOG || self.shards.get(&shard).is_some() || self.placements.get(&shard).is_some();
        // A new shard is placed before it is added: streams go to shards that are there.
        if !is_known && shard != self.next_shard() {
            return Err(Refusal::UnknownShard);
        }
        if shard.0 > limit::SHARDS_MAX {
            return Err(Refusal::LimitReached(Limit::Shards));
        }
        let revision = self.placements.get(&shard).map_or(0, |known| known.revision);
        if placement.revision != revision {
            return Err(Refusal::Changed);
        }
        placement.check()?;
        placement.replicas.iter().try_for_each(|node| self.nodes.check_replica(*node))?;
        self.placements.insert(shard, Placement { revision: revision + 1, ..placement });
        effects.push(Effect::CatalogChanged);
        Ok(Reply::Done)
    }

    /// Only of a shard that was never added: streams and slots go to others, so nobody was ever told that
    /// anything is on it.
    pub(crate) fn give_up_shard(
        &mut self,
        shard: ShardId,
        revision: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let Some(placement) = self.placements.get(&shard).filter(|_| shard != ShardId::CATALOG) else {
            return Err(Refusal::UnknownShard);
        };
        if placement.revision != revision || self.shards.get(&shard).is_some() {
            return Err(Refusal::Changed);
        }
        self.placements.remove(&shard);
        let last = self.given_up.get(&()).map_or(shard, |last| shard.max(*last));
        self.given_up.insert((), last);
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
            return Err(Refusal::Invalid(Fault::TopicId));
        }
        if self.shards.is_empty() {
            return Err(Refusal::NoShards);
        }
        if self.names.len() >= limit::TOPICS_MAX {
            return Err(Refusal::LimitReached(Limit::Topics));
        }
        check_settings(&topic.settings)?;
        let partitions = self.new_streams(topic.partitions, &topic.config, outbox, effects)?;
        let NewTopic { name, id, config, settings, .. } = topic;
        self.names.insert(name.clone(), id);
        self.rows.extend(rows(id, &partitions));
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
            self.rows.extend(rows(id, &topic.partitions));
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
            return Err(Refusal::LimitReached(Limit::Streams));
        }
        if !outbox.has_room(self.shards.len().min(count as usize)) {
            return Err(Refusal::LimitReached(Limit::Outbox));
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
            return Err(Refusal::LimitReached(Limit::Outbox));
        }
        let streams = topic.partitions.iter().map(|partition| partition.stream).collect();
        outbox.put_for_all(&shards, &Command::DeleteStreams { streams });
        for partition in &topic.partitions {
            if let Some(streams) = self.shards.get_mut(&partition.shard) {
                *streams = streams.saturating_sub(1);
            }
            self.moves.remove(&partition.stream);
            self.older.remove(&partition.stream);
        }
        effects.extend(shards.into_iter().map(Effect::OutboxFor));
        self.names.remove(&topic.name);
        for (first, _) in rows(id, &topic.partitions) {
            self.rows.remove(&first);
        }
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
            let mut shards: Vec<_> = by_shard(&topic.partitions).into_iter().collect();
            shards.extend(self.older_by_shard(&topic.partitions));
            if !outbox.has_room(shards.len()) {
                return Err(Refusal::LimitReached(Limit::Outbox));
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
        self.nodes.rows.take_changes(into);
        self.placements.take_changes(into);
        self.slots.take_changes(into);
        self.given_up.take_changes(into);
        self.moves.take_changes(into);
        self.older.take_changes(into);
    }

    /// Puts back an object of a checkpoint; `None` when the tag is not of these tables.
    pub(crate) fn restore(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Option<Result<(), WireError>> {
        Some(match tag {
            tag::TOPICS => self.topics.restore(key, value),
            tag::SHARDS => self.shards.restore(key, value),
            tag::COUNTERS => self.counters.table().restore(key, value),
            tag::NODES => self.nodes.rows.restore(key, value),
            tag::PLACEMENTS => self.placements.restore(key, value),
            tag::SLOTS => self.slots.restore(key, value),
            tag::GIVEN_UP => self.given_up.restore(key, value),
            tag::MOVES => self.moves.restore(key, value),
            tag::OLDER => self.older.restore(key, value),
            _ => return None,
        })
    }

    /// Makes what is derived from the tables.
    pub(crate) fn rebuild(&mut self) {
        self.names = self.topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        self.rows = self.topics.iter().flat_map(|(id, topic)| rows(*id, &topic.partitions)).collect();
    }

    pub(crate) fn dump(&self, each: &mut impl FnMut(&[u8], &[u8])) {
        self.topics.dump(&mut *each);
        self.shards.dump(&mut *each);
        self.counters.dump(&mut *each);
        self.nodes.rows.dump(&mut *each);
        self.placements.dump(&mut *each);
        self.slots.dump(&mut *each);
        self.given_up.dump(&mut *each);
        self.moves.dump(&mut *each);
        self.older.dump(&mut *each);
    }
}

fn check_settings(settings: &[(String, String)]) -> Result<(), Refusal> {
    let bytes: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    let few = settings.len() <= limit::TOPIC_SETTINGS_MAX && bytes <= limit::TOPIC_SETTINGS_BYTES_MAX;
    if few { Ok(()) } else { Err(Refusal::LimitReached(Limit::TopicSettings)) }
}

/// Where streams of a topic with numbers one after the other begin.
fn rows(id: TopicId, partitions: &[Partition]) -> impl Iterator<Item = (StreamId, (TopicId, u32))> {
    let mut nth = 0;
    let rows = partitions.chunk_by(|one, next| next.stream.0 == one.stream.0.wrapping_add(1));
    rows.map(move |row| {
        let first = nth;
        nth += row.len() as u32;
        (row[0].stream, (id, first))
    })
}

/// The streams of each shard: whatever happens to a topic costs a shard one outbox item.
fn by_shard(partitions: &[Partition]) -> BTreeMap<ShardId, Vec<StreamId>> {
    let mut shards: BTreeMap<ShardId, Vec<StreamId>> = BTreeMap::new();
    for partition in partitions {
        shards.entry(partition.shard).or_default().push(partition.stream);
    }
    shards
}
