//! Real replicas of a shard on nodes that are linked.

use super::super::dispatcher::Dispatcher;
use super::super::{Desk, Links};
use super::node::{Answer, CLUSTER, Gate, any_port};
use crate::world::wall;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use journal::disk::Folder;
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, Journal};
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Reply};
use model::record::Message;
use model::{NodeId, Offset, ShardId, StreamConfig, StreamId};
use peer::{Handler, Options, Rejection, RejectionCode};
use shard::runtime::Tokio;
use shard::{Environment, ProposeError, Request, Role, Shard, Upkeep};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};

pub(super) const SHARD: ShardId = ShardId(1);
/// A shard whose calls nobody answers before the gate is open.
pub(super) const STUFFING: ShardId = ShardId(2);
const STREAM: StreamId = StreamId(1);

/// How long to wait for a sign that something has changed before looking all the same.
const LOOK: Duration = Duration::from_millis(100);

/// A desk with one shard, once it has started.
struct OneShard(Arc<OnceLock<Shard>>);

impl Desk for OneShard {
    fn shard(&self, shard: ShardId) -> Option<Shard> {
        self.0.get().filter(|here| here.id() == shard).cloned()
    }

    fn call(&self, _from: NodeId, _call: Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>> {
        Box::pin(async { Err(Rejection::new(RejectionCode::Malformed, "not asked here")) })
    }
}

/// The dispatcher, and a gate where the calls of [`STUFFING`] wait.
struct Post {
    dispatcher: Dispatcher,
    gate: Arc<Gate>,
    urgent: watch::Sender<u64>,
}

impl Handler for Post {
    fn handle(&self, from: NodeId, channel: u32, lane: peer::Lane, request: Bytes) -> Answer {
        if channel == STUFFING.0 {
            return self.gate.pass(request);
        }
        if lane == peer::Lane::Control {
            self.urgent.send_modify(|count| *count += 1);
        }
        self.dispatcher.handle(from, channel, lane, request)
    }
}

/// A node with its replica.
pub(super) struct Replica {
    pub(super) links: Arc<Links>,
    pub(super) shard: Shard,
    /// Calls of the shard that came on the control lane.
    pub(super) urgent: watch::Receiver<u64>,
    writer: JoinHandle<()>,
    _folder: TempDir,
}

/// Nodes that run, and what rings when anything changes on one of them.
pub(super) struct Replicas {
    pub(super) running: BTreeMap<NodeId, Replica>,
    pub(super) gate: Arc<Gate>,
    bell: watch::Sender<()>,
}

impl Replicas {
    /// Starts so many nodes that know each other, as voters of one shard with one stream.
    pub(super) async fn start(count: u64, options: Options) -> Replicas {
        let (gate, bell) = (Gate::new(), watch::Sender::new(()));
        let mut linked = Vec::new();
        for id in 1..=count {
            let (here, urgent) = (Arc::new(OnceLock::new()), watch::Sender::new(0));
            let heard = urgent.subscribe();
            let dispatcher = Dispatcher::new(Arc::new(OneShard(here.clone())));
            let post = Arc::new(Post { dispatcher, gate: gate.clone(), urgent });
            let links = Links::answering(NodeId(id), CLUSTER, any_port(), post, options.clone()).await.unwrap();
            linked.push((NodeId(id), links, here, heard));
        }
        for (_, links, ..) in &linked {
            for (id, other, ..) in &linked {
                links.set_address(*id, other.address());
            }
        }
        let mut running = BTreeMap::new();
        for (id, links, here, urgent) in linked {
            let replica = Replica::start(id, links, urgent, bell.clone()).await;
            here.set(replica.shard.clone()).unwrap();
            running.insert(id, replica);
        }
        let replicas = Replicas { running, gate, bell };
        let voters = replicas.running.keys().copied().collect();
        replicas.running[&NodeId(1)].shard.initialize(voters).await.unwrap();
        let created = Command::CreateStream { stream: STREAM, config: StreamConfig::default() };
        loop {
            match replicas.running[&replicas.leader().await].shard.command(created.clone()).await {
                Ok(_) => return replicas,
                Err(ProposeError::NotLeader(_) | ProposeError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until there is what `look` looks for.
    pub(super) async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let mut rung = self.bell.subscribe();
        loop {
            rung.mark_unchanged();
            if let Some(found) = look() {
                return found;
            }
            let _ = tokio::time::timeout(LOOK, rung.changed()).await;
        }
    }

    /// Waits until all that run agree on who leads.
    pub(super) async fn leader(&self) -> NodeId {
        self.until(|| {
            let leads = |replica: &Replica| replica.shard.role() == Role::Leader;
            let (leader, _) = self.running.iter().find(|(_, replica)| leads(replica))?;
            let follows = |replica: &Replica| replica.shard.role() == Role::Follower(Some(*leader));
            self.running.iter().all(|(id, replica)| id == leader || follows(replica)).then_some(*leader)
        })
        .await
    }

    /// Appends records one after the other, wherever the leader is, and returns what was acknowledged.
    pub(super) async fn append(&self, values: impl Iterator<Item = String>) -> Vec<String> {
        let mut acknowledged = Vec::new();
        for value in values {
            loop {
                let leader = &self.running[&self.leader().await];
                match leader.propose(&value).await.await.unwrap() {
                    Ok(Reply::Appended { .. }) => acknowledged.push(value),
                    // It may come to be all the same.
                    Err(ProposeError::Unknown) => {}
                    Err(ProposeError::NotLeader(_)) => continue,
                    other => panic!("{other:?}"),
                }
                break;
            }
        }
        acknowledged
    }

    /// Stops a node.
    pub(super) async fn stop(&mut self, node: NodeId) {
        self.running.remove(&node).unwrap().stop().await;
    }

    /// Stops all.
    pub(super) async fn end(self) {
        self.gate.open();
        for replica in self.running.into_values() {
            replica.stop().await;
        }
    }
}

impl Replica {
    async fn start(id: NodeId, links: Arc<Links>, urgent: watch::Receiver<u64>, bell: watch::Sender<()>) -> Replica {
        let folder = tempfile::tempdir().unwrap();
        let ring = Bell::new();
        let mut options = journal::Options::new(SHARD, CacheBudget::new(8 << 20), id.0);
        options.log_file_bytes = 256 << 10;
        options.reserve_bytes = 64 << 10;
        options.wake_writer = ring.ringer();
        let disk = Arc::new(Folder::open(folder.path().join("shard")).unwrap());
        let (journal, writer, _) = Journal::open(disk, options).unwrap();
        let writer = spawn(writer, ring).unwrap();
        let (on_effects, on_role) = (bell.clone(), bell);
        let environment = Environment {
            transport: links.clone(),
            wall: Arc::new(wall),
            offload: Arc::new(|work| drop(tokio::task::spawn_blocking(work))),
            on_effects: Arc::new(move |_, _| on_effects.send_replace(())),
            on_role: Arc::new(move |_| on_role.send_replace(())),
            upkeep: Upkeep::default(),
            turns: Arc::new(Semaphore::new(1)),
            catch_up: shard::CatchUp::default(),
        };
        let shard = Shard::start::<Tokio>(id, journal, false, environment).await.unwrap();
        Replica { links, shard, urgent, writer, _folder: folder }
    }

    /// Proposes a record; the answer may come later.
    pub(super) async fn propose(&self, value: &str) -> oneshot::Receiver<Result<Reply, ProposeError>> {
        let message = Message { value: value.as_bytes(), ..Message::default() };
        let bytes = Bytes::from(message.encode().unwrap());
        let request = AppendRequest { stream: STREAM, bytes, message_id: None, durability: None };
        let (sender, wait) = oneshot::channel();
        let answer = Box::new(move |result| drop(sender.send(result)));
        self.shard.propose(Request::Append(request), answer).await;
        wait
    }

    /// All records that can be read here.
    pub(super) fn values(&self) -> Vec<String> {
        let Some(end) = self.shard.machine().messaging.stream(STREAM).map(|stream| stream.end) else {
            return Vec::new();
        };
        let (mut values, mut next) = (Vec::new(), Offset(0));
        while next < end {
            for slice in self.shard.journal().read(STREAM, next, end, 64 << 10).unwrap() {
                next = slice.end();
                for piece in model::piece::walk(&slice.bytes) {
                    let value = Message::decode(&slice.bytes[piece.unwrap().1]).unwrap().value.to_vec();
                    values.push(String::from_utf8(value).unwrap());
                }
            }
        }
        values
    }

    async fn stop(self) {
        self.shard.shutdown().await;
        self.shard.journal().stop();
        let writer = self.writer;
        tokio::task::spawn_blocking(move || writer.join().unwrap()).await.unwrap();
        self.links.stop().await;
    }
}
