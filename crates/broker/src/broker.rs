//! The broker of one node: resolves names to streams and shards, and hands requests on.

use crate::cluster::ClusterConfig;
use crate::cluster::desk::NodeDesk;
use crate::cluster::entrance::Entrance;
use crate::cluster::epochs::Epochs;
use crate::cluster::errand::Service;
use crate::cluster::leaders::Leaders;
use crate::cluster::load::Load;
use crate::cluster::network::Network;
use crate::cluster::reach::Reach;
use crate::group::GroupConfig;
use crate::group_usage::Remembered;
use crate::groups::Groups;
use crate::hedge::Hedge;
use crate::home::{FolderHome, Home, Local, Origin};
use crate::identity::{Identity, Stage};
use crate::memory::Memory;
use crate::node::{DataFolder, NodeError};
use crate::request::{BrokerError, Reply, Request};
use crate::setting::Settings;
use crate::shards::Shards;
use crate::traffic::Traffic;
use crate::waiters::Waiters;
use crate::world::World;
use futures::future::BoxFuture;
use journal::{CacheBudget, ColdPages};
use machine::catalog::NodeState;
use machine::refusal::Limit;
use machine::{Command, Effect, Refusal};
use model::{Incarnation, NodeId, ShardId, limit};
use shard::{Bandwidth, Environment, ProposeError, Role, Shard, Transport};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
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
    /// Bytes a second that the node copies of what it lacks, all shards together; without a limit as many as come.
    pub catch_up_bytes_per_second: Option<NonZeroU64>,
    /// Groups.
    pub groups: GroupConfig,
    /// How long a request may wait for consensus before its outcome is called unknown.
    pub propose_timeout: Duration,
    /// The node's place among others.
    pub cluster: ClusterConfig,
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
            catch_up_bytes_per_second: NonZeroU64::new(limit::CATCH_UP_BYTES_PER_SECOND_DEFAULT),
            groups: GroupConfig::default(),
            propose_timeout: Duration::from_secs(30),
            cluster: ClusterConfig::default(),
        }
    }
}

/// What a broker is put together from: of a process, or of the simulator.
pub struct Parts {
    /// How it is configured.
    pub config: Config,
    /// Who it is.
    pub identity: Identity,
    /// The shards that it founds, if it founds a cluster.
    pub founds: Vec<ShardId>,
    /// Where it keeps what it must not forget.
    pub home: Arc<dyn Home>,
    /// The way to other nodes, unless it stays alone.
    pub network: Option<Arc<dyn Network>>,
    /// Time, tasks, threads and chance.
    pub world: World,
    /// What answers other nodes.
    pub desk: Arc<NodeDesk>,
    /// What counts traffic.
    pub traffic: Traffic,
    /// Where it listens for other nodes.
    pub peer_address: Option<SocketAddr>,
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
    pub(crate) home: Arc<dyn Home>,
    me: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: u128,
    /// Every node follows the catalog.
    catalog: Shard,
    pub(crate) shards: Arc<Shards>,
    /// What replicas are started with.
    environment: Environment,
    /// The way to other nodes, unless this one stays alone.
    pub(crate) network: Option<Arc<dyn Network>>,
    peer_address: Option<SocketAddr>,
    pub(crate) world: World,
    /// Who was last known to lead shards that are not here.
    pub(crate) leaders: Leaders,
    /// What their leaders have told of leader epochs.
    pub(crate) epochs: Epochs,
    /// Whether the others are heard of.
    pub(crate) reach: Reach,
    /// Turns to propose for other nodes.
    pub(crate) forwards: Arc<Semaphore>,
    /// Where what clients of other nodes want is done.
    pub(crate) service: Service,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) groups: Groups,
    /// What goes into topics and out of them.
    pub(crate) traffic: Traffic,
    /// What the streams take that this node leads.
    pub(crate) load: Load,
    /// Bytes of older records that may be read for other nodes before those read last are sent.
    pub(crate) unsent: Arc<Semaphore>,
    /// When older records are asked of one more node.
    pub(crate) hedge: Hedge,
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
    /// There may be something to do about who has which shard.
    pub(crate) cluster: Notify,
    stopping: AtomicBool,
}

