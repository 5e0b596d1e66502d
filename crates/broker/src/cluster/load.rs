//! What the streams take that this node leads, counted as it is acknowledged, and what their shards keep: asked of all
//! nodes by whoever leads the catalog.

use super::call::{NodeAnswer, NodeCall};
use super::network::Network;
use super::shed::{Loads, StreamLoad};
use crate::broker::Inner;
use crate::world::Moment;
use machine::catalog::NodeState;
use model::{NodeId, ShardId, StreamId, limit};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How long nodes are asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that were appended since the last look.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Somebody has looked. Where nobody does, as on a node that is alone, appending pays nothing for it.
    is_watched: AtomicBool,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// When that began.
    since: Option<Moment>,
    shards: BTreeMap<ShardId, u64>,
    streams: BTreeMap<StreamId, (ShardId, u64)>,
}

impl Load {
    /// Bytes were appended to a stream.
    pub(crate) fn note(&self, shard: ShardId, stream: StreamId, bytes: u64) {
        if !self.is_watched.load(Relaxed) {
            return;
        }
        let mut counted = self.counted.lock();
        *counted.shards.entry(shard).or_default() += bytes;
        // Beyond that nobody stands out.
        if counted.streams.len() < limit::LOAD_STREAMS_MAX || counted.streams.contains_key(&stream) {
            let known = counted.streams.entry(stream).or_insert((shard, 0));
            *known = (shard, known.1 + bytes);
        }
    }

    /// What went into these shards in a second, since this was asked last. Nothing the first time.
    fn take(&self, led: &[ShardId], now: Moment) -> Loads {
        let Counted { since, shards, streams } =
            std::mem::replace(&mut *self.counted.lock(), Counted { since: Some(now), ..Counted::default() });
        self.is_watched.store(true, Relaxed);
        let Some(since) = since else { return Loads::default() };
        let millis = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |bytes: u64| bytes.saturating_mul(1000) / millis;
        let mut loads = Loads::default();
        for shard in led {
            loads.shards.insert(*shard, rate(shards.get(shard).copied().unwrap_or(0)));
            let of_it = streams.iter().filter(|(_, (of, _))| of == shard);
            let mut hottest: Vec<StreamLoad> = of_it
                .map(|(stream, (shard, bytes))| StreamLoad { stream: *stream, shard: *shard, rate: rate(*bytes) })
                .collect();
            hottest.sort_by_key(|load| (Reverse(load.rate), load.stream));
            loads.streams.extend(hottest.into_iter().take(limit::LOAD_STREAMS_TOLD_MAX));
        }
        loads
    }
}

impl Inner {
    /// What the shards take and keep that this node leads, without those that could take no more: they are not idle.
    pub(crate) fn own_load(&self) -> Loads {
        let led = self.shards.all().into_iter().filter(|shard| shard.id() != ShardId::CATALOG);
        let kept: BTreeMap<ShardId, u64> = led
            .filter(|shard| shard.leading().is_ok() && shard.journal().has_room())
            .map(|shard| (shard.id(), shard.journal().disk_bytes()))
            .collect();
        let led: Vec<ShardId> = kept.keys().copied().collect();
        Loads { kept, ..self.load.take(&led, self.world.now()) }
    }

    /// What all shards take of which a node that answers leads them.
    pub(crate) async fn all_loads(&self, network: &dyn Network) -> Loads {
        let others: Vec<NodeId> = {
            let machine = self.catalog().machine();
            let nodes =
                machine.catalog.nodes().filter(|(id, node)| *id != self.me() && node.state != NodeState::Removed);
            nodes.map(|(id, _)| id).collect()
        };
        let deadline = self.world.now() + PATIENCE;
        let asked = others.into_iter().map(|node| self.ask(network, node, &NodeCall::Load, deadline));
        // Whoever is asked begins to count when this node does.
        let mut loads = self.own_load();
        for answer in futures::future::join_all(asked).await {
            if let Ok(NodeAnswer::Load { shards, streams, kept }) = answer {
                loads.shards.extend(shards);
                loads.kept.extend(kept);
                let load = |(stream, shard, rate)| StreamLoad { stream, shard, rate };
                loads.streams.extend(streams.into_iter().map(load));
            }
        }
        loads
    }
}

impl Loads {
    pub(crate) fn answer(self) -> NodeAnswer {
        let streams = self.streams.into_iter().map(|load| (load.stream, load.shard, load.rate));
        NodeAnswer::Load {
            shards: self.shards.into_iter().collect(),
            streams: streams.collect(),
            kept: self.kept.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn the_first_look_only_begins_and_streams_are_told_hottest_first() {
        let (load, world) = (Load::default(), World::real());
        let (shard, led) = (ShardId(1), [ShardId(1), ShardId(2)]);
        load.note(shard, StreamId(5), 1000);
        let began = world.now();
        assert_eq!(load.take(&led, began), Loads::default());
        load.note(shard, StreamId(5), 1000);
        load.note(shard, StreamId(6), 5000);
        load.note(ShardId(3), StreamId(7), 5000);
        let loads = load.take(&led, began + Duration::from_secs(2));
        assert_eq!(loads.shards, BTreeMap::from([(ShardId(1), 3000), (ShardId(2), 0)]));
        let streams: Vec<_> = loads.streams.iter().map(|load| (load.stream.0, load.rate)).collect();
        assert_eq!(streams, [(6, 2500), (5, 500)], "what is led elsewhere by now is told there");
        let loads = load.take(&led, began + Duration::from_secs(3));
        assert!(loads.streams.is_empty() && loads.shards.values().all(|rate| *rate == 0), "counted once");
    }

    #[test]
    fn so_many_streams_are_counted_and_no_more() {
        let load = Load::default();
        load.take(&[], World::real().now());
        (0..=limit::LOAD_STREAMS_MAX as u64).for_each(|stream| load.note(ShardId(1), StreamId(stream), 1));
        let counted = load.counted.lock();
        assert_eq!(counted.streams.len(), limit::LOAD_STREAMS_MAX);
        assert_eq!(counted.shards[&ShardId(1)], limit::LOAD_STREAMS_MAX as u64 + 1);
    }
}
