//! How large partitions are, and what a node tells of itself.

use crate::broker::Broker;
use crate::request::{NodeInfo, PartitionSize, Reply, SizesQuery, TopicRef};
use machine::catalog::topic::Partition;

impl Broker {
    /// Adds up what tables say, so it takes its time where there is much. One at a time does.
    pub(crate) async fn sizes(self, query: SizesQuery) -> Reply {
        let _turn = self.inner.sizing.lock().await;
        let asked = match query.partitions {
            Some(partitions) => {
                let place = |asked: crate::request::PartitionRef| {
                    let place = self.inner.resolve(&asked).ok()?;
                    let name = match asked.topic {
                        TopicRef::Name(name) => name,
                        TopicRef::Id(_) => self.inner.find_with(&asked.topic, |_, topic| topic.name.to_string())?,
                    };
                    Some((name, asked.partition, place))
                };
                partitions.into_iter().filter_map(place).collect()
            }
            None => self.all_partitions(),
        };
        let mut sizes = Vec::new();
        for (topic, partition, place) in asked {
            let Some(shard) = self.inner.shards.get(place.shard) else { continue };
            let bounds = {
                let machine = shard.machine();
                let state = machine.messaging.stream(place.stream);
                state.map(|state| (state.start, state.end, machine.messaging.older(place.stream)))
            };
            let Some((first, end, older)) = bounds else { continue };
            let start = older.map_or(first, |older| older.start);
            let (journal, stream) = (shard.journal().clone(), place.stream);
            let older = older.and_then(|older| self.inner.older_here(older, stream, start, first));
            let measured = self.inner.world.blocking(move || {
                let older = older.map(|(shard, end)| shard.journal().bytes_of(stream, start, end)).transpose()?;
                Ok::<_, journal::ReadError>(journal.bytes_of(stream, first, end)? + older.unwrap_or(0))
            });
            // What cannot be read is not counted; whoever reads it is told.
            let bytes = measured.await.and_then(Result::ok).unwrap_or(0);
            sizes.push(PartitionSize { topic, partition, bytes, start, end });
        }
        Reply::Sizes(sizes)
    }

    fn all_partitions(&self) -> Vec<(String, u32, Partition)> {
        let machine = self.inner.catalog().machine();
        let of_topic = |topic: &machine::catalog::topic::Topic| {
            let numbered = (0u32..).zip(topic.partitions.iter());
            numbered.map(|(nth, place)| (topic.name.to_string(), nth, *place)).collect::<Vec<_>>()
        };
        machine.catalog.topics().flat_map(|(_, topic)| of_topic(topic)).collect()
    }

    pub(crate) async fn node_info(self) -> Reply {
        let folder = self.inner.home.path();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let config = &self.inner.config;
        Reply::Node(NodeInfo {
            node: self.node(),
            disk: disk(&folder),
            folder,
            default_partitions: config.default_partitions,
            replication: config.cluster.replication,
            auto_create_topics: config.auto_create_topics,
            groups: config.groups.clone(),
            topic_defaults: config.topic_defaults.clone(),
            topics: self.inner.catalog().machine().catalog.topic_count(),
        })
    }
}

/// Bytes of the file system, and how many of them are free for us.
fn disk(folder: &std::path::Path) -> Option<(u64, u64)> {
    let system = rustix::fs::statvfs(folder).ok()?;
    Some((system.f_blocks * system.f_frsize, system.f_bavail * system.f_frsize))
}
