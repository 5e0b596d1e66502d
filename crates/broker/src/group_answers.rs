//! Answers about groups that may be large: their positions, and who is in them.

use crate::broker::{Broker, Inner, leading_for_sure};
use crate::group::{GroupReply, GroupRequest};
use crate::groups::{Named, name_streams};
use crate::memory::Held;
use crate::request::{BrokerError, FetchedOffset, OffsetFetch, PartitionRef, Reply, TopicRef};
use journal::canary::Fault;
use machine::messaging::group::Committed;
use model::limit;
use model::{StreamId, TopicId};
use shard::Shard;
use std::collections::BTreeMap;

/// Bytes that a position takes beside its metadata when all of a group's are told.
const POSITION_BYTES: usize = 512;

impl Broker {
    pub(crate) async fn fetch_offsets(self, fetches: Vec<OffsetFetch>) -> Reply {
        let mut bytes = 0;
        for fetch in &fetches {
            bytes += self.inner.offsets_bytes(fetch);
            // One group may take a while, and there may be many: here and below.
            tokio::task::yield_now().await;
        }
        let _held = self.memory_to_answer(bytes).await;
        let mut fetched = Vec::with_capacity(fetches.len());
        for fetch in fetches {
            fetched.push(self.inner.fetch_offsets(fetch));
            tokio::task::yield_now().await;
        }
        Reply::OffsetsFetched(fetched)
    }

    pub(crate) async fn describe_groups(self, groups: Vec<String>) -> Reply {
        let bytes = groups.iter().map(|group| self.inner.group_bytes(group)).sum();
        let _held = self.memory_to_answer(bytes).await;
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            described.push(match self.clone().group(GroupRequest::Describe { group }).await {
                Reply::Group(Ok(GroupReply::Described(found))) => Ok(found),
                Reply::Group(Ok(GroupReply::Refused { error, .. })) => Err(error.into()),
                Reply::Group(Err(error)) => Err(error),
                _ => Err(BrokerError::Unavailable),
            });
        }
        Reply::GroupsDescribed(described)
    }

    /// Memory for an answer, before there is anything of it: whoever asked counts the answer before this is
    /// given back. What every connection may hold is for nothing.
    async fn memory_to_answer(&self, bytes: usize) -> Option<Held> {
        match bytes > limit::CONNECTION_BYTES_FREE {
            true => Some(self.inner.memory.answers.take(bytes).await),
            false => None,
        }
    }
}

impl Inner {
    /// About how many bytes it takes to answer that, beyond what was counted with the request: as it is, and as
    /// it is answered.
    fn offsets_bytes(&self, fetch: &OffsetFetch) -> usize {
        let Ok(shard) = self.shard_of(&fetch.group) else { return 0 };
        let Some(partitions) = &fetch.partitions else {
            let machine = shard.machine();
            let positions = machine.messaging.groups.offsets(&fetch.group);
            return positions.map(|(_, committed)| POSITION_BYTES + 2 * committed.metadata.len()).sum();
        };
        let places = partitions.iter().filter_map(|partition| self.resolve(partition).ok());
        let streams: Vec<StreamId> = places.map(|place| place.stream).collect();
        let machine = shard.machine();
        let positions = streams.into_iter().filter_map(|stream| machine.messaging.groups.offset(&fetch.group, stream));
        positions.map(|committed| 2 * committed.metadata.len()).sum()
    }

    /// About how many bytes it takes to describe a group: nearly all of it is stored.
    fn group_bytes(&self, group: &str) -> usize {
        let Ok(shard) = self.shard_of(group) else { return 0 };
        shard.machine().messaging.groups.state(group).map_or(0, |stored| 2 * stored.len())
    }

    fn fetch_offsets(&self, fetch: OffsetFetch) -> Result<Vec<FetchedOffset>, BrokerError> {
        let id = self.shard_id_of(&fetch.group)?;
        let moving = |error| self.groups.while_moving(id, error);
        let shard = self.shard(id).map_err(moving)?;
        // From an older position a consumer would take everything again.
        if !shard.journal().faulty(Fault::PositionsByAnybody) {
            leading_for_sure(&shard).map_err(moving)?;
        }
        let Some(partitions) = fetch.partitions else { return Ok(self.all_offsets(&shard, &fetch.group)) };
        let places: Vec<_> = partitions.into_iter().map(|partition| self.place(partition)).collect();
        let machine = shard.machine();
        let groups = &machine.messaging.groups;
        let offset = |(stream, offset): (Option<StreamId>, FetchedOffset)| {
            let committed = stream.and_then(|stream| groups.offset(&fetch.group, stream)).cloned();
            FetchedOffset { committed, ..offset }
        };
        Ok(places.into_iter().map(offset).collect())
    }

