//! The broker of one node: resolves names to streams and shards, and hands requests on.

use crate::group::GroupConfig;
use crate::group_usage::Remembered;
use crate::groups::Groups;
use crate::memory::Memory;
use crate::node::{DataFolder, LocalShard, NodeError, Surroundings};
use crate::request::{BrokerError, Reply, Request};
use crate::setting::Settings;
use crate::traffic::Traffic;
use crate::waiters::Waiters;
use futures::future::BoxFuture;
use journal::{CacheBudget, ColdPages};
use machine::{Command, Effect, Refusal};
use model::{NodeId, ShardId, limit};
use parking_lot::Mutex;
use shard::{ProposeError, Role, Shard};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// How a broker is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shards that a new node starts with, the catalog not counted.
    pub shards: u32,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: u32,
    /// Whether asking for a missing topic may make it.
    pub auto_create_topics: bool,
    /// What topics are set to of which nobody says otherwise.
    pub topic_defaults: Settings,
    /// Bytes of recent records kept in memory.
    pub cache_bytes: usize,
    /// Bytes that readers who catch up may leave in the page cache.
    pub cold_pages_bytes: u64,
    /// Bytes that clients can make the node take for requests and answers.
    pub memory_bytes: u64,
    /// How often streams are looked through for what is to be compacted.
    pub compaction_interval: Duration,
    /// Groups.
    pub groups: GroupConfig,
    /// How long a request may wait for consensus before its outcome is called unknown.
    pub propose_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Config {
            shards: cores as u32,
            default_partitions: 1,
            auto_create_topics: true,
            topic_defaults: Settings::default(),
            cache_bytes: limit::TAIL_CACHE_BYTES,
            cold_pages_bytes: limit::COLD_PAGES_BYTES_DEFAULT,
            memory_bytes: limit::MEMORY_BYTES_DEFAULT,
            compaction_interval: shard::Upkeep::default().compaction_interval,
            groups: GroupConfig::default(),
            propose_timeout: Duration::from_secs(30),
        }
    }
}

/// A reply that is not there yet.
pub type Pending = BoxFuture<'static, Reply>;

/// See the module's documentation. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) folder: DataFolder,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    local: Mutex<Vec<LocalShard>>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) groups: Groups,
    /// What goes into topics and out of them.
    pub(crate) traffic: Traffic,
    /// What is remembered from one look at all groups to the next. Held by whoever looks.
    pub(crate) seen_groups: Arc<tokio::sync::Mutex<Remembered>>,
    pub(crate) memory: Memory,
    /// Turns to look into pieces that take much work.
    pub(crate) inspecting: Arc<Semaphore>,
    /// Held by whoever measures partitions.
    pub(crate) sizing: tokio::sync::Mutex<()>,
}

/// Bells for what the broker's own tasks wait for.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Streams or topics came or went, somewhere.
    pub(crate) streams: Notify,
    /// There may be outbox items to deliver.
    pub(crate) outbox: Notify,
    /// A shard has another leader.
    pub(crate) role: Notify,
}