impl Changes {
    /// Ends the broker's own tasks.
    fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.cluster.notify_one();
    }

    pub(crate) fn are_over(&self) -> bool {
        self.stopping.load(Relaxed)
    }
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
        let entrance = Entrance::open(&folder, &config.cluster).await?;
        let identity = entrance.identity.clone();
        let founds = match identity.stage {
            Stage::Founding => folder.shards_or_new(config.shards.max(1))?,
            Stage::Joining | Stage::Member => Vec::new(),
        };
        let desk = NodeDesk::new();
        let network = entrance.link(desk.clone()).await?;
        let peer_address = network.as_ref().map(|network| network.address());
        let (cache, cold) = (CacheBudget::new(config.cache_bytes), ColdPages::new(config.cold_pages_bytes));
        Broker::assemble(Parts {
            home: Arc::new(FolderHome { folder, cache, cold, me: identity.node }),
            network: network.map(|network| network as Arc<dyn Network>),
            world: World::real(),
            config,
            identity,
            founds,
            desk,
            traffic,
            peer_address,
        })
        .await
    }

    /// Starts a broker of parts that are ready.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn assemble(parts: Parts) -> Result<Self, NodeError> {
        let Parts { config, identity, founds, home, network, world, desk, traffic, peer_address } = parts;
        let waiters = Arc::new(Waiters::default());
        let changes = Arc::new(Changes::default());
        let environment = Environment {
            transport: match &network {
                Some(network) => network.clone(),
                None => Arc::new(shard::Alone) as Arc<dyn Transport>,
            },
            wall: {
                let world = world.clone();
                Arc::new(move || world.wall())
            },
            offload: {
                let world = world.clone();
                Arc::new(move |work| world.offload(work))
            },
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
                    changes.cluster.notify_one();
                })
            },
            upkeep: shard::Upkeep { compaction_interval: config.compaction_interval, ..shard::Upkeep::default() },
            turns: Arc::new(Semaphore::new(1)),
            catch_up: shard::CatchUp {
                bandwidth: config.catch_up_bytes_per_second.map(|rate| Bandwidth::new(rate, Arc::new(world.clone()))),
                ..shard::CatchUp::default()
            },
        };
        let shards = desk.shards();
        let catalog = open_shards(&*home, &identity, founds, &shards, &environment).await?;
        let groups = Groups::new(catalog.clone(), config.groups.clone(), world.clone());
        shards.all().iter().filter(|shard| shard.id() != ShardId::CATALOG).for_each(|shard| groups.open(shard));
        // At most as many as there are processors: the others have work, too.
        let turns = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let inner = Inner {
            memory: Memory::new(config.memory_bytes),
            config,
            home,
            me: identity.node,
            incarnation: Incarnation(identity.incarnation),
            cluster: identity.cluster,
            catalog,
            shards,
            environment,
            network,
            peer_address,
            world: world.clone(),
            leaders: Leaders::default(),
            epochs: Epochs::default(),
            reach: Reach::default(),
            forwards: Arc::new(Semaphore::new(limit::FORWARDS_MAX)),
            service: Service::default(),
            waiters,
            changes,
            groups,
            traffic,
            load: Load::default(),
            unsent: Arc::new(Semaphore::new(limit::OLDER_BYTES_UNSENT_MAX)),
            hedge: Hedge::default(),
            seen_groups: Arc::default(),
            inspecting: Arc::new(Semaphore::new(turns)),
            sizing: tokio::sync::Mutex::default(),
        };
        let broker = Broker { inner: Arc::new(inner) };
        desk.open(&broker.inner);
        if let Err(error) = broker.bootstrap(identity.stage).await {
            broker.stop().await;
            return Err(error);
        }
        if broker.inner.network.is_some() {
            world.spawn(crate::cluster::driver::run(Arc::downgrade(&broker.inner)));
            if broker.inner.config.cluster.sheds {
                world.spawn(crate::cluster::spreader::run(Arc::downgrade(&broker.inner)));
            }
        }
        world.spawn(crate::delivery::run(Arc::downgrade(&broker.inner)));
        world.spawn(crate::defaults::follow(Arc::downgrade(&broker.inner)));
        Ok(broker)
    }

    /// Waits until every shard that this node decides alone has applied a command of its leader, and makes
    /// sure that the catalog knows the shards of a new cluster. A node that joins waits until it finds
    /// itself in the catalog.
    ///
    /// # Errors
    /// `Missing` when the catalog knows of a shard that is nowhere.
    async fn bootstrap(&self, stage: Stage) -> Result<(), NodeError> {
        let inner = &self.inner;
        for shard in
            inner.shards.all().into_iter().filter(|shard| stage == Stage::Founding || inner.decides_alone(shard))
        {
            while let Err(ProposeError::NotLeader(_)) = shard.command(Command::Tick).await {
                let changed = inner.changes.role.notified();
                if shard.role() != Role::Leader {
                    let _ = inner.world.timeout(Duration::from_millis(10), changed).await;
                }
            }
        }
        match stage {
            Stage::Founding => self.tell_the_catalog().await?,
            Stage::Joining => {
                loop {
                    let changed = inner.changes.streams.notified();
                    if inner.catalog().machine().catalog.node(inner.me()).is_some() {
                        break;
                    }
                    let _ = inner.world.timeout(Duration::from_millis(100), changed).await;
                }
                inner.home.change_identity(&mut |identity| identity.stage = Stage::Member)?;
            }
            Stage::Member => {}
        }
        if inner.config.cluster.join.is_some() && !inner.has_company() {
            return Err(NodeError::Founded(inner.home.path()));
        }
        let machine = inner.catalog().machine();
        let missing = machine.catalog.shards().find(|id| {
            // Where nobody has been told to have it, this node has it or nobody.
            machine.catalog.placement(*id).is_none() && inner.shards.get(*id).is_none()
        });
        drop(machine);
        match missing {
            Some(shard) => Err(NodeError::Missing { shard, folder: inner.home.path_of(shard) }),
            None => Ok(()),
        }
    }

    /// Makes sure that the catalog of a new cluster knows its shards: then it is founded.
    async fn tell_the_catalog(&self) -> Result<(), NodeError> {
        let inner = &self.inner;
        let here: Vec<ShardId> = inner.shards.all().into_iter().map(|shard| shard.id()).collect();
        let unknown = || -> Vec<ShardId> {
            let known: BTreeSet<ShardId> = inner.catalog().machine().catalog.shards().collect();
            here.iter().copied().filter(|id| *id != ShardId::CATALOG && !known.contains(id)).collect()
        };
        let new = unknown();
        if !new.is_empty()
            && let Err(error) = inner.catalog().command(Command::AddShards { shards: new }).await
        {
            tracing::warn!(%error, "the catalog has not heard of all shards; it is told again at the next start");
        }
        if !unknown().is_empty() {
            return Ok(());
        }
        inner.home.change_identity(&mut |identity| {
            (identity.stage, identity.replicas) = (Stage::Member, here.clone());
        })
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.me()
    }

    /// The cluster's identity.
    #[must_use]
    pub fn cluster(&self) -> u128 {
        self.inner.cluster
    }

    /// The memory for requests and answers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// The shards of this node, for status and metrics.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.inner.shards.all()
    }

    /// What the connections with other nodes have seen, if it listens for them.
    #[must_use]
    pub fn peer_counts(&self) -> Option<peer::Counts> {
        self.inner.network.as_ref()?.counts()
    }

    /// Where other nodes reach this one, if it listens for them.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.inner.peer_address
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
            Request::ElectLeaders(query) => Box::pin(self.clone().elect_leaders(query)),
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
        self.inner.changes.stop();
        futures::future::join_all(self.inner.shards.take_all().into_iter().map(Local::stop)).await;
        if let Some(network) = &self.inner.network {
            network.stop().await;
        }
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
            // Whoever has no replica of the shard goes by the catalog's outbox.
            Effect::StreamMade(_) | Effect::Delivered(_) => changes.streams.notify_waiters(),
            Effect::CatalogChanged => {
                changes.streams.notify_waiters();
                changes.cluster.notify_one();
            }
            Effect::OutboxFor(_) => changes.outbox.notify_one(),
        }
    }
}

