//! The groups of a node and how far they are behind, for metrics: all at a time, with bounded work.
//!
//! It is found out when somebody asks, from copies: streams' ends and groups' positions are taken from the
//! shards' states a few at a time. How old the next record to be consumed is, the journal's index says:
//! without reading a record, and so no more exactly than by the newest record of the same batch, or of a
//! run of small batches that lie together. For what was written a while ago it reads a table, which it
//! does for a limited time only: what remains unknown then is looked up the next time, for what was found
//! is remembered.

use crate::broker::{Broker, Inner};
use crate::group::GroupState;
use crate::lag::age;
use crate::roster::Roster;
use crate::usage::STREAMS_AT_ONCE;
use machine::catalog::topic::Partition;
use model::{Offset, ShardId, StreamId, Timestamp, TopicId, limit};
use shard::Shard;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Topics looked at while the catalog's state is held.
const TOPICS_AT_ONCE: usize = 64;
/// How long tables may be read to find out how old records are. One is read in any case.
const TABLES_TIME: Duration = Duration::from_millis(100);

/// How far a group is behind in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLag {
    /// The group.
    pub group: String,
    /// The topic's name.
    pub topic: String,
    /// How far.
    pub lag: LagSum,
}

/// How far groups are behind, over several partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagSum {
    /// Records left to consume, as offsets count them.
    pub records: u64,
    /// The age of the oldest of them, in milliseconds: 0 when there is none, `None` when it is not known of
    /// any.
    pub millis: Option<u64>,
}

impl LagSum {
    fn add(&mut self, other: LagSum) {
        self.records += other.records;
        // As old as this at least, where of some it is not known.
        self.millis = self.millis.max(other.millis);
    }
}

/// A group, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupUsage {
    /// Its name.
    pub name: String,
    /// How many members it has.
    pub members: usize,
}

/// The groups that this node coordinates.
#[derive(Clone, Debug, Default)]
pub struct GroupUsages {
    /// Those that are shown, by name.
    pub shown: Vec<GroupUsage>,
    /// How many groups are not shown, and how many members these have.
    pub folded: (usize, usize),
    /// How many groups are in each state.
    pub states: BTreeMap<&'static str, usize>,
    /// How far groups are behind, of pairs that are shown.
    pub lags: Vec<TopicLag>,
    /// How many pairs of a group and a topic are not shown, and how far these are behind.
    pub folded_lags: (usize, LagSum),
    /// Positions of which is not known how old the next record is.
    pub unknown: usize,
    /// Positions that were not looked at because there are too many.
    pub skipped: usize,
}

/// What is remembered from one look at all groups to the next.
#[derive(Debug)]
pub(crate) struct Remembered {
    groups: Roster<String>,
    /// Of the names of a group and a topic.
    pairs: Roster<(String, String)>,
    ages: Ages,
}

impl Default for Remembered {
    fn default() -> Self {
        let (groups, pairs) = (Roster::new(limit::METRIC_GROUPS_MAX), Roster::new(limit::METRIC_LAGS_MAX));
        Remembered { groups, pairs, ages: Ages::default() }
    }
}

/// Timestamps of what groups consume next, as far as they are known.
#[derive(Debug, Default)]
struct Ages {
    known: BTreeMap<(StreamId, Offset), Timestamp>,
    /// Where to go on with what is not.
    turn: usize,
}

/// A committed position of one of the groups that are looked at.
struct Position {
    group: usize,
    stream: StreamId,
    committed: Offset,
}

/// Of which topic a stream is, and where it starts and ends.
struct Found {
    topic: TopicId,
    place: Partition,
    bounds: Option<(Offset, Offset)>,
}

/// The streams that positions are over.
#[derive(Default)]
struct Streams {
    names: BTreeMap<TopicId, String>,
    found: BTreeMap<StreamId, Found>,
}

