//! Replicas on real folders under tokio, and what lies between them.

use bytes::Bytes;
use futures::channel::oneshot::Receiver;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use journal::canary::Fault;
use journal::disk::Folder;
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, Journal, Options};
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Effect, Reply};
use model::record::Message;
use model::{Form, NodeId, Offset, ShardId, StreamConfig, StreamId, Timestamp};
use openraft::TokioRuntime;
use parking_lot::{Condvar, Mutex};
use shard::{Environment, Lane, Membership, ProposeError, Request, Shard, Transport, TransportError, Upkeep};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::sync::Notify;

/// What does not come about by then never does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Not everything rings: so often it is looked again.
const INTERVAL: Duration = Duration::from_millis(20);
pub(crate) const STREAM: StreamId = StreamId(1);

/// The network. Clones are the same network.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    shards: BTreeMap<NodeId, Shard>,
    cut: BTreeSet<NodeId>,
    holds_entries: bool,
    /// These get no entries.
    held_from: BTreeSet<NodeId>,
    /// How long everything is on its way, in each direction.
    delay: Duration,
    /// The last vote that was asked for on each lane, by who asked.
    last: BTreeMap<(Lane, NodeId), Bytes>,
}

impl Net {
    /// Nobody hears `node`, and it hears nobody.
    pub(crate) fn cut(&self, node: NodeId) {
        self.0.lock().cut.insert(node);
    }

    pub(crate) fn heal(&self) {
        self.0.lock().cut.clear();
    }

    /// Heartbeats arrive, entries do not.
    pub(crate) fn hold_entries(&self, holds: bool) {
        self.0.lock().holds_entries = holds;
    }

    /// From now on entries arrive at all but these.
    pub(crate) fn hold_entries_from(&self, nodes: &BTreeSet<NodeId>) {
        self.0.lock().held_from.clone_from(nodes);
    }

    /// How far apart the nodes are from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.0.lock().delay = delay;
    }

    /// The last request for a vote that `from` sent.
    pub(crate) fn last(&self, lane: Lane, from: NodeId) -> Option<Bytes> {
        self.0.lock().last.get(&(lane, from)).cloned()
    }
}

struct Port {
    net: Net,
    from: NodeId,
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        _shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        // Entries are parts of their own, behind what describes them.
        let has_entries = lane == Lane::Append && request.len() > 1;
        let request = Bytes::from(request.concat());
        let (target, delay) = {
            let mut wires = self.net.0.lock();
            if request.starts_with(&VOTE) {
                wires.last.insert((lane, self.from), request.clone());
            }
            let held = has_entries && (wires.holds_entries || wires.held_from.contains(&to));
            let lost = wires.cut.contains(&self.from) || wires.cut.contains(&to) || held;
            (wires.shards.get(&to).filter(|_| !lost).cloned(), wires.delay)
        };
        match target {
            Some(shard) if delay > Duration::ZERO => {
                let from = self.from;
                // It is on its way whatever becomes of whoever sent it.
                let sent = tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let answer = shard.handle(from, request).await;
                    tokio::time::sleep(delay).await;
                    answer
                });
                Box::pin(async move { sent.await.unwrap().map(in_one) })
            }
            Some(shard) => shard.handle(self.from, request).map_ok(in_one).boxed(),
            None => Box::pin(async move { Err(TransportError::NotSent(format!("{to} is not there"))) }),
        }
    }
}

fn in_one(parts: Vec<Bytes>) -> Bytes {
    Bytes::from(parts.concat())
}

/// How a request for a vote begins: a question, the first of them.
const VOTE: [u8; 2] = [1, 1];

/// Holds up what a replica applies.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Holds it up until what is returned is dropped.
    #[must_use]
    pub(crate) fn close(&self) -> Closed {
        *self.0.0.lock() = true;
        Closed(self.clone())
    }

    fn pass(&self) {
        let (closed, opened) = &*self.0;
        if *closed.lock() {
            // The other tasks of this thread go on.
            tokio::task::block_in_place(|| {
                let mut closed = closed.lock();
                while *closed {
                    opened.wait(&mut closed);
                }
            });
        }
    }
}

/// A gate is closed.
pub(crate) struct Closed(Gate);

impl Drop for Closed {
    fn drop(&mut self) {
        *self.0.0.0.lock() = false;
        self.0.0.1.notify_all();
    }
}

/// What all nodes of a cluster are started with, and what their stream is like.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) upkeep: Upkeep,
    pub(crate) stream: StreamConfig,
    pub(crate) fault: Option<Fault>,
}

