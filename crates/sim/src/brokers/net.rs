//! What lies between nodes, by the numbers and endpoints that they know one another by.
//!
//! Who sends knows nodes by number and has been told where they are; what is delivered goes to a place, and is
//! taken there by the node that it is meant for and by no other, as a handshake sees to it.

use crate::net::{Answer, Passage, in_one, not_sent};
use broker::cluster::call::NodeCall;
use broker::cluster::desk::NodeDesk;
use broker::cluster::network::Network;
use bytes::Bytes;
use futures::TryFutureExt;
use futures::future::BoxFuture;
use machine::catalog::Endpoint;
use model::wire::Wire;
use model::{NodeId, ShardId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{Lane, Transport, TransportError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The port of all of them.
const PORT: u16 = 9190;

/// The network between nodes.
pub(super) type Net = crate::net::Net<Server>;

/// Who listens at a place.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) node: NodeId,
    pub(super) cluster: u128,
    pub(super) desk: Arc<NodeDesk>,
}

/// A process at a place. What it sends does not leave any more when it has ended.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) net: Net,
    pub(super) place: u64,
    /// Which start of the machine there it is.
    pub(super) start: u64,
}

impl Sender {
    /// A node listens there. Returns what it sends through.
    pub(super) fn plug(self, server: Server) -> Port {
        let (me, cluster) = (server.node, server.cluster);
        self.net.plug(self.place, self.start, server);
        Port { sender: self, me, cluster, known: Mutex::default() }
    }

    fn carry(
        &self,
        to: u64,
        lane: Lane,
        passage: Passage,
        ask: impl Fn(Server) -> Answer + Clone + Send + 'static,
    ) -> Answer {
        if self.net.start(self.place) != Some(self.start) {
            return not_sent("the sender is dead");
        }
        self.net.carry(self.place, to, lane, passage, ask)
    }

    /// Asks whoever listens at a place, as somebody who has no number yet. Returns the cluster there, too.
    pub(super) async fn ask_stranger(
        &self,
        to: u64,
        call: Bytes,
        patience: Duration,
    ) -> Result<(u128, Bytes), TransportError> {
        let cluster = self.net.server(to).map(|server| server.cluster);
        let (lane, passage) = (NodeCall::lane_of(&call), passage_of(&call));
        let ask = move |server: Server| ask_node(&server, NodeId(0), &call);
        let answer = bounded(self.carry(to, lane, passage, ask), patience).await?;
        Ok((cluster.unwrap_or_default(), answer))
    }
}

fn ask_node(server: &Server, from: NodeId, call: &Bytes) -> Answer {
    let answer = server.desk.call(from, call);
    Box::pin(async move { Ok(answer.await) })
}

/// What one node asks of another as a node it asks again when it is told that it is lost, all but one thing.
fn passage_of(call: &Bytes) -> Passage {
    match NodeCall::from_wire(call) {
        Ok(NodeCall::Propose { .. }) => Passage::Strict,
        _ => Passage::Loose,
    }
}

async fn bounded(answer: Answer, patience: Duration) -> Result<Bytes, TransportError> {
    match SimRuntime::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(TransportError::Lost("no answer in time".into())),
    }
}

/// Where the node at a place says that it listens.
pub(super) fn endpoint(place: u64) -> Endpoint {
    Endpoint { protocol: Bytes::from_static(b"peer"), host: Bytes::from(format!("h{place}")), port: PORT }
}

/// The place that an endpoint names.
fn place_of(endpoint: &Endpoint) -> Option<u64> {
    std::str::from_utf8(&endpoint.host).ok()?.strip_prefix('h')?.parse().ok()
}

/// What a node sends through.
pub(super) struct Port {
    sender: Sender,
    me: NodeId,
    cluster: u128,
    /// Where the others are.
    known: Mutex<BTreeMap<NodeId, u64>>,
}

impl Port {
    fn carry(
        &self,
        to: NodeId,
        lane: Lane,
        passage: Passage,
        ask: impl Fn(Server) -> Answer + Clone + Send + 'static,
    ) -> Answer {
        let Some(place) = self.known.lock().get(&to).copied() else {
            return not_sent("nobody has said where it is");
        };
        let cluster = self.cluster;
        self.sender.carry(place, lane, passage, move |server| {
            if server.node != to || server.cluster != cluster {
                return not_sent("somebody else is there");
            }
            ask(server)
        })
    }
}

impl Transport for Port {
    fn call(&self, to: NodeId, shard: ShardId, lane: Lane, request: Vec<Bytes>) -> Answer {
        let from = self.me;
        let whole = Bytes::from(request.concat());
        let carry = || {
            let whole = whole.clone();
            self.carry(to, lane, Passage::of_lane(lane), move |server| match server.desk.shard(shard) {
                Some(replica) => Box::pin(replica.handle(from, whole.clone()).map_ok(in_one)),
                None => not_sent("the shard is not there"),
            })
        };
        if self.sender.net.doubles() {
            drop(carry());
        }
        carry()
    }
}

impl Network for Port {
    fn ask(&self, node: NodeId, call: Bytes, patience: Duration) -> Answer {
        let from = self.me;
        let (lane, passage) = (NodeCall::lane_of(&call), passage_of(&call));
        let answer = self.carry(node, lane, passage, move |server| ask_node(&server, from, &call));
        Box::pin(bounded(answer, patience))
    }

    fn follow(&self, nodes: BTreeMap<NodeId, Endpoint>) -> BoxFuture<'_, ()> {
        let places = nodes.iter().filter_map(|(node, endpoint)| Some((*node, place_of(endpoint)?)));
        *self.known.lock() = places.collect();
        Box::pin(async {})
    }

    fn advertised(&self) -> Endpoint {
        endpoint(self.sender.place)
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.sender.net.unplug(self.sender.place);
        Box::pin(async {})
    }
}
