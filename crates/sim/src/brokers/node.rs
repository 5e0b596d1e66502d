//! A node: hardware that stays, and the process on it now, which may still be on its way into the cluster.

use super::book::Book;
use super::caller::{Door, Doors};
use super::facts::Facts;
use super::home::{Hardware, SimHome, count};
use super::join::Joiner;
use super::net::{Net, Sender, Server};
use super::process::{AllStates, Inside, Process};
use super::shape::Shape;
use crate::rng::Rng;
use crate::time::now;
use crate::trace::Trace;
use broker::cluster::desk::NodeDesk;
use broker::cluster::network::Network;
use broker::cluster::{Advertised, ClusterConfig};
use broker::group::GroupConfig;
use broker::identity::{Identity, Stage};
use broker::traffic::Traffic;
use broker::world::World;
use broker::{Broker, Config, Parts};
use futures::future::join_all;
use journal::canary::Fault;
use model::{NodeId, ShardId, limit};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// How long a broker waits for consensus: less than clients wait for it.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a broker may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// What all nodes of a run are given.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) net: Net,
    pub(super) shape: Shape,
    pub(super) fault: Option<Fault>,
    pub(super) trace: Trace,
    pub(super) states: AllStates,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) doors: Doors,
}

/// How far a process is.
enum Progress {
    Starting,
    Up(Broker),
    Failed(String),
}

/// See the module's documentation.
pub(super) struct Node {
    /// Where it stands: its address, and its number as long as the cluster gives numbers in the order of joining.
    pub(super) place: u64,
    pub(super) hardware: Arc<Hardware>,
    /// By how much its wall clock is wrong, in milliseconds.
    pub(super) clock_error: Arc<AtomicI64>,
    ground: Ground,
    rng: Rng,
    starts: u64,
    running: Option<Running>,
    /// What it wrote before is on stable storage, while it is down.
    stable_at: Duration,
    /// Its disks have failed since it was last up: that it does not start is no wonder.
    pub(super) is_excused: bool,
}

struct Running {
    process: Arc<Process>,
    progress: Arc<Mutex<Progress>>,
}

impl Node {
    pub(super) fn new(place: u64, ground: Ground, mut rng: Rng) -> Self {
        let (hardware, clock_error) = (Hardware::new(rng.fork()), Arc::default());
        let (starts, running, stable_at, is_excused) = (0, None, Duration::ZERO, false);
        Node { place, hardware, clock_error, ground, rng, starts, running, stable_at, is_excused }
    }

    /// Its number, once it has one.
    pub(super) fn id(&self) -> Option<NodeId> {
        self.hardware.identity().map(|identity| identity.node).filter(|node| *node != NodeId(0))
    }

    /// Whether there is a process, on its way or up.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Its broker, if it is up.
    pub(super) fn broker(&self) -> Option<Broker> {
        match &*self.running.as_ref()?.progress.lock() {
            Progress::Up(broker) => Some(broker.clone()),
            Progress::Starting | Progress::Failed(_) => None,
        }
    }

    /// Why its process has ended by itself, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        match &*self.running.as_ref()?.progress.lock() {
            Progress::Failed(why) => Some(why.clone()),
            Progress::Starting | Progress::Up(_) => None,
        }
    }

    /// Starts a process, which is up some time later.
    pub(super) fn start(&mut self) {
        assert!(self.running.is_none(), "a machine runs one process");
        self.starts += 1;
        self.ground.trace.line(format_args!("{:?} h{} starts", now(), self.place));
        self.ground.net.begin(self.place, self.starts);
        let process = Process::new(self.clock_error.clone(), self.rng.fork());
        let progress = Arc::new(Mutex::new(Progress::Starting));
        let boot = Boot {
            sender: Sender { net: self.ground.net.clone(), place: self.place, start: self.starts },
            hardware: self.hardware.clone(),
            process: process.clone(),
            ground: self.ground.clone(),
            rng: self.rng.fork(),
        };
        let (ours, place) = (progress.clone(), self.place);
        let (doors, trace, death) = (self.ground.doors.clone(), self.ground.trace.clone(), process.death());
        process.spawn(Box::pin(async move {
            let progress = match boot.run().await {
                Ok(broker) => {
                    trace.line(format_args!("{:?} h{place} is up as {}", now(), broker.node()));
                    doors.open(Door::new(broker.clone(), death));
                    Progress::Up(broker)
                }
                Err(why) => {
                    trace.line(format_args!("{:?} h{place} does not start: {why}", now()));
                    Progress::Failed(why)
                }
            };
            *ours.lock() = progress;
        }));
        self.running = Some(Running { process, progress });
    }

    /// The process is gone: nothing it has begun comes to an end.
    pub(super) async fn crash(&mut self, power: bool) {
        let what = if power { "loses power" } else { "is killed" };
        self.ground.trace.line(format_args!("{:?} h{} {what}", now(), self.place));
        self.end().await;
        if power {
            self.hardware.lose_power();
            if let Some(node) = self.id() {
                self.ground.book.lock().records.losses.add(node, self.stable_at, now());
            }
        }
    }

    /// Ends the process, if there is one.
    pub(super) async fn end(&mut self) {
        let Some(Running { process, progress }) = self.running.take() else { return };
        if let Some(node) = self.id() {
            self.ground.doors.close(node);
        }
        self.ground.net.unplug(self.place);
        let opened = process.end();
        let stable = opened.iter().map(|opened| opened.end());
        self.stable_at = stable.min().unwrap_or_else(now);
        opened.iter().for_each(|opened| count(opened, &self.ground.facts));
        join_all(opened.iter().map(|opened| opened.end_replica())).await;
        // The broker goes with the last of its tasks.
        drop(progress);
    }

    /// The process ends in peace: it hands over what it leads and closes its journals.
    pub(super) async fn stop(&mut self) {
        self.ground.trace.line(format_args!("{:?} h{} stops", now(), self.place));
        if let Some(broker) = self.broker() {
            let stopping = async {
                broker.hand_over().await;
                broker.stop().await;
            };
            // Who waits longer is killed.
            let _ = SimRuntime::timeout(STOP_PATIENCE, stopping).await;
        }
        self.end().await;
    }
}

