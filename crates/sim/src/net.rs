//! The network: delays, losses, doubles, one-way cuts, calls that stray, and times in which everything arrives out of
//! order across lanes.
//!
//! It knows places by number and not what listens there: whoever sends says how that is asked.
//!
//! # Order and repetition
//!
//! In bad weather questions are doubled, the log's too: the second follows right behind the first.
//!
//! Over one connection nothing arrives twice, or after what was sent later. Yet a call that was under way when its
//! connection broke may have arrived although its caller is told that it is lost, and whoever repeats it then has it
//! done twice; and what is left of a broken connection may be taken from it when others, from other nodes or in other
//! lanes, are long done. So a call may *stray*: it arrives late, after younger ones of its lane, and its caller is told
//! that it is lost; or it arrives in time, is answered, and arrives once more, late. The second copy stands for a first
//! try that was given up. A call ends with the process that it was sent to, as the connection does.
//!
//! That is more than `peer` lets happen, where a node's new connection in a lane waits until the former is gone
//! (`peer::seats`), so nothing that strays here may rest on that order. Two kinds of calls do, and do not stray:
//!
//! - The log. An AppendEntries that overtakes the one it follows is refused, and a leader takes that for a follower
//!   that has lost the end of its log (`shard::network`).
//! - A command that a node has another node propose. It is asked for once: whoever is told that nobody knows what
//!   became of it may not ask again (`broker::cluster::forward`), and a client that changes the same thing by way of
//!   another node meanwhile has to put up with either order. The checkers here go by the order of their clients.

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
/// How many of a thousand calls stray that may. Snapshots are copied by thousands of calls, and each that is lost is
/// waited for.
const STRAYS: u64 = 15;
const BULK_STRAYS: u64 = 1;
/// How much later than in time they arrive, in microseconds.
const LATE_MICROS: (u64, u64) = (1_000, 2_500_000);

/// What comes back of a question.
pub(crate) type Answer = BoxFuture<'static, Result<Bytes, TransportError>>;

/// Whether a call may stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// In order, and once at most.
    Strict,
    /// It may arrive late, or twice.
    Loose,
}

impl Passage {
    /// That of calls between replicas of a shard.
    pub(crate) fn of_lane(lane: Lane) -> Self {
        match lane {
            Lane::Append => Passage::Strict,
            Lane::Control | Lane::Bulk => Passage::Loose,
        }
    }
}

/// A call that strays.
#[derive(Clone, Copy, Debug)]
struct Stray {
    arrival: SimInstant,
    /// It arrives in time, too.
    is_second: bool,
}

/// How many messages there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages: u64,
    /// Those that did not arrive.
    pub(crate) lost: u64,
    /// Questions that arrived twice, the second right behind the first.
    pub(crate) doubled: u64,
    /// Those that arrived after younger ones, their callers knowing nothing of it.
    pub(crate) late: u64,
    /// Those that arrived a second time.
    pub(crate) twice: u64,
}

impl Counts {
    /// A call that strays has arrived.
    fn note(&mut self, stray: Stray) {
        self.twice += u64::from(stray.is_second);
        self.late += u64::from(!stray.is_second);
    }
}

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
    counts: Counts,
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
            counts: Counts::default(),
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

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// Whether what is asked now arrives twice: whoever asks for that then has it carried once more, and waits for one
    /// of the answers.
    pub(crate) fn doubles(&self) -> bool {
        let mut state = self.0.lock();
        let rate = state.weather.doubled;
        let doubles = state.rng.per_mille(rate);
        state.counts.doubled += u64::from(doubles);
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
        state.counts.messages += 1;
        let delay = state.rng.between(20, state.weather.delay_micros.max(21));
        if state.cuts.contains(&(from, to)) || state.rng.per_mille(state.weather.loss) {
            state.counts.lost += 1;
            return None;
        }
        let arrival = SimInstant::now() + Duration::from_micros(delay);
        let last = state.arrivals.entry((from, to, lane)).or_insert(arrival);
        *last = arrival.max(*last);
        Some(*last)
    }

    /// Whether a call that arrives at `arrival` strays, and how.
    fn stray(&self, lane: Lane, arrival: SimInstant) -> Option<Stray> {
        let mut state = self.0.lock();
        if !state.rng.per_mille(if lane == Lane::Bulk { BULK_STRAYS } else { STRAYS }) {
            return None;
        }
        let late = Duration::from_micros(state.rng.between(LATE_MICROS.0, LATE_MICROS.1));
        Some(Stray { arrival: arrival + late, is_second: state.rng.percent(50) })
    }

    /// Carries a question to a place and the answer back. It is sent when this returns, whatever becomes of the
    /// future: the order of sending is the order of arrival, but for what strays.
    pub(crate) fn carry(
        &self,
        from: u64,
        to: u64,
        lane: Lane,
        passage: Passage,
        ask: impl Fn(S) -> Answer + Clone + Send + 'static,
    ) -> Answer {
        let (net, arrival) = (self.clone(), self.send(from, to, lane));
        let stray = arrival.filter(|_| passage == Passage::Loose).and_then(|arrival| self.stray(lane, arrival));
        if let Some(stray) = stray {
            drop(SimRuntime::spawn(self.clone().deliver(to, self.start(to), stray, ask.clone())));
        }
        let task = SimRuntime::spawn(async move {
            let arrival = arrival.filter(|_| stray.is_none_or(|stray| stray.is_second));
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

    /// Delivers a call that strays, if the process is there still that it was sent to. Nobody waits for its answer.
    async fn deliver(self, to: u64, start: Option<u64>, stray: Stray, ask: impl Fn(S) -> Answer + Send + 'static) {
        SimRuntime::sleep_until(stray.arrival).await;
        let Some(server) = self.server(to).filter(|_| self.start(to) == start) else { return };
        self.0.lock().counts.note(stray);
        drop(ask(server).await);
    }
}

/// An answer that was given in parts.
pub(crate) fn in_one(parts: Vec<Bytes>) -> Bytes {
    Bytes::from(parts.concat())
}

/// Of a question that does not leave.
pub(crate) fn not_sent(why: &'static str) -> Answer {
    Box::pin(async move { Err(TransportError::NotSent(why.into())) })
}
