//! The network: delays, losses, one-way cuts, and pauses in which everything arrives out of order
//! across lanes. Within a lane messages follow one another, as over one connection.

use crate::rng::Rng;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{NodeId, ShardId};
use openraft_rt_sim::{SimInstant, SimRuntime};
use parking_lot::Mutex;
use shard::runtime::{Instant, Runtime};
use shard::{Lane, Shard, Transport, TransportError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Longest delay of a message, in microseconds.
    pub(crate) delay_micros: u64,
    /// Messages lost, per thousand.
    pub(crate) loss: u64,
}

impl Weather {
    /// A good network.
    pub(crate) const FINE: Weather = Weather { delay_micros: 500, loss: 0 };
}

struct State {
    rng: Rng,
    weather: Weather,
    /// Who cannot be heard by whom.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// The replica that runs on a node now, and which start of the node it is.
    running: BTreeMap<NodeId, (u64, Shard)>,
    /// When the last message of a lane arrives.
    arrivals: BTreeMap<(NodeId, NodeId, Lane), SimInstant>,
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
            running: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            messages: 0,
            lost: 0,
        })))
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.0.lock().cuts.insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.0.lock().cuts.clear();
    }

    pub(super) fn plug(&self, node: NodeId, start: u64, shard: Shard) {
        self.0.lock().running.insert(node, (start, shard));
    }

    pub(super) fn unplug(&self, node: NodeId) {
        self.0.lock().running.remove(&node);
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.messages, state.lost)
    }

    /// What the replica on `node`, in its start number `start`, sends through.
    pub(super) fn transport(&self, node: NodeId, start: u64) -> Arc<dyn Transport> {
        Arc::new(Port { net: self.clone(), node, start })
    }

    /// When a message sent now arrives; `None` when it does not.
    fn send(&self, from: NodeId, to: NodeId, lane: Lane) -> Option<SimInstant> {
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
}

struct Port {
    net: Net,
    node: NodeId,
    start: u64,
}

/// Answers travel on a lane of their own order; whoever waits for a lost one times out by itself.
const LOST: Duration = Duration::from_millis(700);

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        _shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (net, from, start) = (self.net.clone(), self.node, self.start);
        let alive = net.0.lock().running.get(&from).is_none_or(|(running, _)| *running == start);
        if !alive {
            return Box::pin(async { Err(TransportError::NotSent("the sender is dead".into())) });
        }
        let arrival = net.send(from, to, lane);
        let mut whole = Vec::new();
        request.iter().for_each(|part| whole.extend_from_slice(part));
        // Handed over by a task of its own, so that the order of sending is the order of arrival
        // whatever becomes of the caller.
        let task = SimRuntime::spawn(async move {
            let lost = TransportError::Lost("lost".into());
            let Some(arrival) = arrival else {
                SimRuntime::sleep(LOST).await;
                return Err(lost);
            };
            SimRuntime::sleep_until(arrival).await;
            let target = net.0.lock().running.get(&to).cloned();
            let Some((target_start, shard)) = target else {
                return Err(TransportError::NotSent("nobody is there".into()));
            };
            let answer = shard.handle(from, Bytes::from(whole)).await?;
            let still_there = net.0.lock().running.get(&to).is_some_and(|(start, _)| *start == target_start);
            match net.send(to, from, lane).filter(|_| still_there) {
                Some(back) => {
                    SimRuntime::sleep_until(back).await;
                    Ok(answer)
                }
                None => {
                    SimRuntime::sleep(LOST).await;
                    Err(lost)
                }
            }
        });
        task.map(|done| done.unwrap_or_else(|_| Err(TransportError::Lost("the network task died".into())))).boxed()
    }
}