/// Opens the replicas that the node has, and those of a new cluster. Returns the catalog's.
async fn open_shards(
    home: &dyn Home,
    identity: &Identity,
    founds: Vec<ShardId>,
    shards: &Shards,
    environment: &Environment,
) -> Result<Shard, NodeError> {
    let missing = |shard| NodeError::Missing { shard, folder: home.path_of(shard) };
    if let Some(lost) = identity.replicas.iter().find(|shard| !home.has_data(**shard)) {
        return Err(missing(*lost));
    }
    let founding = identity.stage == Stage::Founding;
    let origin = if founding { Origin::Found } else { Origin::Follow };
    let mut ids: BTreeSet<ShardId> = identity.replicas.iter().copied().chain(founds).collect();
    ids.insert(ShardId::CATALOG);
    let started = futures::future::join_all(ids.iter().map(|id| home.start(*id, origin, environment.clone())));
    for local in started.await {
        shards.add(local?);
    }
    if !founding {
        home.change_identity(&mut |identity| identity.replicas = ids.iter().copied().collect())?;
    }
    shards.get(ShardId::CATALOG).ok_or_else(|| missing(ShardId::CATALOG))
}

impl Inner {
    pub(crate) fn me(&self) -> NodeId {
        self.me
    }

    pub(crate) fn catalog(&self) -> &Shard {
        &self.catalog
    }