impl Broker {
    /// Opens the folder and starts every shard in it; a new folder gets the catalog and as many
    /// shards as configured. Returns when all of them can be written to.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(path: &Path, config: Config) -> Result<Self, NodeError> {
        Broker::start_with(path, config, Traffic::new(limit::METRIC_TOPICS_MAX)).await
    }

    pub(crate) async fn start_with(path: &Path, config: Config, traffic: Traffic) -> Result<Self, NodeError> {
        let folder = DataFolder::open(path)?;
        let waiters = Arc::new(Waiters::default());
        let changes = Arc::new(Changes::default());
        let around = Surroundings {
            cache: CacheBudget::new(config.cache_bytes),
            cold: ColdPages::new(config.cold_pages_bytes),
            upkeep: shard::Upkeep { compaction_interval: config.compaction_interval, ..shard::Upkeep::default() },
            turns: Arc::new(Semaphore::new(1)),
            on_effects: {
                let (waiters, changes) = (waiters.clone(), changes.clone());
                Arc::new(move |_, effects| on_effects(effects, &waiters, &changes))
            },
            on_role: {
                let (waiters, changes) = (waiters.clone(), changes.clone());
                Arc::new(move |_| {
                    waiters.wake_all();
                    changes.role.notify_waiters();
                    changes.outbox.notify_one();
                })
            },
        };
        let ids = folder.shards_or_new(config.shards.max(1))?;
        let started =
            futures::future::join_all(ids.iter().map(|id| LocalShard::start(&folder, *id, around.clone()))).await;
        let local = started.into_iter().collect::<Result<Vec<_>, _>>()?;
        let shards: BTreeMap<ShardId, Shard> =
            local.iter().map(|local| (local.shard.id(), local.shard.clone())).collect();
        let groups = Groups::start(&shards, &config.groups);
        let (local, sizing) = (Mutex::new(local), tokio::sync::Mutex::default());
        // At most as many as there are processors: the others have work, too.
        let turns = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let inspecting = Arc::new(Semaphore::new(turns));
        let memory = Memory::new(config.memory_bytes);
        let inner = Inner {
            config,
            folder,
            shards,
            local,
            waiters,
            changes,
            groups,
            traffic,
            seen_groups: Arc::default(),
            memory,
            inspecting,
            sizing,
        };
        let broker = Broker { inner: Arc::new(inner) };
        if let Err(error) = broker.bootstrap().await {
            broker.stop().await;
            return Err(error);
        }
        tokio::spawn(crate::delivery::run(Arc::downgrade(&broker.inner)));
        tokio::spawn(crate::defaults::follow(Arc::downgrade(&broker.inner)));
        Ok(broker)
    }

    /// Waits until every shard has applied a command of its leader here, and tells the catalog
    /// which shards there are.
    ///
    /// # Errors
    /// `Missing` when the catalog knows of a shard that is not here, where the only node is.
    async fn bootstrap(&self) -> Result<(), NodeError> {
        for shard in self.inner.shards.values() {
            while let Err(ProposeError::NotLeader(_)) = shard.command(Command::Tick).await {
                let changed = self.inner.changes.role.notified();
                if shard.role() != Role::Leader {
                    let _ = tokio::time::timeout(Duration::from_millis(10), changed).await;
                }
            }
        }
        let catalog = self.inner.catalog();
        let known: Vec<ShardId> = catalog.machine().catalog.shards().collect();
        if let Some(shard) = known.iter().find(|id| !self.inner.shards.contains_key(id)) {
            return Err(NodeError::Missing { shard: *shard, folder: self.inner.folder.shard_folder(*shard) });
        }
        let new: Vec<ShardId> =
            self.inner.shards.keys().filter(|id| **id != ShardId::CATALOG && !known.contains(id)).copied().collect();
        if !new.is_empty() {
            let _ = catalog.command(Command::AddShards { shards: new }).await;
        }
        Ok(())
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.me()
    }

    /// The cluster's identity.
    #[must_use]
    pub fn cluster(&self) -> u128 {
        self.inner.folder.identity.cluster
    }

    /// The memory for requests and answers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// The shards of this node, for status and metrics.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.inner.shards.values()
    }

    /// Starts a request. What has to happen in the order of requests has happened when this
    /// returns: appends are in their shards' queues. It waits for room there. The outcome follows.
    pub async fn call(&self, request: Request) -> Pending {
        match request {
            Request::Topics(query) => Box::pin(self.clone().topics(query)),
            Request::TopicPage(query) => Box::pin(self.clone().topic_page(query)),
            Request::CreateTopics(topics) => Box::pin(self.clone().create_topics(topics)),
            Request::DeleteTopics(topics) => Box::pin(self.clone().delete_topics(topics)),
            Request::AlterTopics(topics) => Box::pin(self.clone().alter_topics(topics)),
            Request::AddPartitions(topics) => Box::pin(self.clone().add_partitions(topics)),
            Request::Trim(parts) => Box::pin(self.clone().trim(parts)),
            Request::Sizes(query) => Box::pin(self.clone().sizes(query)),
            Request::Node => Box::pin(self.clone().node_info()),
            Request::Append(parts) => self.append(parts).await,
            Request::Read(query) => Box::pin(self.clone().read(query)),
            Request::Offsets(queries) => Box::pin(self.clone().offsets(queries)),
            Request::EpochEnds(queries) => Box::pin(self.clone().epoch_ends(queries)),
            Request::Lag(queries) => Box::pin(self.clone().lags(queries)),
            Request::NewProducer => Box::pin(self.clone().new_producer()),
            Request::Group(request) => Box::pin(self.clone().group(request)),
            Request::DescribeGroups(groups) => Box::pin(self.clone().describe_groups(groups)),
            Request::CommitOffsets(commit) => Box::pin(self.clone().commit_offsets(commit)),
            Request::FetchOffsets(fetches) => Box::pin(self.clone().fetch_offsets(fetches)),
            Request::DeleteOffsets(delete) => Box::pin(self.clone().delete_offsets(delete)),
        }
    }

    /// Leaves a checkpoint of every shard and stops.
    pub async fn stop(&self) {
        let local = std::mem::take(&mut *self.inner.local.lock());
        futures::future::join_all(local.into_iter().map(LocalShard::stop)).await;
    }
}