/// A replica on a folder of its own.
pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) gate: Gate,
    /// How far its clock is ahead.
    pub(crate) ahead_millis: Arc<AtomicI64>,
    /// It was told that the catalog changed.
    pub(crate) catalog_changed: Arc<AtomicBool>,
    writer: JoinHandle<()>,
    folder: TempDir,
}

impl Node {
    async fn start(id: NodeId, folder: TempDir, net: &Net, rung: Arc<Notify>, setup: &Setup, lost_power: bool) -> Self {
        let bell = Bell::new();
        let mut options = Options::new(ShardId(1), CacheBudget::new(8 << 20), id.0);
        options.log_file_bytes = 256 << 10;
        options.reserve_bytes = 64 << 10;
        options.wake_writer = bell.ringer();
        options.fault = setup.fault;
        let disk = Arc::new(Folder::open(folder.path().join("shard")).unwrap());
        let (journal, writer, recovered) = Journal::open(disk, options).unwrap();
        assert!(!recovered.in_doubt, "{recovered:?}");
        let writer = spawn(writer, bell).unwrap();
        let (gate, catalog_changed) = (Gate::default(), Arc::new(AtomicBool::new(false)));
        let ahead_millis = Arc::new(AtomicI64::new(0));
        let environment = Environment {
            transport: Arc::new(Port { net: net.clone(), from: id }),
            wall: Arc::new({
                let ahead_millis = ahead_millis.clone();
                move || {
                    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
                    Timestamp(millis + ahead_millis.load(SeqCst))
                }
            }),
            offload: Arc::new(|work| {
                tokio::task::spawn_blocking(work);
            }),
            on_effects: Arc::new({
                let (gate, catalog_changed, rung) = (gate.clone(), catalog_changed.clone(), rung.clone());
                move |_, effects: &[Effect]| {
                    gate.pass();
                    if effects.contains(&Effect::CatalogChanged) {
                        catalog_changed.store(true, SeqCst);
                    }
                    rung.notify_waiters();
                }
            }),
            on_role: Arc::new(move |_| rung.notify_waiters()),
            upkeep: setup.upkeep,
            turns: Arc::new(tokio::sync::Semaphore::new(1)),
            catch_up: shard::CatchUp::default(),
        };
        let shard = Shard::start::<TokioRuntime>(id, journal, lost_power, environment).await.unwrap();
        net.0.lock().shards.insert(id, shard.clone());
        Node { shard, gate, ahead_millis, catalog_changed, writer, folder }
    }

    async fn stop(self) -> TempDir {
        self.shard.shutdown().await;
        self.shard.journal().stop();
        self.writer.join().unwrap();
        self.folder
    }
}

/// Nodes with a replica each of one shard, in which there is one stream.
pub(crate) struct Cluster {
    pub(crate) net: Net,
    rung: Arc<Notify>,
    setup: Setup,
    nodes: BTreeMap<u64, Node>,
    /// Nobody reaches these any more.
    killed: Mutex<BTreeSet<u64>>,
}

impl Cluster {
    /// Nodes 1 to `count`, and a shard of which these vote.
    pub(crate) async fn founded(count: u64, voters: &[u64]) -> Self {
        Cluster::founded_with(count, voters, Setup::default()).await
    }

    pub(crate) async fn founded_with(count: u64, voters: &[u64], setup: Setup) -> Self {
        let (net, rung) = (Net::default(), Arc::new(Notify::new()));
        let mut nodes = BTreeMap::new();
        for id in 1..=count {
            let folder = tempfile::tempdir().unwrap();
            nodes.insert(id, Node::start(NodeId(id), folder, &net, rung.clone(), &setup, false).await);
        }
        let cluster = Cluster { net, rung, setup, nodes, killed: Mutex::default() };
        let ids = voters.iter().copied().map(NodeId).collect();
        cluster.shard(voters[0]).initialize(ids).await.unwrap();
        let leader = cluster.leader().await;
        let create = Command::CreateStream { stream: STREAM, config: cluster.setup.stream.clone() };
        assert_eq!(cluster.shard(leader).command(create).await, Ok(Reply::Done));
        cluster
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) fn shard(&self, id: u64) -> &Shard {
        &self.nodes[&id].shard
    }

