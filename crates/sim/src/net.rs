//! The network: delays, losses, doubles, one-way cuts, and times in which everything arrives out of order across lanes.
//! Within a lane messages follow one another, as over one connection.
//!
//! It knows places by number and not what listens there: whoever sends says how that is asked.

use crate::rng::Rng;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft_rt_sim::{SimInstant, SimRuntime};
use parking_lot::Mutex;
use shard::runtime::{Instant, Runtime};
use shard::{Lane, TransportError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Whoever waits for a lost answer is told after this.
const LOST: Duration = Duration::from_millis(700);

/// What comes back of a question.
pub(crate) type Answer = BoxFuture<'static, Result<Bytes, TransportError>>;

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Longest delay of a message, in microseconds.
    pub(crate) delay_micros: u64,
    /// Messages lost, per thousand.
    pub(crate) loss: u64,
    /// Questions that arrive twice, per thousand.
    pub(crate) doubled: u64,
}

impl Weather {
    /// A good network.
    pub(crate) const FINE: Weather = Weather { delay_micros: 500, loss: 0, doubled: 0 };
}

struct State<S> {
    rng: Rng,
    weather: Weather,
    /// Which place cannot be heard at which.
    cuts: BTreeSet<(u64, u64)>,
    servers: BTreeMap<u64, S>,
    /// Which start of a place runs.
    starts: BTreeMap<u64, u64>,
    /// When the last message of a lane arrives.
    arrivals: BTreeMap<(u64, u64, Lane), SimInstant>,
    messages: u64,
    lost: u64,
    doubled: u64,
}

/// The network between places at which an `S` listens. Clones are the same network.
pub(crate) struct Net<S>(Arc<Mutex<State<S>>>);

impl<S> Clone for Net<S> {
    fn clone(&self) -> Self {
        Net(self.0.clone())
    }
}

impl<S: Clone + Send + 'static> Net<S> {
    pub(crate) fn new(rng: Rng) -> Self {
        Net(Arc::new(Mutex::new(State {
            rng,
            weather: Weather::FINE,
            cuts: BTreeSet::new(),
            servers: BTreeMap::new(),
            starts: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            messages: 0,
            lost: 0,
            doubled: 0,
        })))
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.0.lock().cuts.insert((from, to));
    }

    pub(crate) fn heal(&self) {
        self.0.lock().cuts.clear();
    }

    /// A process begins at a place.
    pub(crate) fn begin(&self, place: u64, start: u64) {
        self.0.lock().starts.insert(place, start);
    }

    /// The process that begins at a place, or has begun there, listens.
    pub(crate) fn plug(&self, place: u64, start: u64, server: S) {
        self.begin(place, start);
        self.0.lock().servers.insert(place, server);
    }

    /// Nobody listens there any more, and nothing runs there.
    pub(crate) fn unplug(&self, place: u64) {
        let mut state = self.0.lock();
        let gone = state.servers.remove(&place);
        state.starts.remove(&place);
        drop(state);
        drop(gone);
    }

    /// Messages, how many of them did not arrive, and how many questions were doubled.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let state = self.0.lock();
        (state.messages, state.lost, state.doubled)
    }

    /// Whether what is asked now arrives twice: whoever asks for that then has it carried once more, and waits for one
    /// of the answers.
    pub(crate) fn doubles(&self) -> bool {
        let mut state = self.0.lock();
        let rate = state.weather.doubled;
        let doubles = rate > 0 && state.rng.per_mille(rate);
        state.doubled += u64::from(doubles);
        doubles
    }

    /// Which start of a place runs now.
    pub(crate) fn start(&self, place: u64) -> Option<u64> {
        self.0.lock().starts.get(&place).copied()
    }

    /// Who listens at a place.
    pub(crate) fn server(&self, place: u64) -> Option<S> {
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
    pub(crate) fn carry(
        &self,
        from: u64,
        to: u64,
        lane: Lane,
        ask: impl FnOnce(S) -> Answer + Send + 'static,
    ) -> Answer {
        let (net, arrival) = (self.clone(), self.send(from, to, lane));
        let task = SimRuntime::spawn(async move {
            let Some(arrival) = arrival else {
                SimRuntime::sleep(LOST).await;
                return Err(TransportError::Lost("lost".into()));
            };
            SimRuntime::sleep_until(arrival).await;
            let Some(server) = net.server(to) else {
                return Err(TransportError::NotSent("nobody is there".into()));
            };
            let start = net.start(to);
            let answer = ask(server).await?;
            match net.send(to, from, lane).filter(|_| net.start(to) == start) {
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
}

/// Of a question that does not leave.
pub(crate) fn not_sent(why: &'static str) -> Answer {
    Box::pin(async move { Err(TransportError::NotSent(why.into())) })
}
