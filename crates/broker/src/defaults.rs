//! What follows from the node's defaults for topics that there already are.
//!
//! A topic keeps what somebody has set, and its streams what followed from that and from the defaults of
//! then. After a start with other defaults, or by a version that has others, the streams follow the new ones.

use crate::broker::Inner;
use crate::setting::Settings;
use machine::refusal::Limit;
use machine::{Command, Refusal, Reply};
use model::{ShardId, TopicId};
use std::sync::Weak;
use std::time::Duration;

/// Topics that are looked at, or whose change is asked for, at once.
const AT_ONCE: usize = 256;
/// How long until it is tried again when deliveries to shards take no more.
const PAUSE: Duration = Duration::from_millis(100);

/// Goes through all topics once, if this node leads the catalog when somebody does: others may have other
/// defaults, and one of them decides.
pub(crate) async fn follow(broker: Weak<Inner>) {
    let Some(world) = broker.upgrade().map(|inner| inner.world.clone()) else { return };
    let mut left = loop {
        let Some(inner) = broker.upgrade().filter(|inner| !inner.changes.are_over()) else { return };
        match inner.leader_of(ShardId::CATALOG) {
            Some(leader) if leader == inner.me() => break differing(&inner),
            Some(_) => return,
            None => {}
        }
        drop(inner);
        world.sleep(PAUSE).await;
    };
    if left.is_empty() {
        return;
    }
    tracing::info!(topics = left.len(), "there are topics that do not follow these defaults yet");
    while !left.is_empty() {
        let Some(inner) = broker.upgrade() else { return };
        let some = left.split_off(left.len().saturating_sub(AT_ONCE));
        let again = futures::future::join_all(some.into_iter().map(|id| follow_one(&inner, id))).await;
        drop(inner);
        let again: Vec<_> = again.into_iter().flatten().collect();
        if !again.is_empty() {
            left.extend(again);
            world.sleep(PAUSE).await;
        }
    }
}

/// The topics of which something else follows now.
fn differing(inner: &Inner) -> Vec<TopicId> {
    let all: Vec<TopicId> = inner.catalog().machine().catalog.topics().map(|(id, _)| id).collect();
    // A few at a time: the catalog applies nothing meanwhile.
    let differing = all.chunks(AT_ONCE).flat_map(|some| {
        let machine = inner.catalog().machine();
        let differs = some.iter().copied().filter(|id| {
            machine.catalog.topic(*id).is_some_and(|topic| {
                let config = Settings::stored(&topic.settings).config(&inner.config.topic_defaults);
                config.as_ref() != Ok(&topic.config)
            })
        });
        differs.collect::<Vec<_>>()
    });
    differing.collect()
}