    /// Those that live.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        let killed = self.killed.lock().clone();
        self.nodes.iter().filter(move |(id, _)| !killed.contains(id)).map(|(_, node)| &node.shard)
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rung = self.rung.notified();
            if holds(self) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {what}");
            let _ = tokio::time::timeout(INTERVAL, rung).await;
        }
    }

    fn ready(&self) -> Option<u64> {
        let killed = self.killed.lock();
        let leads = |(id, node): (&u64, &Node)| (!killed.contains(id) && node.shard.leading().is_ok()).then_some(*id);
        self.nodes.iter().find_map(leads)
    }

    /// Who leads and may say so.
    pub(crate) async fn leader(&self) -> u64 {
        self.until("somebody leads", |cluster| cluster.ready().is_some()).await;
        self.ready().unwrap()
    }

    /// The process of a node is gone.
    pub(crate) async fn kill(&self, id: u64) {
        self.killed.lock().insert(id);
        self.net.0.lock().shards.remove(&NodeId(id));
        self.net.cut(NodeId(id));
        self.shard(id).shutdown().await;
    }

    /// The process of a node is gone, and another one comes.
    pub(crate) async fn restart(self, id: u64) -> Self {
        self.restart_after(id, false).await
    }

    /// The same, and as far as the node knows it has lost power.
    pub(crate) async fn restart_in_doubt(self, id: u64) -> Self {
        self.restart_after(id, true).await
    }

    async fn restart_after(mut self, id: u64, lost_power: bool) -> Self {
        self.net.0.lock().shards.remove(&NodeId(id));
        let folder = self.nodes.remove(&id).unwrap().stop().await;
        let node = Node::start(NodeId(id), folder, &self.net, self.rung.clone(), &self.setup, lost_power).await;
        self.nodes.insert(id, node);
        self
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_values() {
            drop(node.stop().await);
        }
    }
}

pub(crate) async fn append(shard: &Shard, value: &[u8]) -> Result<Reply, ProposeError> {
    append_to(shard, STREAM, value).await
}

pub(crate) async fn append_to(shard: &Shard, stream: StreamId, value: &[u8]) -> Result<Reply, ProposeError> {
    append_message(shard, stream, &Message { value, ..Message::default() }).await
}

pub(crate) async fn append_to_key(shard: &Shard, key: &[u8], value: &[u8]) -> Result<Reply, ProposeError> {
    append_message(shard, STREAM, &Message { key: Some(key), value, ..Message::default() }).await
}

async fn append_message(shard: &Shard, stream: StreamId, message: &Message<'_>) -> Result<Reply, ProposeError> {
    let bytes = Bytes::from(message.encode().unwrap());
    let request = AppendRequest { stream, bytes, message_id: None, durability: None };
    propose(shard, Request::Append(request)).await.await.unwrap()
}

/// Puts a request into the shard's queue. Returns what waits for the answer.
pub(crate) async fn propose(shard: &Shard, request: Request) -> Receiver<Result<Reply, ProposeError>> {
    let (sender, wait) = futures::channel::oneshot::channel();
    let answer = Box::new(move |result| drop(sender.send(result)));
    shard.propose(request, answer).await;
    wait
}

/// The values in the stream, as far as they are applied here.
pub(crate) fn content(shard: &Shard) -> Vec<Vec<u8>> {
    records(shard).into_iter().map(|(_, value)| value).collect()
}

/// The values of a key that are still there.
pub(crate) fn values_of(shard: &Shard, key: &[u8]) -> Vec<Vec<u8>> {
    records(shard).into_iter().filter(|(of, _)| of.as_deref() == Some(key)).map(|(_, value)| value).collect()
}

fn records(shard: &Shard) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let end = shard.machine().messaging.stream(STREAM).map_or(Offset(0), |stream| stream.end);
    let mut records = Vec::new();
    let mut next = Offset(0);
    while next < end {
        for slice in shard.journal().read(STREAM, next, end, 64 << 10).unwrap() {
            next = slice.end();
            for piece in model::piece::walk(&slice.bytes) {
                let (head, range) = piece.unwrap();
                // Where compaction left nothing, an empty batch stands.
                if head.form == Form::Message {
                    let message = Message::decode(&slice.bytes[range]).unwrap();
                    records.push((message.key.map(<[u8]>::to_vec), message.value.to_vec()));
                }
            }
        }
    }
    records
}

pub(crate) fn set(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub(crate) fn members(voters: &[&[u64]], learners: &[u64]) -> Membership {
    Membership { voters: voters.iter().map(|config| set(config)).collect(), learners: set(learners) }
}
