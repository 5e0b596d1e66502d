//! How topics are used: for metrics.

use crate::broker::{Broker, Inner};
use crate::traffic::TopicCounters;
use machine::catalog::topic::{Partition, Topic};
use machine::messaging::stream::Stream;
use model::{Offset, ShardId, StreamId, limit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics looked at while the catalog's state is held.
const TOPICS_AT_ONCE: usize = 64;
/// Streams looked at while a shard's state is held.
pub(crate) const STREAMS_AT_ONCE: usize = 512;

/// How a topic is used.
#[derive(Debug)]
pub struct TopicUsage {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// About how many bytes its records take. `None` when there were too many partitions to look at.
    pub bytes: Option<u64>,
    /// What goes in and out.
    pub counters: Arc<TopicCounters>,
}

/// How the topics of a node are used.
#[derive(Debug, Default)]
pub struct TopicUsages {
    /// Those that are shown, by name.
    pub shown: Vec<TopicUsage>,
    /// What goes into and out of the others, if there are or were any.
    pub others: Option<Arc<TopicCounters>>,
    /// How many topics there are.
    pub count: usize,
    /// How many of them are not shown.
    pub folded: usize,
}

impl Broker {
    /// How topics are used. The first [`limit::METRIC_TOPICS_MAX`] that are seen are shown, whatever comes
    /// later.
    pub async fn topic_usages(&self) -> TopicUsages {
        let inner = self.inner.clone();
        // Where there are many topics it takes its time.
        self.inner.world.blocking(move || inner.topic_usages()).await.unwrap_or_default()
    }
}

impl Inner {
    fn topic_usages(&self) -> TopicUsages {
        let (count, shown) = {
            let machine = self.catalog().machine();
            let topics: Vec<_> = machine.catalog.topics().map(|(id, _)| id).collect();
            (topics.len(), self.traffic.of(&topics, &machine.catalog))
        };
        let mut usages = Vec::with_capacity(shown.len());
        let mut measured = BTreeMap::new();
        for some in shown.chunks(TOPICS_AT_ONCE) {
            let machine = self.catalog().machine();
            for (id, counters) in some {
                let Some(Topic { name, partitions, .. }) = machine.catalog.topic(*id) else { continue };
                let measurable = measured.len() + partitions.len() <= limit::METRIC_PARTITIONS_MAX;
                if measurable {
                    measured.extend(partitions.iter().map(|place| (place.stream, (place.shard, usages.len()))));
                }
                let (name, counters) = (name.to_string(), counters.clone());
                let bytes = measurable.then_some(0);
                usages.push(TopicUsage { name, partitions: partitions.len(), bytes, counters });
            }
        }
        let newest = measured.iter().map(|(stream, (shard, _))| Partition { stream: *stream, shard: *shard });
        let places: Vec<Partition> = {
            let machine = self.catalog().machine();
            let older =
                |stream: &StreamId| machine.catalog.older_of(*stream).map(|shard| Partition { stream: *stream, shard });
            newest.chain(measured.keys().filter_map(older)).collect()
        };
        self.look_at_streams(places.into_iter(), |id, _, stream| {
            if let Some(bytes) = usages[measured[&id].1].bytes.as_mut() {
                *bytes += bytes_kept(stream);
            }
        });
        let folded = count.saturating_sub(shown.len());
        TopicUsages { shown: usages, others: self.traffic.shared(folded > 0), count, folded }
    }

    /// Looks at the states of streams that this node has, and where they start, older records included, some at a
    /// time: `apply` waits meanwhile.
    pub(crate) fn look_at_streams(
        &self,
        places: impl Iterator<Item = Partition>,
        mut look: impl FnMut(StreamId, Offset, &Stream),
    ) {
        let mut by_shard: BTreeMap<ShardId, Vec<StreamId>> = BTreeMap::new();
        for place in places {
            by_shard.entry(place.shard).or_default().push(place.stream);
        }
        for (shard, streams) in by_shard {
            let Some(shard) = self.shards.get(shard) else { continue };
            for some in streams.chunks(STREAMS_AT_ONCE) {
                let machine = shard.machine();
                for id in some {
                    if let Some(stream) = machine.messaging.stream(*id) {
                        look(*id, machine.messaging.start_of(*id).unwrap_or(stream.start), stream);
                    }
                }
            }
        }
    }
}

/// About how many bytes a stream's records take, from what is known without reading: as if all records
/// that were ever appended were of one size. Exact while none was removed.
fn bytes_kept(stream: &Stream) -> u64 {
    let (kept, ever) = (stream.end.since(stream.start), stream.end.0.max(1));
    let bytes = u128::from(stream.bytes_appended) * u128::from(kept) / u128::from(ever);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{CreateTopic, Request, TopicRef};
    use crate::setting::Settings;
    use model::{Offset, StreamConfig};
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn bytes_are_told_by_the_share_of_records_that_are_left() {
        let mut stream = Stream::new(StreamConfig::default());
        assert_eq!(bytes_kept(&stream), 0);
        (stream.end, stream.bytes_appended) = (Offset(10), 1_000);
        assert_eq!(bytes_kept(&stream), 1_000);
        stream.start = Offset(4);
        assert_eq!(bytes_kept(&stream), 600);
        stream.start = Offset(10);
        assert_eq!(bytes_kept(&stream), 0);
        (stream.start, stream.end, stream.bytes_appended) = (Offset(0), Offset(u64::MAX), u64::MAX);
        assert_eq!(bytes_kept(&stream), u64::MAX);
    }

    async fn create(broker: &Broker, name: &str) {
        let (name, settings) = (name.to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(2), replicas: None, settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn deleted_topics_vanish_and_their_places_are_given_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { shards: 1, ..Config::default() };
        let broker = Broker::start_with(folder.path(), config, crate::traffic::Traffic::new(2)).await.unwrap();
        for name in ["c", "b"] {
            create(&broker, name).await;
        }
        let names = |usages: &TopicUsages| usages.shown.iter().map(|usage| usage.name.clone()).collect::<String>();
        let usages = broker.topic_usages().await;
        assert_eq!((names(&usages), usages.count, usages.folded), ("bc".into(), 2, 0));
        assert!(usages.others.is_none());
        assert!(usages.shown.iter().all(|usage| usage.partitions == 2 && usage.bytes == Some(0)));
        create(&broker, "a").await;
        let find = |name: &str| broker.inner.find(&TopicRef::Name(name.into())).unwrap().0;
        broker.inner.traffic.note_in(find("a"), 3, 30);
        broker.inner.traffic.note_in(find("c"), 1, 10);
        let usages = broker.topic_usages().await;
        assert_eq!((names(&usages), usages.count, usages.folded), ("bc".into(), 3, 1));
        assert_eq!(usages.others.as_ref().unwrap().records_in.load(Relaxed), 3);
        assert_eq!(usages.shown[1].counters.bytes_in.load(Relaxed), 10);
        broker.call(Request::DeleteTopics(vec![TopicRef::Name("b".into())])).await.await;
        let usages = broker.topic_usages().await;
        assert_eq!((names(&usages), usages.count, usages.folded), ("ac".into(), 2, 0));
        // What was counted before it had a place stays where it was counted.
        assert_eq!(usages.shown[0].counters.records_in.load(Relaxed), 0);
        assert_eq!(usages.others.unwrap().records_in.load(Relaxed), 3);
        broker.stop().await;
    }
}
