//! The network between nodes: delays, losses, one-way cuts. Within a lane messages follow one another, as over
//! one connection.
//!
//! Who sends knows nodes by number and has been told where they are; what is delivered goes to a place, and is
//! taken there by the node that it is meant for and by no other, as a handshake sees to it.

use crate::cluster::net::Weather;
use crate::rng::Rng;
use broker::cluster::desk::NodeDesk;
use broker::cluster::network::Network;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use machine::catalog::Endpoint;
use model::{NodeId, ShardId};
use openraft_rt_sim::{SimInstant, SimRuntime};
use parking_lot::Mutex;
use shard::runtime::{Instant, Runtime};
use shard::{Lane, Transport, TransportError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Whoever waits for a lost answer is told after this.
const LOST: Duration = Duration::from_millis(700);
/// The port of all of them.
const PORT: u16 = 9190;

/// Who listens at a place.
#[derive(Clone)]
pub(super) struct Server {
    /// Which start of the machine there it is.
    pub(super) start: u64,
    pub(super) node: NodeId,
    pub(super) cluster: u128,
    pub(super) desk: Arc<NodeDesk>,
}

struct State {
    rng: Rng,
    weather: Weather,
    /// Which place cannot be heard at which.
    cuts: BTreeSet<(u64, u64)>,
    servers: BTreeMap<u64, Server>,
    /// Which start of a machine is the latest.
    starts: BTreeMap<u64, u64>,
    /// When the last message of a lane arrives.
    arrivals: BTreeMap<(u64, u64, Lane), SimInstant>,
    messages: u64,
    lost: u64,
}

/// The network. Clones are the same network.
#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<State>>);

impl Net {
    pub(super) fn new(rng: Rng) -> Self {
        Net(Arc::new(Mutex::new(State {
            rng,
            weather: Weather::FINE,
            cuts: BTreeSet::new(),
            servers: BTreeMap::new(),
            starts: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            messages: 0,
            lost: 0,
        })))
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    pub(super) fn cut(&self, from: u64, to: u64) {
        self.0.lock().cuts.insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.0.lock().cuts.clear();
    }

    /// A process begins at a place: what one before it sends does not leave any more.
    pub(super) fn begin(&self, place: u64, start: u64) {
        self.0.lock().starts.insert(place, start);
    }

    /// A node listens at a place. Returns what it sends through.
    pub(super) fn plug(&self, place: u64, server: Server) -> Arc<Port> {
        let (start, me, cluster) = (server.start, server.node, server.cluster);
        self.0.lock().servers.insert(place, server);
        Arc::new(Port { net: self.clone(), place, start, me, cluster, known: Mutex::default() })
    }

    /// Nobody listens there any more, and what is sent from there does not leave.
    pub(super) fn unplug(&self, place: u64) {
        let mut state = self.0.lock();
        let gone = state.servers.remove(&place);
        state.starts.remove(&place);
        drop(state);
        drop(gone);
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.messages, state.lost)
    }

    fn runs(&self, place: u64, start: u64) -> bool {
        self.0.lock().starts.get(&place) == Some(&start)
    }

    fn server(&self, place: u64) -> Option<Server> {
        self.0.lock().servers.get(&place).cloned()
    }

    /// When a message sent now arrives; `None` when it does not.
    fn send(&self, from: u64, to: u64, lane: Lane) -> Option<SimInstant> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.messages += 1;
        let delay = state.rng.between(20, state.weather.delay_micros.max(21));
        if state.cuts.contains(&(from, to)) || state.rng.per_mille(state.weather.loss) {
            state.lost += 1;
            return None;
        }
        let arrival = SimInstant::now() + Duration::from_micros(delay);
        let last = state.arrivals.entry((from, to, lane)).or_insert(arrival);
        *last = arrival.max(*last);
        Some(*last)
    }

    /// Carries a question to a place and the answer back. It is sent when this returns, whatever becomes of the
    /// future: the order of sending is the order of arrival.
    fn carry(
        &self,
        (from, start): (u64, u64),
        to: u64,
        lane: Lane,
        deliver: impl FnOnce(Server) -> BoxFuture<'static, Result<Bytes, TransportError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if !self.runs(from, start) {
            return Box::pin(async { not_sent("the sender is dead") });
        }
        let (net, arrival) = (self.clone(), self.send(from, to, lane));
        let task = SimRuntime::spawn(async move {
            let Some(arrival) = arrival else {
                SimRuntime::sleep(LOST).await;
                return Err(TransportError::Lost("lost".into()));
            };
            SimRuntime::sleep_until(arrival).await;
            let Some(server) = net.server(to) else { return not_sent("nobody is there") };
            let there = server.start;
            let answer = deliver(server).await?;
            match net.send(to, from, lane).filter(|_| net.runs(to, there)) {
                Some(back) => {
                    SimRuntime::sleep_until(back).await;
                    Ok(answer)
                }
                None => {
                    SimRuntime::sleep(LOST).await;
                    Err(TransportError::Lost("lost".into()))
                }
            }
        });
        task.map(|done| done.unwrap_or_else(|_| Err(TransportError::Lost("the network task died".into())))).boxed()
    }

    /// Asks whoever listens at a place, as somebody who has no number yet. Returns the cluster there, too.
    pub(super) async fn ask_stranger(
        &self,
        from: (u64, u64),
        to: u64,
        call: Bytes,
        patience: Duration,
    ) -> Result<(u128, Bytes), TransportError> {
        let cluster = self.server(to).map(|server| server.cluster);
        let deliver = move |server: Server| ask_node(server, NodeId(0), call);
        let answer = bounded(self.carry(from, to, Lane::Control, deliver), patience).await?;
        Ok((cluster.unwrap_or_default(), answer))
    }
}