impl Streams {
    /// Where a position's stream starts and ends; `None` when it is gone or elsewhere.
    fn of(&self, position: &Position) -> Option<(&Found, Offset, Offset)> {
        let found = self.found.get(&position.stream)?;
        let (start, end) = found.bounds?;
        Some((found, start, end))
    }
}

impl Broker {
    /// The groups that this node coordinates, and how far they are behind. The first
    /// [`limit::METRIC_GROUPS_MAX`] that are seen are shown, and so many pairs of a group and a topic as
    /// [`limit::METRIC_LAGS_MAX`] says.
    pub async fn group_usages(&self) -> GroupUsages {
        let mut remembered = self.inner.seen_groups.clone().lock_owned().await;
        let groups = self.coordinated_groups().await;
        let inner = self.inner.clone();
        // Whoever asked may be gone before it ends: what is remembered stays.
        let look = move || inner.group_usages(&groups, &mut remembered);
        self.inner.world.blocking(look).await.unwrap_or_default()
    }
}

/// A group that this node coordinates.
pub(crate) struct Coordinated {
    pub(crate) shard: ShardId,
    pub(crate) name: String,
    pub(crate) state: GroupState,
    pub(crate) members: usize,
}

impl Inner {
    fn group_usages(&self, groups: &[Coordinated], memory: &mut Remembered) -> GroupUsages {
        let mut usages = GroupUsages::default();
        // The empty name stands for those that are not shown; a group of that name has no members.
        memory.groups.update(groups.iter().map(|group| &group.name).filter(|name| !name.is_empty()));
        for group in groups {
            *usages.states.entry(group.state.name()).or_default() += 1;
            if memory.groups.shows(&group.name) {
                usages.shown.push(GroupUsage { name: group.name.clone(), members: group.members });
            } else if !group.name.is_empty() {
                usages.folded.0 += 1;
                usages.folded.1 += group.members;
            }
        }
        let (positions, skipped) = self.positions_of(groups, memory);
        usages.skipped = skipped;
        let streams = self.streams_of(&positions);
        usages.unknown = self.look_up_ages(&positions, &streams, &mut memory.ages);
        let now = self.world.wall();
        let mut pairs: BTreeMap<(String, String), LagSum> = BTreeMap::new();
        for position in &positions {
            let Some((found, lag)) = lag(position, &streams, &memory.ages, now) else { continue };
            let pair = (groups[position.group].name.clone(), streams.names[&found.topic].clone());
            pairs.entry(pair).and_modify(|sum| sum.add(lag)).or_insert(lag);
        }
        memory.pairs.update(pairs.keys());
        for (pair, lag) in pairs {
            if memory.pairs.shows(&pair) {
                let (group, topic) = pair;
                usages.lags.push(TopicLag { group, topic, lag });
            } else {
                usages.folded_lags.0 += 1;
                usages.folded_lags.1.add(lag);
            }
        }
        usages
    }

    /// The positions of groups, those of groups that are shown first, and how many are left out.
    fn positions_of(&self, groups: &[Coordinated], memory: &Remembered) -> (Vec<Position>, usize) {
        let mut by_shard: BTreeMap<(bool, ShardId), Vec<(usize, &String)>> = BTreeMap::new();
        for (nth, group) in groups.iter().enumerate() {
            let last = !memory.groups.shows(&group.name);
            by_shard.entry((last, group.shard)).or_default().push((nth, &group.name));
        }
        let (mut positions, mut room, mut skipped) = (Vec::new(), limit::METRIC_POSITIONS_MAX, 0);
        for ((_, shard), groups) in by_shard {
            let Some(shard) = self.shards.get(shard) else { continue };
            skipped += take_positions(&shard, &groups, &mut positions, &mut room);
        }
        (positions, skipped)
    }