    /// The replica of a shard.
    ///
    /// # Errors
    /// `NotLeader` when this node has none.
    pub(crate) fn shard(&self, shard: ShardId) -> Result<Shard, BrokerError> {
        self.shards.get(shard).ok_or_else(|| BrokerError::NotLeader(self.leader_of(shard)))
    }

    /// Whether there are other nodes, as far as is known here.
    pub(crate) fn has_company(&self) -> bool {
        let machine = self.catalog.machine();
        machine.catalog.nodes().any(|(id, node)| id != self.me && node.state != NodeState::Removed)
    }

    /// Whether no other node is asked about what the shard does.
    fn decides_alone(&self, shard: &Shard) -> bool {
        shard.membership().voters == [BTreeSet::from([self.me])]
    }

    /// Opens a replica that this node is to have, too, or alone: whoever is the first to have a shard founds
    /// it.
    pub(crate) async fn open_shard(&self, id: ShardId) -> Result<(), NodeError> {
        let is_first = {
            let machine = self.catalog.machine();
            machine.catalog.placement(id).is_some_and(|first| first.revision == 1 && first.replicas == [self.me])
        };
        let mut had_it = false;
        self.home.change_identity(&mut |identity| had_it = identity.left.contains(&id))?;
        let origin = if is_first && !had_it { Origin::Found } else { Origin::Follow };
        let local = self.home.start(id, origin, self.environment.clone()).await?;
        // Before it can be asked anything: what it says from then on must not be forgotten.
        self.home.change_identity(&mut |identity| {
            identity.replicas.push(id);
            identity.replicas.sort_unstable();
            identity.replicas.dedup();
        })?;
        self.groups.open(local.shard());
        self.shards.add(local);
        Ok(())
    }

    /// Closes a replica that nobody counts on any more, and removes what it has on disk.
    pub(crate) async fn drop_shard(&self, id: ShardId) -> Result<(), NodeError> {
        let Some(local) = self.shards.take(id) else { return Ok(()) };
        self.groups.close(id);
        local.stop().await;
        self.home.change_identity(&mut |identity| {
            identity.replicas.retain(|replica| *replica != id);
            identity.left.retain(|left| *left != id);
            identity.left.push(id);
            identity.left.sort_unstable();
        })?;
        self.home.remove(id).await
    }
}

/// The term in which this node leads `shard`, and has all that was acknowledged before.
pub(crate) fn leading(shard: &Shard) -> Result<u64, BrokerError> {
    shard.leading().map_err(|leader| match shard.role() {
        Role::Stopped => BrokerError::Unavailable,
        Role::Leader | Role::Follower(_) => BrokerError::NotLeader(leader),
    })
}

/// The same, when it is sure that no other node has told anybody more meanwhile.
pub(crate) fn leading_for_sure(shard: &Shard) -> Result<u64, BrokerError> {
    let term = leading(shard)?;
    if shard.is_sure_to_lead() { Ok(term) } else { Err(BrokerError::NotLeader(None)) }
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
            // Whoever looks again finds where it goes on.
            Refusal::Moved(_) => BrokerError::NotLeader(None),
            Refusal::Moving => BrokerError::Moving,
            Refusal::UnknownShard => BrokerError::UnknownShard,
            Refusal::TooLarge => BrokerError::TooLarge,
            Refusal::OutOfOrderSequence => BrokerError::OutOfOrderSequence,
            Refusal::FencedProducer => BrokerError::FencedProducer,
            Refusal::OffsetOutOfRange => BrokerError::OffsetOutOfRange,
            Refusal::LimitReached(Limit::Moves) => BrokerError::TooManyMoves,
            Refusal::LimitReached(what) => BrokerError::LimitReached(what.name()),
            Refusal::NameTaken => BrokerError::TopicExists,
            Refusal::InvalidPartitions => BrokerError::InvalidPartitions,
            Refusal::EnoughPartitions(count) => BrokerError::EnoughPartitions(count),
            // Again and again, or it would have been tried again.
            Refusal::Changed => BrokerError::Unknown,
            Refusal::NoShards | Refusal::NotYet => BrokerError::Unavailable,
            Refusal::Invalid(what) => BrokerError::InvalidRecord(what.to_string()),
            Refusal::UnknownNode => BrokerError::UnknownNode,
            Refusal::NodeInUse => BrokerError::NodeInUse,
            Refusal::NodeRemoved => BrokerError::NodeRemoved,
            // About nodes and shards, which no client asks for.
            Refusal::TooNew | Refusal::OtherIncarnation | Refusal::NodeIdTaken | Refusal::TooOld => {
                BrokerError::Unavailable
            }
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