fn not_sent<T>(why: &str) -> Result<T, TransportError> {
    Err(TransportError::NotSent(why.into()))
}

fn ask_node(server: Server, from: NodeId, call: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
    let answer = server.desk.call(from, &call);
    Box::pin(async move { Ok(answer.await) })
}

async fn bounded(
    answer: BoxFuture<'static, Result<Bytes, TransportError>>,
    patience: Duration,
) -> Result<Bytes, TransportError> {
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
    net: Net,
    place: u64,
    start: u64,
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
        deliver: impl FnOnce(Server) -> BoxFuture<'static, Result<Bytes, TransportError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(place) = self.known.lock().get(&to).copied() else {
            return Box::pin(async { not_sent("nobody has said where it is") });
        };
        let cluster = self.cluster;
        self.net.carry((self.place, self.start), place, lane, move |server| {
            if server.node != to || server.cluster != cluster {
                return Box::pin(async { not_sent("somebody else is there") });
            }
            deliver(server)
        })
    }
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let from = self.me;
        let whole = Bytes::from(request.concat());
        self.carry(to, lane, move |server| match server.desk.shard(shard) {
            Some(replica) => replica.handle(from, whole),
            None => Box::pin(async { not_sent("the shard is not there") }),
        })
    }
}

impl Network for Port {
    fn ask(&self, node: NodeId, call: Bytes, patience: Duration) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let from = self.me;
        let answer = self.carry(node, Lane::Control, move |server| ask_node(server, from, call));
        Box::pin(bounded(answer, patience))
    }

    fn follow(&self, nodes: BTreeMap<NodeId, Endpoint>) -> BoxFuture<'_, ()> {
        let places = nodes.iter().filter_map(|(node, endpoint)| Some((*node, place_of(endpoint)?)));
        *self.known.lock() = places.collect();
        Box::pin(async {})
    }

    fn advertised(&self) -> Endpoint {
        endpoint(self.place)
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.net.unplug(self.place);
        Box::pin(async {})
    }
}