    /// Finds the streams that positions are over.
    fn streams_of(&self, positions: &[Position]) -> Streams {
        let wanted: BTreeSet<StreamId> = positions.iter().map(|position| position.stream).collect();
        let mut streams = Streams::default();
        if wanted.is_empty() {
            return streams;
        }
        let topics: Vec<TopicId> = self.catalog().machine().catalog.topics().map(|(id, _)| id).collect();
        for some in topics.chunks(TOPICS_AT_ONCE) {
            let machine = self.catalog().machine();
            for id in some {
                let Some(topic) = machine.catalog.topic(*id) else { continue };
                for place in &topic.partitions {
                    if wanted.contains(&place.stream) {
                        let found = Found { topic: *id, place: *place, bounds: None };
                        streams.found.insert(place.stream, found);
                        streams.names.entry(*id).or_insert_with(|| topic.name.to_string());
                    }
                }
            }
            if streams.found.len() == wanted.len() {
                break;
            }
        }
        let places: Vec<Partition> = streams.found.values().map(|found| found.place).collect();
        self.look_at_streams(places.into_iter(), |id, start, stream| {
            if let Some(found) = streams.found.get_mut(&id) {
                found.bounds = Some((start, stream.end));
            }
        });
        streams
    }

    /// Finds out when what is to be consumed next was made. Returns of how many positions that is not
    /// known. Blocks on the disk.
    fn look_up_ages(&self, positions: &[Position], streams: &Streams, ages: &mut Ages) -> usize {
        let before = std::mem::take(&mut ages.known);
        let mut on_disk = Vec::new();
        for position in positions {
            let Some((found, start, end)) = streams.of(position) else { continue };
            let from = position.committed.max(start);
            if from >= end || ages.known.contains_key(&(position.stream, from)) {
                continue;
            }
            let Some(shard) = self.shards.get(found.place.shard) else { continue };
            let first = shard.machine().messaging.stream(position.stream).map_or(from, |stream| stream.start);
            if from < first {
                // In the shard that it came from: what follows there is not the next record.
                continue;
            }
            let remembered = before.get(&(position.stream, from)).copied();
            match remembered.or_else(|| shard.journal().timestamp_in_memory(position.stream, from)) {
                Some(time) => drop(ages.known.insert((position.stream, from), time)),
                None => on_disk.push((shard.journal().clone(), position.stream, from, end)),
            }
        }
        let (began, mut looked_up, mut found) = (Instant::now(), 0, 0);
        if !on_disk.is_empty() {
            let turn = ages.turn % on_disk.len();
            on_disk.rotate_left(turn);
        }
        for (journal, stream, from, end) in &on_disk {
            if looked_up > 0 && began.elapsed() >= TABLES_TIME {
                break;
            }
            looked_up += 1;
            match journal.timestamp_at(*stream, *from, *end) {
                Ok(Some(time)) => {
                    ages.known.insert((*stream, *from), time);
                    found += 1;
                }
                Ok(None) => {}
                // It is noted as damage by whoever found it; whoever reads it is told.
                Err(error) => tracing::debug!(%stream, %error, "cannot tell how old a record is"),
            }
        }
        ages.turn = ages.turn.wrapping_add(looked_up);
        on_disk.len() - found
    }
}

/// Takes positions of groups of a shard, while there is room. Returns how many are left.
fn take_positions(shard: &Shard, groups: &[(usize, &String)], into: &mut Vec<Position>, room: &mut usize) -> usize {
    let mut left = 0;
    let mut groups = groups.iter();
    // The next group, the first stream of it that has not been looked at, and how many have.
    let mut next = groups.next().map(|group| (group, StreamId(0), 0));
    while next.is_some() {
        let machine = shard.machine();
        let mut looked_at = 0;
        while looked_at < STREAMS_AT_ONCE
            && let Some((group, first, before)) = next
        {
            let (nth, name) = group;
            let most = (*room).min(STREAMS_AT_ONCE - looked_at);
            let start = into.len();
            let positions = machine.messaging.groups.offsets_from(name, first).take(most);
            into.extend(positions.map(|(stream, committed)| Position {
                group: *nth,
                stream,
                committed: committed.offset,
            }));
            let taken = into.len() - start;
            *room -= taken;
            looked_at += 1 + taken;
            next = match into.last() {
                // There may be more of this group.
                Some(last) if taken > 0 && taken == most => {
                    Some((group, StreamId(last.stream.0.saturating_add(1)), before + taken))
                }
                _ => {
                    left += machine.messaging.groups.position_count(name).saturating_sub(before + taken);
                    groups.next().map(|group| (group, StreamId(0), 0))
                }
            };
        }
    }
    left
}

