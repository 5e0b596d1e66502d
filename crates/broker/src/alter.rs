//! Changing topics: what they are set to, how many partitions they have, where those begin.

use crate::broker::Broker;
use crate::request::{AddPartitions, AlterTopic, BrokerError, Reply, TrimPart};
use crate::setting::Settings;
use machine::{Command, Refusal, Reply as MachineReply};
use model::{Offset, limit};

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
            if alter.validate_only {
                return Ok(());
            }
            let (revision, settings) = (topic.revision, settings.pairs());
            let command = Command::ConfigureTopic { id, revision, config, settings };
            match self.inner.catalog().command(command).await? {
                MachineReply::Refused(Refusal::Changed) => {}
                MachineReply::Refused(refusal) => return Err(refusal.into()),
                _ => return Ok(()),
            }
        }
        Err(Refusal::Changed.into())
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
        match self.inner.catalog().command(Command::AddPartitions { id, partitions: add.total }).await? {
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