/// A process on its way.
struct Boot {
    sender: Sender,
    hardware: Arc<Hardware>,
    process: Arc<Process>,
    ground: Ground,
    rng: Rng,
}

impl Boot {
    async fn run(mut self) -> Result<Broker, String> {
        let mut identity = self.identity();
        let mut nodes = BTreeMap::new();
        if identity.stage == Stage::Joining {
            let joined = self.joiner().join(&identity).await?;
            (identity.cluster, identity.node) = (joined.cluster, joined.node);
            self.hardware.set_identity(identity.clone());
            nodes = joined.nodes;
        }
        self.ground.book.lock().ids.node(identity.incarnation, identity.node)?;
        let desk = NodeDesk::new();
        let server = Server { node: identity.node, cluster: identity.cluster, desk: desk.clone() };
        let port = Arc::new(self.sender.clone().plug(server));
        nodes.remove(&identity.node);
        port.follow(nodes).await;
        let founds = match identity.stage {
            Stage::Founding => (0..=self.ground.shape.shards).map(ShardId).collect(),
            Stage::Joining | Stage::Member => Vec::new(),
        };
        let home = SimHome {
            me: identity.node,
            hardware: self.hardware.clone(),
            process: self.process.clone(),
            shape: self.ground.shape,
            fault: self.ground.fault,
            states: self.ground.states.clone(),
            facts: self.ground.facts.clone(),
            trace: self.ground.trace.clone(),
        };
        let parts = Parts {
            config: self.config(),
            identity,
            founds,
            home: Arc::new(home),
            network: Some(port),
            world: World::new(Arc::new(Inside(self.process.clone()))),
            desk,
            traffic: Traffic::new(limit::METRIC_TOPICS_MAX),
            peer_address: None,
        };
        Broker::assemble(parts).await.map_err(|error| error.to_string())
    }

    /// As it is written down; a new one is drawn and written down for a new machine.
    fn identity(&mut self) -> Identity {
        if let Some(identity) = self.hardware.identity() {
            return identity;
        }
        let mut number = || u128::from(self.rng.number()) << 64 | u128::from(self.rng.number());
        let mut identity = Identity::joining();
        identity.incarnation = number();
        if self.sender.place == 1 {
            identity.stage = Stage::Founding;
            (identity.cluster, identity.node) = (number(), NodeId(1));
        }
        self.hardware.set_identity(identity.clone());
        identity
    }

    fn joiner(&mut self) -> Joiner {
        Joiner {
            from: self.sender.clone(),
            wanted: self.ground.shape.numbers_wanted.then_some(NodeId(self.sender.place)),
            rack: self.rack(),
            rng: self.rng.fork(),
        }
    }

    fn rack(&self) -> Option<String> {
        self.ground.shape.rack_of(self.sender.place).map(|rack| format!("r{rack}"))
    }

    fn config(&self) -> Config {
        let (protocol, host) = ("kafka".to_owned(), format!("h{}", self.sender.place));
        Config {
            shards: self.ground.shape.shards,
            auto_create_topics: false,
            propose_timeout: PROPOSE_TIMEOUT,
            groups: GroupConfig { session_timeout_min: 500, rebalance_timeout_min: 300, ..GroupConfig::default() },
            cluster: ClusterConfig {
                join: (self.sender.place > 1).then(|| "h1:9190".to_owned()),
                rack: self.rack(),
                endpoints: vec![Advertised { protocol, host, port: 9092 }],
                ..ClusterConfig::default()
            },
            ..Config::default()
        }
    }
}