    /// The stream that a partition is, and where its position is to be told of.
    fn place(&self, asked: PartitionRef) -> (Option<StreamId>, FetchedOffset) {
        let partition = asked.partition;
        let found = self.find_with(&asked.topic, |id, topic| {
            let stream = topic.partitions.get(partition as usize).map(|place| place.stream);
            (topic.name.to_string(), id, stream)
        });
        let known = found.is_some();
        let (topic, id, stream) = found.unwrap_or_else(|| match asked.topic {
            TopicRef::Name(name) => (name, TopicId::default(), None),
            TopicRef::Id(id) => (String::new(), id, None),
        });
        (stream, FetchedOffset { topic, id, partition, known, committed: None })
    }

    /// Every position of a group over a stream that has a name, by name.
    fn all_offsets(&self, shard: &Shard, group: &str) -> Vec<FetchedOffset> {
        let mut positions: BTreeMap<StreamId, Committed> = {
            let machine = shard.machine();
            machine.messaging.groups.offsets(group).map(|(stream, committed)| (stream, committed.clone())).collect()
        };
        let streams: Vec<StreamId> = positions.keys().copied().collect();
        let named = name_streams(self.catalog(), &streams).into_iter();
        let offset = |(stream, Named { topic, id, partition })| {
            let committed = positions.remove(&stream);
            FetchedOffset { topic, id, partition, known: true, committed }
        };
        let mut offsets: Vec<FetchedOffset> = named.map(offset).collect();
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{CreateTopic, NewOffset, OffsetCommit, Request};
    use crate::setting::Settings;
    use model::Offset;

    fn partition(topic: &str, partition: u32) -> PartitionRef {
        PartitionRef { topic: TopicRef::Name(topic.into()), partition }
    }

    /// With a topic `a` and a group `g` that has committed as much as may be over all its partitions.
    async fn broker(folder: &std::path::Path, partitions: u32) -> Broker {
        let broker = Broker::start(folder, Config { shards: 2, ..Config::default() }).await.unwrap();
        let (name, settings) = ("a".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(partitions), replicas: None, settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
        let offset = |nth| NewOffset {
            partition: partition("a", nth),
            offset: Offset(u64::from(nth)),
            leader_epoch: -1,
            metadata: "m".repeat(limit::OFFSET_METADATA_BYTES_MAX),
        };
        let offsets = (0..partitions).map(offset).collect();
        let (group, member) = ("g".to_owned(), String::new());
        let commit = OffsetCommit { group, member, instance: None, generation: -1, offsets };
        let Reply::OffsetsCommitted(done) = broker.call(Request::CommitOffsets(commit)).await.await else { panic!() };
        assert!(done.iter().all(Result::is_ok));
        broker
    }

    async fn fetched(broker: &Broker, partitions: Option<Vec<PartitionRef>>) -> Vec<FetchedOffset> {
        let fetch = OffsetFetch { group: "g".into(), partitions };
        match broker.call(Request::FetchOffsets(vec![fetch])).await.await {
            Reply::OffsetsFetched(mut fetched) => fetched.remove(0).unwrap(),
            _ => panic!("another answer"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn positions_are_told_of_what_there_is_and_of_what_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker(folder.path(), 2).await;
        let asked = vec![partition("a", 1), partition("a", 7), partition("b", 0)];
        let shown = |offset: &FetchedOffset| {
            let committed = offset.committed.as_ref().map(|committed| committed.offset.0);
            (offset.topic.clone(), offset.partition, offset.known, committed)
        };
        let told: Vec<_> = fetched(&broker, Some(asked)).await.iter().map(shown).collect();
        let topic = |name: &str| name.to_owned();
        let expected = [(topic("a"), 1, true, Some(1)), (topic("a"), 7, true, None), (topic("b"), 0, false, None)];
        assert_eq!(told, expected);
        let all: Vec<_> = fetched(&broker, None).await.iter().map(shown).collect();
        assert_eq!(all, [(topic("a"), 0, true, Some(0)), (topic("a"), 1, true, Some(1))]);
        broker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_answer_waits_for_memory_and_a_small_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker(folder.path(), 20).await;
        let answers = broker.memory().answers.clone();
        let all = answers.charge(answers.limit() as usize);
        assert_eq!(fetched(&broker, Some(vec![partition("a", 1)])).await.len(), 1);
        for asked in [None, Some((0..20).map(|nth| partition("a", nth)).collect())] {
            let mut large = Box::pin(fetched(&broker, asked));
            tokio::select! {
                biased;
                _ = &mut large => panic!("there is no memory for it"),
                () = tokio::task::yield_now() => {}
            }
            assert_eq!(answers.waiting(), 1);
        }
        drop(all);
        assert_eq!(fetched(&broker, None).await.len(), 20);
        assert_eq!(answers.used(), 0);
        broker.stop().await;
    }
}
