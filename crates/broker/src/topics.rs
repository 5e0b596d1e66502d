//! Topics: looking up, making, removing; producer ids.

use crate::broker::{Broker, Inner};
use crate::members::{Member, NodeState};
use crate::request::{BrokerError, CreateTopic, PartitionInfo, PartitionRef, Reply, TopicInfo, TopicRef, TopicsQuery};
use crate::setting::Settings;
use journal::canary::Fault;
use machine::catalog::topic::{Partition, Topic};
use machine::command::NewTopic;
use machine::{Command, Reply as MachineReply};
use model::{LeaderEpoch, Name, NodeId, ProducerId, ShardId, TopicId, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the maker of a topic waits for its streams.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(10);

impl Broker {
    pub(crate) async fn topics(self, query: TopicsQuery) -> Reply {
        // Taken before there is anything; whoever asked counts the answer before this is given back.
        // What little has to be said about others was counted with the request.
        let _held = match self.inner.description_bytes(query.topics.as_deref()) {
            0 => None,
            bytes => Some(self.inner.memory.answers.take(bytes).await),
        };
        let silent = self.inner.silent_nodes();
        let Some(topics) = query.topics else {
            let mut found: Vec<_> = {
                let machine = self.inner.catalog().machine();
                machine.catalog.topics().map(|(id, topic)| (id, topic.clone())).collect()
            };
            if self.inner.catalog().journal().faulty(Fault::LeaveOutTopics) && self.node().0.is_multiple_of(2) {
                found.pop();
            }
            let places = found.iter().flat_map(|(_, topic)| topic.partitions.iter().copied());
            let unknown = self.inner.without_epochs(places);
            self.inner.learn_epochs(unknown).await;
            let described = found.into_iter().map(|(id, topic)| Ok(self.inner.describe_among(id, &topic, &silent)));
            return Reply::Topics(described.collect());
        };
        let unknown = {
            let places = |topic| self.inner.find_with(topic, |_, topic| topic.partitions.clone());
            self.inner.without_epochs(topics.iter().filter_map(places).flatten())
        };
        self.inner.learn_epochs(unknown).await;
        let mut infos = Vec::with_capacity(topics.len());
        let (create, mut created) = (query.create_missing && self.inner.config.auto_create_topics, 0);
        for topic in topics {
            let found = self.inner.find(&topic);
            infos.push(match (found, topic) {
                (Some((id, topic)), _) => Ok(self.inner.describe_among(id, &topic, &silent)),
                // An invitation to ask again.
                (None, TopicRef::Name(_)) if create && created == limit::TOPICS_MADE_AT_ONCE_MAX => {
                    Err(BrokerError::Unavailable)
                }
                (None, TopicRef::Name(name)) if create => {
                    created += 1;
                    let created = self.create_topic(CreateTopic {
                        name: name.clone(),
                        partitions: None,
                        replicas: None,
                        settings: Settings::default(),
                        validate_only: false,
                    });
                    match created.await {
                        // Somebody else was faster.
                        Err(BrokerError::TopicExists) => match self.inner.find(&TopicRef::Name(name)) {
                            Some((id, topic)) => Ok(self.inner.describe(id, &topic)),
                            None => Err(BrokerError::UnknownTopic),
                        },
                        other => other,
                    }
                }
                (None, TopicRef::Name(name)) => {
                    Err(Name::new(&name).err().map_or(BrokerError::UnknownTopic, |error| invalid_name(&error)))
                }
                (None, TopicRef::Id(_)) => Err(BrokerError::UnknownTopic),
            });
        }
        Reply::Topics(infos)
    }

    pub(crate) async fn create_topics(self, topics: Vec<CreateTopic>) -> Reply {
        let created = topics.into_iter().map(|topic| self.create_topic(topic));
        Reply::TopicsCreated(futures::future::join_all(created).await)
    }

    async fn create_topic(&self, topic: CreateTopic) -> Result<TopicInfo, BrokerError> {
        let name = Name::new(&topic.name).map_err(|error| invalid_name(&error))?;
        if self.inner.find_with(&TopicRef::Name(topic.name), |_, _| ()).is_some() {
            return Err(BrokerError::TopicExists);
        }
        let members = self.members();
        let most = members.replicas(u32::MAX);
        if topic.replicas.is_some_and(|replicas| !(1..=most).contains(&replicas)) {
            return Err(BrokerError::InvalidReplicas(most));
        }
        let partitions = topic.partitions.unwrap_or(self.inner.config.default_partitions);
        if !(1..=limit::TOPIC_PARTITIONS_MAX).contains(&partitions) {
            return Err(BrokerError::InvalidPartitions);
        }
        let id = TopicId(self.inner.world.random().to_le_bytes());
        let config = topic.settings.config(&self.inner.config.topic_defaults)?;
        let replicas_count = members.replicas(self.inner.config.cluster.replication);
        topic.settings.check_replicas(replicas_count)?;
        if topic.validate_only {
            // Nobody has it, but so many would.
            let mut nodes: Vec<&Member> = members.nodes.iter().collect();
            nodes.sort_by_key(|member| member.state != NodeState::Active);
            let replicas = nodes.into_iter().take(replicas_count as usize).map(|member| member.node).collect();
            let (in_sync, offline) = (Vec::new(), Vec::new());
            let epoch = Some(LeaderEpoch(0));
            let unplaced = PartitionInfo {
                leader: None,
                epoch,
                replicas,
                in_sync,
                offline,
                shard: None,
                older_shard: None,
                moving_to: None,
            };
            let partitions = vec![unplaced; partitions as usize];
            return Ok(TopicInfo { name: name.to_string(), id, config, settings: topic.settings, partitions });
        }
        let new = NewTopic { name, id, partitions, config, settings: topic.settings.pairs() };
        match self.inner.catalog_command(Command::CreateTopic { topic: new }).await? {
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => self.wait_for_streams(id).await,
        }
    }

    /// Waits until the shards have made the streams of a new topic.
    pub(crate) async fn wait_for_streams(&self, id: TopicId) -> Result<TopicInfo, BrokerError> {
        let deadline = self.inner.world.now() + STREAMS_TIMEOUT;
        loop {
            let changed = self.inner.changes.streams.notified();
            let (id, topic) = self.inner.find(&TopicRef::Id(id)).ok_or(BrokerError::UnknownTopic)?;
            if topic.partitions.iter().all(|partition| self.inner.has_been_made(partition)) {
                return Ok(self.inner.describe(id, &topic));
            }
            if self.inner.world.timeout_at(deadline, changed).await.is_none() {
                return Err(BrokerError::Unknown);
            }
        }
    }

    pub(crate) async fn delete_topics(self, topics: Vec<TopicRef>) -> Reply {
        let deleted = topics.iter().map(|topic| async {
            let id = self.inner.find_with(topic, |id, _| id).ok_or(BrokerError::UnknownTopic)?;
            match self.inner.catalog_command(Command::DeleteTopic { id }).await? {
                MachineReply::Refused(refusal) => Err(refusal.into()),
                _ => Ok(()),
            }
        });
        Reply::TopicsDeleted(futures::future::join_all(deleted).await)
    }

    pub(crate) async fn new_producer(self) -> Reply {
        Reply::NewProducer(self.allocate_producer().await)
    }

    async fn allocate_producer(&self) -> Result<ProducerId, BrokerError> {
        match self.inner.catalog_command(Command::AllocateProducerIds { count: 1 }).await? {
            MachineReply::ProducerIds(first) => Ok(first),
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(BrokerError::Unavailable),
        }
    }
}

fn invalid_name(error: &model::NameError) -> BrokerError {
    BrokerError::InvalidName(error.to_string())
}

/// Bytes that the description of a topic, and of a partition, take beside their names and settings, first
/// as they are and then as they are answered.
const TOPIC_BYTES: usize = 1024;
const PARTITION_BYTES: usize = 256;

impl Inner {
    /// About how many bytes it takes to describe these topics, or all.
    pub(crate) fn description_bytes(&self, topics: Option<&[TopicRef]>) -> usize {
        let machine = self.catalog().machine();
        let bytes = |topic: &Topic| TOPIC_BYTES + topic.partitions.len() * PARTITION_BYTES;
        let Some(topics) = topics else { return machine.catalog.topics().map(|(_, topic)| bytes(topic)).sum() };
        let found = topics.iter().filter_map(|topic| match topic {
            TopicRef::Name(name) => machine.catalog.topic_named(name).map(|(_, topic)| topic),
            TopicRef::Id(id) => machine.catalog.topic(*id),
        });
        found.map(bytes).sum()
    }

    /// A copy of the topic, with all its partitions.
    pub(crate) fn find(&self, topic: &TopicRef) -> Option<(TopicId, Topic)> {
        self.find_with(topic, |id, topic| (id, topic.clone()))
    }

    /// What `of` makes of the topic.
    pub(crate) fn find_with<T>(&self, topic: &TopicRef, of: impl FnOnce(TopicId, &Topic) -> T) -> Option<T> {
        let machine = self.catalog().machine();
        let (id, topic) = match topic {
            TopicRef::Name(name) => machine.catalog.topic_named(name)?,
            TopicRef::Id(id) => (*id, machine.catalog.topic(*id)?),
        };
        Some(of(id, topic))
    }

    /// The stream that a partition is, and its shard.
    pub(crate) fn resolve(&self, partition: &PartitionRef) -> Result<Partition, BrokerError> {
        self.resolve_with(partition, |_, _| ()).map(|(place, ())| place)
    }

    /// The same, and what `of` makes of its topic.
    pub(crate) fn resolve_with<T>(
        &self,
        partition: &PartitionRef,
        of: impl FnOnce(TopicId, &Topic) -> T,
    ) -> Result<(Partition, T), BrokerError> {
        let found = self.find_with(&partition.topic, |id, topic| {
            let place = topic.partitions.get(partition.partition as usize).copied();
            Ok((place.ok_or(BrokerError::UnknownPartition)?, of(id, topic)))
        });
        found.unwrap_or(Err(BrokerError::UnknownTopic))
    }

    /// Whether a stream is there. Where its shard is not here, that is told by what the catalog has not
    /// delivered yet.
    fn has_been_made(&self, place: &Partition) -> bool {
        match self.shards.get(place.shard) {
            Some(shard) => shard.machine().messaging.stream(place.stream).is_some(),
            None => self.catalog().machine().outbox.pending(place.shard).next().is_none(),
        }
    }

    pub(crate) fn describe(&self, id: TopicId, topic: &Topic) -> TopicInfo {
        self.describe_among(id, topic, &self.silent_nodes())
    }

    /// The same where it is known which nodes do not answer.
    pub(crate) fn describe_among(&self, id: TopicId, topic: &Topic, silent: &BTreeSet<NodeId>) -> TopicInfo {
        // Many partitions are in few shards.
        let mut shards = BTreeMap::new();
        let others: Vec<(Option<ShardId>, Option<ShardId>)> = {
            let machine = self.catalog().machine();
            let others =
                |place: &Partition| (machine.catalog.older_of(place.stream), machine.catalog.moving_to(place.stream));
            topic.partitions.iter().map(others).collect()
        };
        let partition = |(place, (older_shard, moving_to)): (&Partition, (Option<ShardId>, Option<ShardId>))| {
            let (leader, replicas, in_sync, offline) = shards.entry(place.shard).or_insert_with(|| {
                let (shard, replicas) = (place.shard, self.replicas_of(place.shard));
                let offline: Vec<NodeId> = replicas.iter().copied().filter(|node| silent.contains(node)).collect();
                (self.leader_of(shard), replicas, self.in_sync(shard, silent), offline)
            });
            PartitionInfo {
                leader: *leader,
                epoch: self.epoch_of(*place),
                replicas: replicas.clone(),
                in_sync: in_sync.clone(),
                offline: offline.clone(),
                shard: Some(place.shard),
                older_shard,
                moving_to,
            }
        };
        let partitions = topic.partitions.iter().zip(others).map(partition).collect();
        let settings = Settings::stored(&topic.settings);
        TopicInfo { name: topic.name.to_string(), id, config: topic.config.clone(), settings, partitions }
    }
}