fn on_effects(effects: &[Effect], waiters: &Waiters, changes: &Changes) {
    for effect in effects {
        match effect {
            Effect::StreamGrew(stream) => waiters.wake(*stream),
            Effect::StreamGone(stream) => {
                waiters.wake(*stream);
                changes.streams.notify_waiters();
            }
            Effect::StreamShrank(_) => {}
            Effect::StreamMade(_) | Effect::CatalogChanged => changes.streams.notify_waiters(),
            Effect::OutboxFor(_) => changes.outbox.notify_one(),
        }
    }
}

impl Inner {
    pub(crate) fn me(&self) -> NodeId {
        self.folder.identity.node
    }

    pub(crate) fn catalog(&self) -> &Shard {
        // Every node follows the catalog: it is the first shard that `start` makes.
        &self.shards[&ShardId::CATALOG]
    }
}

impl From<ProposeError> for BrokerError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader(leader) => BrokerError::NotLeader(leader),
            ProposeError::Unknown => BrokerError::Unknown,
            ProposeError::DiskFull => BrokerError::DiskFull,
            ProposeError::Stopped => BrokerError::Unavailable,
        }
    }
}

impl From<Refusal> for BrokerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownStream | Refusal::UnknownTopic => BrokerError::UnknownTopic,
            // Sequenced against a state that did not come to be: nothing was written.
            Refusal::WrongOffset => BrokerError::NotLeader(None),
            Refusal::TooLarge => BrokerError::TooLarge,
            Refusal::OutOfOrderSequence => BrokerError::OutOfOrderSequence,
            Refusal::FencedProducer => BrokerError::FencedProducer,
            Refusal::OffsetOutOfRange => BrokerError::OffsetOutOfRange,
            Refusal::LimitReached(what) => BrokerError::LimitReached(what),
            Refusal::NameTaken => BrokerError::TopicExists,
            Refusal::InvalidPartitions => BrokerError::InvalidPartitions,
            Refusal::EnoughPartitions(count) => BrokerError::EnoughPartitions(count),
            // Again and again, or it would have been tried again.
            Refusal::Changed => BrokerError::Unknown,
            Refusal::NoShards | Refusal::NotYet => BrokerError::Unavailable,
            Refusal::Invalid(what) => BrokerError::InvalidRecord(what.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_shard_that_is_gone_is_missed() {
        let data = tempfile::tempdir().unwrap();
        let start = || Broker::start(data.path(), Config { shards: 2, ..Config::default() });
        let shard = data.path().join("shards").join("00000002");
        let elsewhere = data.path().join("elsewhere");
        let stop = async |broker: Broker| {
            broker.stop().await;
            let inner = Arc::downgrade(&broker.inner);
            drop(broker);
            while inner.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        stop(start().await.unwrap()).await;
        std::fs::rename(&shard, &elsewhere).unwrap();
        for _ in 0..2 {
            let error = start().await.err().unwrap();
            assert!(matches!(&error, NodeError::Missing { shard: ShardId(2), folder } if *folder == shard), "{error}");
            assert!(!shard.exists(), "an empty one would hide that it is missing");
        }
        std::fs::rename(&elsewhere, &shard).unwrap();
        stop(start().await.unwrap()).await;
    }
}
