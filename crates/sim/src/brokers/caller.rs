//! Asking as a client does: any node first, then whoever is said to lead, until that turns out to be wrong.

use super::book::Book;
use super::facts::Facts;
use super::logs::{Log, Logs};
use super::process::Death;
use crate::rng::Rng;
use crate::time::now;
use crate::trace::Trace;
use broker::request::{PartitionRef, TopicInfo, TopicRef, TopicsQuery};
use broker::{Broker, BrokerError, Reply, Request};
use futures::future::{self, Either};
use model::{NodeId, ShardId, StreamId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// How long a client waits for an answer, and how long one of two does, who then looks elsewhere.
const PATIENCE: Duration = Duration::from_secs(4);
const IMPATIENCE: Duration = Duration::from_millis(600);
/// How long one waits who has a partition moved: as long as that takes.
const MOVING: Duration = Duration::from_secs(15);
/// In how many of a hundred cases a client asks anybody although it knows whom to ask.
const ASTRAY_PERCENT: u64 = 8;

/// The way to a broker that is up.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) node: NodeId,
    pub(super) broker: Broker,
    pub(super) death: Death,
    /// Who asks waits for so long.
    pub(super) patience: Duration,
}

impl Door {
    pub(super) fn new(broker: Broker, death: Death) -> Self {
        Door { node: broker.node(), broker, death, patience: PATIENCE }
    }

    /// What is answered; nothing when the node dies meanwhile, or it takes too long.
    pub(super) async fn ask(&self, request: Request) -> Option<Reply> {
        let broker = self.broker.clone();
        self.wait(self.patience, async move { broker.call(request).await.await }).await
    }

    /// Has a partition go to another shard; nothing when the node dies meanwhile, or it takes too long.
    pub(super) async fn move_partition(&self, partition: PartitionRef, to: ShardId) -> Option<Result<(), BrokerError>> {
        let broker = self.broker.clone();
        self.wait(MOVING, async move { broker.move_partition(&partition, to).await }).await
    }

    async fn wait<T>(&self, patience: Duration, asking: impl Future<Output = T> + Send + 'static) -> Option<T> {
        match SimRuntime::timeout(patience, future::select(self.death.clone(), Box::pin(asking))).await {
            Ok(Either::Right((reply, _))) => Some(reply),
            Ok(Either::Left(_)) | Err(_) => None,
        }
    }

    /// What this node says of a topic; nothing when it does not answer.
    pub(super) async fn look_up(&self, topic: TopicRef) -> Option<Result<TopicInfo, BrokerError>> {
        let query = TopicsQuery { topics: Some(vec![topic]), create_missing: false };
        match self.ask(Request::Topics(query)).await? {
            Reply::Topics(found) => found.into_iter().next(),
            _ => None,
        }
    }
}

/// The ways to all brokers that are up. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Doors(Arc<Mutex<BTreeMap<NodeId, Door>>>);

impl Doors {
    pub(super) fn open(&self, door: Door) {
        self.0.lock().insert(door.node, door);
    }

    pub(super) fn close(&self, node: NodeId) {
        let closed = self.0.lock().remove(&node);
        drop(closed);
    }

    pub(super) fn all(&self) -> Vec<Door> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn get(&self, node: NodeId) -> Option<Door> {
        self.0.lock().get(&node).cloned()
    }
}

/// What clients are given.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) doors: Doors,
    pub(super) logs: Arc<Mutex<Logs>>,
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) trace: Trace,
    pub(super) pause_micros: u64,
}

/// A client's knowledge of whom to ask.
pub(super) struct Caller {
    pub(super) number: u64,
    pub(super) scene: Scene,
    pub(super) rng: Rng,
    /// Who was said to lead which log.
    leaders: BTreeMap<StreamId, NodeId>,
}

impl Caller {
    pub(super) fn new(number: u64, scene: Scene, rng: Rng) -> Self {
        Caller { number, scene, rng, leaders: BTreeMap::new() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.scene.stop.load(SeqCst)
    }

    /// Waits a little between two requests.
    pub(super) async fn pause(&mut self) {
        let pause = self.rng.between(100, self.scene.pause_micros);
        SimRuntime::sleep(Duration::from_micros(pause)).await;
    }

    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        self.scene.trace.line(format_args!("{:?} c{} {what}", now(), self.number));
    }

    pub(super) fn violation(&self, what: String) {
        self.note(format_args!("sees a violation: {what}"));
        self.scene.book.lock().records.violation(format!("{:?} c{} {what}", now(), self.number));
    }

    /// The way to some node.
    pub(super) fn anybody(&mut self) -> Option<Door> {
        let doors = self.scene.doors.all();
        let door = self.rng.pick(&doors).cloned()?;
        Some(Door { patience: self.patience(), ..door })
    }

    /// The way to a node, if it is up.
    pub(super) fn door(&self, node: NodeId) -> Option<Door> {
        Some(Door { patience: self.patience(), ..self.scene.doors.get(node)? })
    }

    fn patience(&self) -> Duration {
        if self.number.is_multiple_of(2) { IMPATIENCE } else { PATIENCE }
    }

    /// The way to whoever is said to lead a log; nothing when nobody is.
    pub(super) async fn leader(&mut self, log: &Log) -> Option<Door> {
        if self.rng.percent(ASTRAY_PERCENT) {
            return self.anybody();
        }
        if let Some(known) = self.leaders.get(&log.key).and_then(|node| self.door(*node)) {
            return Some(known);
        }
        let info = self.anybody()?.look_up(log.partition.topic.clone()).await?.ok()?;
        let leader = info.partitions.get(log.partition.partition as usize)?.leader?;
        self.leaders.insert(log.key, leader);
        self.door(leader)
    }

    /// Heeds what was said about who leads a log.
    pub(super) fn heed(&mut self, log: &Log, error: &BrokerError) {
        match error {
            BrokerError::NotLeader(Some(leader)) => {
                self.scene.facts.lock().redirected += 1;
                self.leaders.insert(log.key, *leader);
            }
            _ => self.forget(log),
        }
    }

    /// Forgets who was said to lead a log.
    pub(super) fn forget(&mut self, log: &Log) {
        self.leaders.remove(&log.key);
    }
}