/// Changes one. Returns it when that is to be tried again.
async fn follow_one(inner: &Inner, id: TopicId) -> Option<TopicId> {
    let topic = inner.catalog().machine().catalog.topic(id).cloned()?;
    let (name, revision, settings) = (topic.name, topic.revision, topic.settings);
    let config = match Settings::stored(&settings).config(&inner.config.topic_defaults) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(topic = %name, %error, "cannot follow the defaults and stays as it was");
            return None;
        }
    };
    match inner.catalog_command(Command::ConfigureTopic { id, revision, config, settings }).await {
        Ok(Reply::Refused(Refusal::LimitReached(Limit::Outbox))) => Some(id),
        // Whoever else changed it did so with these defaults.
        Ok(Reply::Refused(Refusal::Changed | Refusal::UnknownTopic) | Reply::Done) => None,
        other => {
            tracing::warn!(topic = %name, ?other, "does not follow the defaults until the next start");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::request::{AlterTopic, CreateTopic, Reply, Request, TopicInfo, TopicRef, TopicsQuery};
    use crate::setting::{Change, Settings};
    use crate::{Broker, Config};
    use std::path::Path;

    fn defaults(pairs: &[(&str, &str)]) -> Settings {
        Settings::stored(&pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>())
    }

    async fn start(folder: &Path, pairs: &[(&str, &str)]) -> Broker {
        let config = Config { shards: 2, topic_defaults: defaults(pairs), ..Config::default() };
        Broker::start(folder, config).await.unwrap()
    }

    /// Stops it, and waits until nothing of it has the folder.
    async fn stop(broker: Broker) {
        broker.stop().await;
        let inner = std::sync::Arc::downgrade(&broker.inner);
        drop(broker);
        while inner.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn create(broker: &Broker, name: &str, pairs: &[(&str, &str)]) -> TopicInfo {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(3),
            replicas: None,
            settings: defaults(pairs),
            validate_only: false,
        };
        let Reply::TopicsCreated(mut made) = broker.call(Request::CreateTopics(vec![topic])).await.await else {
            panic!("another answer")
        };
        made.remove(0).unwrap()
    }

    async fn describe(broker: &Broker, name: &str) -> TopicInfo {
        let query = TopicsQuery { topics: Some(vec![TopicRef::Name(name.to_owned())]), create_missing: false };
        let Reply::Topics(mut found) = broker.call(Request::Topics(query)).await.await else {
            panic!("another answer")
        };
        found.remove(0).unwrap()
    }

    /// Waits until all streams of a topic are kept for so long.
    async fn wait_for_retention(broker: &Broker, name: &str, millis: u64) {
        loop {
            let changed = broker.inner.changes.streams.notified();
            let (_, topic) = broker.inner.find(&TopicRef::Name(name.to_owned())).unwrap();
            let of_stream = |partition: &machine::catalog::topic::Partition| {
                let shard = broker.inner.shards.get(partition.shard).unwrap();
                let machine = shard.machine();
                machine.messaging.stream(partition.stream).and_then(|stream| stream.config.retention_millis)
            };
            if topic.partitions.iter().all(|partition| of_stream(partition) == Some(millis)) {
                return;
            }
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), changed).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn topics_follow_the_defaults_of_each_start_and_keep_what_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(folder.path(), &[("retention.ms", "5000")]).await;
        assert_eq!(create(&broker, "plain", &[]).await.config.retention_millis, Some(5000));
        assert_eq!(create(&broker, "own", &[("retention.ms", "7000")]).await.config.retention_millis, Some(7000));
        stop(broker).await;

        let broker = start(folder.path(), &[("retention.ms", "6000"), ("cleanup.policy", "compact,delete")]).await;
        wait_for_retention(&broker, "plain", 6000).await;
        wait_for_retention(&broker, "own", 7000).await;
        assert_eq!(describe(&broker, "plain").await.settings, Settings::default(), "nobody has set anything");
        let changes = vec![("retention.ms".to_owned(), Change::Unset)];
        let topic = TopicRef::Name("own".to_owned());
        let alter = AlterTopic { topic, changes, replace: false, validate_only: false };
        let Reply::TopicsAltered(done) = broker.call(Request::AlterTopics(vec![alter])).await.await else {
            panic!("another answer")
        };
        assert_eq!(done, [Ok(())]);
        wait_for_retention(&broker, "own", 6000).await;
        stop(broker).await;

        let broker = start(folder.path(), &[]).await;
        wait_for_retention(&broker, "plain", 604_800_000).await;
        wait_for_retention(&broker, "own", 604_800_000).await;
        stop(broker).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_does_not_go_with_the_defaults_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(folder.path(), &[]).await;
        let before = create(&broker, "late", &[("min.compaction.lag.ms", "9")]).await.config;
        stop(broker).await;
        let broker = start(folder.path(), &[("max.compaction.lag.ms", "8")]).await;
        create(&broker, "new", &[]).await;
        super::follow(std::sync::Arc::downgrade(&broker.inner)).await;
        assert_eq!(describe(&broker, "late").await.config, before);
        stop(broker).await;
    }
}
