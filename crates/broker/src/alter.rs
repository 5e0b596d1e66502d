//! Changing topics: what they are set to, how many partitions they have, where those begin.

use crate::broker::Broker;
use crate::request::{AddPartitions, AlterTopic, BrokerError, Reply, TrimPart};
use crate::setting::{IN_SYNC, Settings};
use machine::catalog::topic::Topic;
use machine::{Command, Refusal, Reply as MachineReply};
use model::{Offset, TopicId, limit};

/// How often a change is tried that others come before.
const TRIES_MAX: usize = 10;

impl Broker {
    pub(crate) async fn alter_topics(self, topics: Vec<AlterTopic>) -> Reply {
        let altered = topics.iter().map(|topic| self.alter_topic(topic));
        Reply::TopicsAltered(futures::future::join_all(altered).await)
    }

    async fn alter_topic(&self, alter: &AlterTopic) -> Result<(), BrokerError> {
        let defaults = &self.inner.config.topic_defaults;
        for _ in 0..TRIES_MAX {
            let (id, topic) = self.inner.find(&alter.topic).ok_or(BrokerError::UnknownTopic)?;
            let mut settings = if alter.replace { Settings::default() } else { Settings::stored(&topic.settings) };
            for (name, change) in &alter.changes {
                settings.change(name, change, defaults)?;
            }
            let config = settings.config(defaults)?;
            if alter.changes.iter().any(|(name, _)| name == IN_SYNC) {
                settings.check_replicas(self.replicas_of(id, &topic))?;
            }
            if alter.validate_only {
                return Ok(());
            }
            let (revision, settings) = (topic.revision, settings.pairs());
            let command = Command::ConfigureTopic { id, revision, config, settings };
            match self.inner.catalog_command(command).await? {
                MachineReply::Refused(Refusal::Changed) => {}
                MachineReply::Refused(refusal) => return Err(refusal.into()),
                _ => return Ok(()),
            }
        }
        Err(Refusal::Changed.into())
    }

    /// How many replicas each of the topic's partitions has, or soon will have.
    fn replicas_of(&self, id: TopicId, topic: &Topic) -> u32 {
        let info = self.inner.describe(id, topic);
        let has = info.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0);
        let shall_have = self.members().replicas(self.inner.config.cluster.replication);
        shall_have.max(has as u32)
    }

    pub(crate) async fn add_partitions(self, topics: Vec<AddPartitions>) -> Reply {
        let added = topics.iter().map(|topic| self.add_partitions_to(topic));
        Reply::PartitionsAdded(futures::future::join_all(added).await)
    }

    async fn add_partitions_to(&self, add: &AddPartitions) -> Result<(), BrokerError> {
        let (id, topic) = self.inner.find(&add.topic).ok_or(BrokerError::UnknownTopic)?;
        let known = topic.partitions.len() as u32;
        if add.total <= known {
            return Err(BrokerError::EnoughPartitions(known));
        }
        if add.total > limit::TOPIC_PARTITIONS_MAX {
            return Err(BrokerError::InvalidPartitions);
        }
        if add.placed.is_some_and(|placed| placed != (add.total - known) as usize) {
            return Err(BrokerError::InvalidPlacement("it is of more or fewer partitions than are added"));
        }
        if add.validate_only {
            return Ok(());
        }
        match self.inner.catalog_command(Command::AddPartitions { id, partitions: add.total }).await? {
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => self.wait_for_streams(id).await.map(drop),
        }
    }

    pub(crate) async fn trim(self, parts: Vec<TrimPart>) -> Reply {
        let trimmed = parts.iter().map(|part| self.trim_part(part));
        Reply::Trimmed(futures::future::join_all(trimmed).await)
    }

    async fn trim_part(&self, part: &TrimPart) -> Result<Offset, BrokerError> {
        let found = self.inner.find_stream(&part.partition, None)?;
        if found.state.config.cleanup == model::config::Cleanup::Compact {
            // Nothing but a later record of the same key removes a record there.
            return Err(BrokerError::NotAllowed("the topic is compacted and nothing else"));
        }
        let to = part.to.unwrap_or(found.state.end);
        let command = Command::Trim { stream: found.id, to };
        match found.shard.command(command).await? {
            MachineReply::Trimmed { start } => Ok(start),
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(BrokerError::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::request::{CreateTopic, Request, TopicRef};
    use crate::setting::Change;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_is_alone_promises_one_replica() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), Config { shards: 1, ..Config::default() }).await.unwrap();
        let create = async |name: &str, replicas, in_sync: Option<&str>| {
            let pairs: Vec<_> = in_sync.map(|value| (IN_SYNC.to_owned(), value.to_owned())).into_iter().collect();
            let (name, settings) = (name.to_owned(), Settings::stored(&pairs));
            let topic = CreateTopic { name, partitions: Some(1), replicas, settings, validate_only: false };
            let Reply::TopicsCreated(mut made) = broker.call(Request::CreateTopics(vec![topic])).await.await else {
                panic!("another answer")
            };
            made.remove(0).map(|info| info.partitions[0].replicas.clone())
        };
        assert_eq!(create("a", Some(1), Some("1")).await, Ok(vec![broker.node()]));
        assert_eq!(create("b", Some(2), None).await, Err(BrokerError::InvalidReplicas(1)));
        assert_eq!(create("b", Some(0), None).await, Err(BrokerError::InvalidReplicas(1)));
        assert!(matches!(create("b", None, Some("2")).await, Err(BrokerError::InvalidConfig(_))));
        let alter = async |name: &str, value: &str| {
            let changes = vec![(name.to_owned(), Change::Set(value.to_owned()))];
            let topic = TopicRef::Name("a".to_owned());
            let alter = AlterTopic { topic, changes, replace: false, validate_only: false };
            match broker.call(Request::AlterTopics(vec![alter])).await.await {
                Reply::TopicsAltered(mut altered) => altered.remove(0),
                _ => panic!("another answer"),
            }
        };
        assert!(matches!(alter(IN_SYNC, "2").await, Err(BrokerError::InvalidConfig(_))));
        assert_eq!(alter(IN_SYNC, "1").await, Ok(()));
        assert_eq!(alter("retention.ms", "5").await, Ok(()));
        broker.stop().await;
    }
}