/// How far a position is behind, and in which stream; `None` when that is gone or elsewhere.
fn lag<'a>(position: &Position, streams: &'a Streams, ages: &Ages, now: Timestamp) -> Option<(&'a Found, LagSum)> {
    let (found, start, end) = streams.of(position)?;
    // What is gone will not be consumed.
    let next = position.committed.max(start);
    let records = end.since(next);
    let known = || ages.known.get(&(position.stream, next)).and_then(|time| age(*time, now));
    let millis = if records == 0 { Some(0) } else { known() };
    Some((found, LagSum { records, millis }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{AppendPart, CreateTopic, NewOffset, OffsetCommit, PartitionRef, Reply, Request, TopicRef};
    use crate::setting::Settings;
    use bytes::Bytes;
    use model::record::Message;

    fn partition(topic: &str, partition: u32) -> PartitionRef {
        PartitionRef { topic: TopicRef::Name(topic.into()), partition }
    }

    async fn broker(folder: &std::path::Path) -> Broker {
        let broker = Broker::start(folder, Config { shards: 2, ..Config::default() }).await.unwrap();
        for name in ["a", "b"] {
            let (name, settings) = (name.to_owned(), Settings::default());
            let topic = CreateTopic { name, partitions: Some(3), replicas: None, settings, validate_only: false };
            broker.call(Request::CreateTopics(vec![topic])).await.await;
        }
        broker
    }

    async fn append(broker: &Broker, topic: &str, number: u32, times: &[i64]) {
        for time in times {
            let message = Message { timestamp: Timestamp(*time), ..Message::default() };
            let bytes = Bytes::from(message.encode().unwrap());
            let to = partition(topic, number);
            let part = AppendPart { to, bytes, durability: None, inspect: |bytes, _, _, _| Ok(Some(bytes.clone())) };
            let Reply::Appended(answers) = broker.call(Request::Append(vec![part])).await.await else { panic!() };
            answers[0].clone().unwrap();
        }
    }

    async fn commit(broker: &Broker, group: &str, offsets: &[(&str, u32, u64)]) {
        let offset = |(topic, number, offset): &(&str, u32, u64)| NewOffset {
            partition: partition(topic, *number),
            offset: Offset(*offset),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let offsets = offsets.iter().map(offset).collect();
        let (group, member) = (group.to_owned(), String::new());
        let commit = OffsetCommit { group, member, instance: None, generation: -1, offsets };
        let Reply::OffsetsCommitted(answers) = broker.call(Request::CommitOffsets(commit)).await.await else {
            panic!()
        };
        answers.into_iter().for_each(|answer| answer.unwrap());
    }

    fn lags(usages: &GroupUsages) -> Vec<(&str, &str, u64)> {
        usages.lags.iter().map(|lag| (lag.group.as_str(), lag.topic.as_str(), lag.lag.records)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn groups_are_behind_by_records_and_by_the_age_of_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker(folder.path()).await;
        let now = crate::world::wall().0;
        append(&broker, "a", 0, &[now - 500_000, now - 60_000, now - 1_000]).await;
        append(&broker, "a", 1, &[now - 90_000, now - 90_000]).await;
        append(&broker, "b", 2, &[now - 1_000]).await;
        commit(&broker, "slow", &[("a", 0, 1), ("a", 1, 1), ("b", 2, 0)]).await;
        commit(&broker, "even", &[("a", 0, 3)]).await;
        commit(&broker, "", &[("b", 2, 1)]).await;
        let usages = broker.group_usages().await;
        assert_eq!(lags(&usages), [("", "b", 0), ("even", "a", 0), ("slow", "a", 3), ("slow", "b", 1)]);
        let millis: Vec<u64> = usages.lags.iter().map(|lag| lag.lag.millis.unwrap()).collect();
        assert_eq!(&millis[..2], [0, 0]);
        assert!((90_000..100_000).contains(&millis[2]) && (1_000..11_000).contains(&millis[3]), "{millis:?}");
        assert_eq!(usages.states, BTreeMap::from([("Empty", 3)]));
        let shown: Vec<_> = usages.shown.iter().map(|group| (group.name.as_str(), group.members)).collect();
        assert_eq!(shown, [("even", 0), ("slow", 0)], "the empty name stands for others");
        assert_eq!((usages.folded, usages.folded_lags.0, usages.unknown, usages.skipped), ((0, 0), 0, 0, 0));
        // No more is looked at than there is room for, and what is left out is told.
        let (mut taken, mut room, slow) = (Vec::new(), 2, "slow".to_owned());
        let left = take_positions(&broker.inner.shard_of(&slow).unwrap(), &[(0, &slow)], &mut taken, &mut room);
        assert_eq!((taken.len(), room, left), (2, 0, 1));
        // A group that is larger than what is taken at a time is taken whole.
        let (partitions, settings) = (STREAMS_AT_ONCE as u32 + 3, Settings::default());
        let (name, replicas) = ("large".to_owned(), None);
        let topic = CreateTopic { name, partitions: Some(partitions), replicas, settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
        let offsets: Vec<_> = (0..partitions).map(|nth| ("large", nth, 0)).collect();
        commit(&broker, "large", &offsets).await;
        let (mut taken, mut room, large) = (Vec::new(), limit::METRIC_POSITIONS_MAX, "large".to_owned());
        let left = take_positions(&broker.inner.shard_of(&large).unwrap(), &[(0, &large)], &mut taken, &mut room);
        let streams: BTreeSet<StreamId> = taken.iter().map(|position| position.stream).collect();
        assert_eq!((taken.len(), streams.len(), left), (partitions as usize, partitions as usize, 0));
        broker.call(Request::DeleteTopics(vec![TopicRef::Name("large".into())])).await.await;
        // A deleted topic takes its positions with it.
        broker.call(Request::DeleteTopics(vec![TopicRef::Name("a".into())])).await.await;
        assert_eq!(lags(&broker.group_usages().await), [("", "b", 0), ("slow", "b", 1)]);
        broker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn groups_without_a_place_are_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker(folder.path()).await;
        let now = crate::world::wall().0;
        append(&broker, "a", 0, &[now - 60_000, now - 1_000]).await;
        {
            let mut remembered = broker.inner.seen_groups.lock().await;
            (remembered.groups, remembered.pairs) = (Roster::new(1), Roster::new(2));
        }
        commit(&broker, "m", &[("a", 0, 1)]).await;
        let first = broker.group_usages().await;
        assert_eq!((lags(&first), first.folded.0), (vec![("m", "a", 1)], 0));
        for group in ["b", "c", "z"] {
            commit(&broker, group, &[("a", 0, 0)]).await;
        }
        let usages = broker.group_usages().await;
        assert_eq!(usages.shown.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["m"]);
        assert_eq!(lags(&usages), [("b", "a", 2), ("m", "a", 1)]);
        assert_eq!((usages.folded.0, usages.folded_lags.0, usages.folded_lags.1.records), (3, 2, 4));
        assert!(usages.folded_lags.1.millis.unwrap() >= 60_000);
        broker.stop().await;
    }
}
