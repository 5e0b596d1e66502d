//! What replicas have of logs in the end: of each its newest range, and its older one where that is in another shard.

use super::logs::TOPICS;
use crate::cluster::checker::Content;
use crate::cluster::record;
use broker::Broker;
use model::{Offset, ShardId, StreamId};
use shard::Shard;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The replicas of a shard.
pub(super) fn replicas_of(brokers: &[Broker], shard: ShardId) -> Vec<Shard> {
    brokers.iter().flat_map(Broker::shards).filter(|replica| replica.id() == shard).collect()
}

/// Those of them that have all there is.
fn newest_of(brokers: &[Broker], shard: ShardId) -> Vec<Shard> {
    let replicas = replicas_of(brokers, shard);
    let newest = replicas.iter().map(Shard::applied).max();
    replicas.into_iter().filter(|replica| Some(replica.applied()) == newest).collect()
}

/// Where a partition of a topic is.
pub(super) fn place_of(broker: &Broker, topic: usize, partition: u32) -> Option<(ShardId, StreamId)> {
    let catalog = broker.shards().into_iter().find(|shard| shard.id() == ShardId::CATALOG)?;
    let machine = catalog.machine();
    let (_, topic) = machine.catalog.topic_named(TOPICS[topic])?;
    let place = topic.partitions.get(partition as usize)?;
    Some((place.shard, place.stream))
}

/// What there is of a stream, as each replica has it that is up to date.
#[derive(Default)]
pub(super) struct Contents {
    /// By who has it.
    pub(super) found: Vec<(String, Content)>,
    pub(super) wrong: Vec<String>,
    /// Its older records are in another shard.
    pub(super) is_in_two: bool,
}

impl Contents {
    /// Of a stream that is in this shard, as the catalog has it.
    pub(super) fn of(brokers: &[Broker], shard: ShardId, stream: StreamId) -> Self {
        let mut contents = Contents::default();
        let mut replicas = newest_of(brokers, shard);
        let moved = replicas.first().and_then(|replica| replica.machine().messaging.moved_to(stream));
        if let Some(to) = moved {
            // The catalog does not know yet. Where it is on its way, nobody can tell what there is.
            replicas = newest_of(brokers, to);
            replicas.retain(|replica| replica.machine().messaging.stream(stream).is_some());
        } else if replicas.is_empty() {
            contents.wrong.push(format!("nobody has {shard}"));
        }
        let older = replicas.first().and_then(|replica| replica.machine().messaging.older(stream));
        let olds = older.map(|older| newest_of(brokers, older.shard));
        contents.is_in_two = older.is_some();
        // Each has its turn, of those that have the older records, too.
        for nth in 0..replicas.len().max(olds.as_ref().map_or(0, Vec::len)) {
            let Some(replica) = replicas.get(nth % replicas.len().max(1)) else { break };
            let old = olds.as_ref().map(|olds| olds.get(nth % olds.len().max(1)));
            let who = match &old {
                Some(Some(old)) => format!("{} after {}", replica.id(), old.id()),
                Some(None) | None => replica.id().to_string(),
            };
            let found = match (old, older) {
                (Some(Some(old)), Some(older)) => whole(replica, stream, Some((old, older.start))),
                (Some(None), Some(older)) => Err(format!("nobody has {}, where the older records are", older.shard)),
                _ => whole(replica, stream, None),
            };
            match found {
                Ok(content) => contents.found.push((who, content)),
                Err(error) => contents.wrong.push(format!("{who} {stream}: {error}")),
            }
        }
        contents
    }
}

/// What a replica has of a stream, and another one of its older records, which begin there.
fn whole(replica: &Shard, stream: StreamId, older: Option<(&Shard, Offset)>) -> Result<Content, String> {
    let (start, end) = {
        let machine = replica.machine();
        let state = machine.messaging.stream(stream).ok_or("the stream is gone")?;
        (state.start.0, state.end.0)
    };
    let first = older.map_or(start, |(_, first)| first.0);
    let mut content = Content { start: first, end, found: BTreeMap::new(), settled: BTreeSet::new() };
    if let Some((old, _)) = older {
        take(old, stream, first..start, &mut content)?;
    }
    take(replica, stream, start..end, &mut content)?;
    Ok(content)
}

/// Adds what a replica has of a stream within `range`.
fn take(replica: &Shard, stream: StreamId, range: Range<u64>, content: &mut Content) -> Result<(), String> {
    let mut next = range.start;
    while next < range.end {
        let slices = replica.journal().read(stream, Offset(next), Offset(range.end), 64 << 10);
        let slices = slices.map_err(|error| error.to_string())?;
        let Some(last) = slices.last() else { break };
        next = last.end().0;
        let records = record::take(&slices)?.records;
        content.found.extend(records.into_iter().filter(|(offset, _)| range.contains(offset)));
    }
    Ok(())
}
