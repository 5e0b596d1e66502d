//! The API of one node: takes a request apart, has it done, and hands back an answer. Bytes come and go
//! through whoever drives it, in three steps: [`Api::begin`] with a request's head, then the body, of which
//! [`Call::body_bytes_max`] says how long it may be, then [`Api::answer`].

use crate::answer::Answer;
use crate::counted::{self, Asked};
use crate::gate::{Claims, Gate};
use crate::query::{Position, Query};
use crate::refusal::Refusal;
use crate::route::{self, Route};
use crate::shape::{Code, Time};
use broker::cluster::errand::{Errand, Outcome};
use broker::memory::Held;
use broker::{Broker, Reply, Request};
use bytes::Bytes;
use futures::future::BoxFuture;
use gateway::seats::Seat;
use gateway::{ProtocolCounters, Seats};
use model::limit;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, watch};

/// How long a request waits for room before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// A body that is no longer is read without more room.
const SMALL_BYTES: usize = 64 * limit::KIB;

/// What the API tells of its node that the broker does not know.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of the program.
    pub version: &'static str,
    /// When the program started.
    pub began: Instant,
    /// Where it listens, by protocol.
    pub listeners: BTreeMap<String, String>,
    /// Whom it answers.
    pub gate: Gate,
}

/// The API. Clones are the same.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) broker: Broker,
    pub(crate) about: About,
    /// Seats for requests that wait for records.
    waits: Seats,
    /// The same for those that come from other nodes.
    waits_of_nodes: Seats,
    /// Turns true when the node stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Where the next record without a key goes.
    pub(crate) spread: AtomicU32,
    /// Turns to decompress what is read.
    pub(crate) decoding: Arc<Semaphore>,
    counters: Arc<ProtocolCounters>,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it came.
    pub path: &'a str,
    /// What is behind the question mark, as it came.
    pub query: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Whether a body follows that is not empty.
    pub has_body: bool,
    /// Where it comes from and where it goes.
    pub claims: Claims<'a>,
}

/// A request that may be made, but for its body.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) route: &'static Route,
    /// Path and query, as they came.
    pub(crate) target: String,
    /// Whether another node asks for a client of its own.
    pub(crate) of_node: bool,
    /// What the path has for the names in the route's.
    pub(crate) names: Vec<String>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
    /// Room for the body and what is made of it. Work that goes on when the client left keeps it, too.
    pub(crate) rooms: Arc<Vec<Held>>,
}

impl Call {
    /// The most bytes that its body may have.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        self.route.body.as_ref().map_or(0, |body| body.bytes_max)
    }

    /// The `nth` name in the path.
    pub(crate) fn name(&self, nth: usize) -> &str {
        self.names.get(nth).map_or("", String::as_str)
    }

    /// The partition that is the second name in the path.
    pub(crate) fn partition(&self) -> u32 {
        // It was checked to be one.
        self.name(1).parse().unwrap_or(u32::MAX)
    }

    pub(crate) fn position(&self, name: &str) -> Option<Position> {
        self.query.position(name)
    }

    pub(crate) fn time(&self, name: &str) -> Option<Time> {
        self.query.time(name)
    }
}

impl Api {
    /// The API of `broker`. `stop` turns true when the node stops.
    #[must_use]
    pub fn new(broker: Broker, about: About, stop: watch::Receiver<bool>) -> Self {
        let waits = Seats::new(limit::ADMIN_WAITS_MAX);
        let waits_of_nodes = Seats::new(limit::ERRANDS_WAITING_MAX);
        let spread = AtomicU32::new(0);
        let decoding = Arc::new(Semaphore::new(limit::ADMIN_PAGES_DECODED_AT_ONCE));
        let counters = Arc::new(counted::counters());
        let inner = Arc::new(Inner { broker, about, waits, waits_of_nodes, stop, spread, decoding, counters });
        // The broker does not keep it: it has the broker.
        let served = Arc::downgrade(&inner);
        let serve = move |errand: Errand| -> Option<BoxFuture<'static, Outcome>> {
            let api = Api { inner: served.upgrade()? };
            Some(Box::pin(async move { api.serve(errand).await }))
        };
        inner.broker.do_errands(Arc::new(serve));
        Api { inner }
    }

    /// Does what another node asks for a client of its own.
    async fn serve(&self, Errand { method, target, body }: Errand) -> Outcome {
        let answer = match judge_errand(&method, &target, &body) {
            Ok(call) => match self.room(body.len()).await {
                Ok(room) => self.answer(call, body, room).await,
                Err(answer) => answer,
            },
            Err(answer) => answer,
        };
        let Answer { status, body, waited, room, .. } = answer;
        Outcome { status, waited, body, room }
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> Arc<ProtocolCounters> {
        self.inner.counters.clone()
    }

    /// Counts a request that is answered now.
    pub fn note(&self, asked: Asked, answer: &Answer) {
        counted::note(&self.inner.counters, asked, answer);
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// The answer, when there is nothing to be done.
    pub fn begin(&self, head: &Head<'_>) -> Result<Call, Answer> {
        judge(&self.inner.about.gate, head)
    }

    /// Judges a request for something else on the same listener, such as metrics.
    ///
    /// # Errors
    /// The answer, when whoever asks may not.
    pub fn admit(&self, claims: &Claims<'_>) -> Result<(), Answer> {
        Ok(self.inner.about.gate.check(claims)?)
    }

    /// Room in memory for a body of so many bytes, before it is read.
    ///
    /// # Errors
    /// The answer, when there is no room for some time.
    pub async fn room(&self, bytes: usize) -> Result<Held, Answer> {
        let pool = self.inner.broker.memory().arriving(bytes);
        Ok(match bytes {
            // Whoever needs none does not queue up for it.
            0 => pool.charge(0),
            _ => in_time(pool.take(bytes)).await?,
        })
    }

    /// Does what is asked. The body is in `room`.
    pub async fn answer(&self, call: Call, body: Bytes, room: Held) -> Answer {
        let mut rooms = vec![room];
        if body.len() > SMALL_BYTES {
            // What it says takes as much again, and so does what is made of it.
            match self.inner.work_room(2 * body.len()).await {
                Ok(room) => rooms.push(room),
                Err(refusal) => return refusal.into(),
            }
        }
        let handle = call.route.handle;
        let call = Call { body, rooms: Arc::new(rooms), ..call };
        let mut answer = handle(self.inner.clone(), call).await.unwrap_or_else(Answer::from);
        let bytes = answer.body.len();
        answer.room.get_or_insert_with(|| self.inner.charge_answer(bytes));
        answer
    }
}

/// Judges a request by its head, as a listener that answers whom `gate` says.
///
/// # Errors
/// The answer, when there is nothing to be done.
pub fn judge(gate: &Gate, head: &Head<'_>) -> Result<Call, Answer> {
    gate.check(&head.claims)?;
    let found = route::find(head.method, head.path).map_err(|refusal| match refusal.code {
        Code::MethodNotAllowed => Answer::from(refusal).with_header("allow", route::allow(head.path)),
        _ => refusal.into(),
    })?;
    take_apart(found, head)
}

/// Judges what another node asks for a client of its own. Whether that one may ask has been judged there.
///
/// # Errors
/// The answer, when there is nothing to be done.
pub fn judge_errand(method: &str, target: &str, body: &[u8]) -> Result<Call, Answer> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (content_type, has_body) = (Some("application/json"), !body.is_empty());
    let head = Head { method, path, query, content_type, has_body, claims: Claims::default() };
    let call = take_apart(route::find_for_nodes(method, path)?, &head)?;
    if body.len() > call.body_bytes_max() {
        return Err(body_too_large(call.body_bytes_max()));
    }
    Ok(Call { of_node: true, ..call })
}

fn take_apart((route, names): (&'static Route, Vec<String>), head: &Head<'_>) -> Result<Call, Answer> {
    if route.body.is_some() {
        let kind = head.content_type.unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let message = format!(
                "the body has to be JSON: send Content-Type: application/json, not {:?}",
                crate::query::shown(kind)
            );
            return Err(Refusal::new(Code::UnsupportedMediaType, message).into());
        }
    } else if head.has_body {
        let message = format!("{} {} takes no body", head.method, route.path);
        return Err(Refusal::new(Code::InvalidBody, message).into());
    }
    let query = Query::parse(head.query, route.parameters)?;
    let target = if head.query.is_empty() { head.path.to_owned() } else { format!("{}?{}", head.path, head.query) };
    Ok(Call { route, target, of_node: false, names, query, body: Bytes::new(), rooms: Arc::default() })
}

/// The answer to a body that is longer than it may be.
#[must_use]
pub fn body_too_large(bytes_max: usize) -> Answer {
    let message = format!("the body is larger than {bytes_max} bytes; send less at a time");
    Refusal::new(Code::BodyTooLarge, message).into()
}

/// The answer to a body that does not come.
#[must_use]
pub fn body_timeout(limit: Duration) -> Answer {
    let message = format!("the body did not arrive within {} seconds", limit.as_secs());
    Refusal::new(Code::BodyTimeout, message).into()
}

/// The answer to a body that broke off or is not framed as HTTP has it.
#[must_use]
pub fn body_broken() -> Answer {
    Refusal::new(Code::InvalidBody, "the body broke off").into()
}

impl Inner {
    /// Asks the broker.
    pub(crate) async fn ask(&self, request: Request) -> Reply {
        self.broker.call(request).await.await
    }

    /// A seat for a request that waits for records.
    pub(crate) fn seat(&self) -> Result<Seat, Refusal> {
        seat(&self.waits)
    }

    /// The same for one that comes from another node.
    pub(crate) fn seat_for_nodes(&self) -> Result<Seat, Refusal> {
        seat(&self.waits_of_nodes)
    }

    /// Room for what a body of so many bytes is made into.
    async fn work_room(&self, bytes: usize) -> Result<Held, Refusal> {
        let memory = self.broker.memory();
        let pool = if bytes > limit::REQUEST_BYTES_ORDINARY { &memory.requests_large } else { &memory.requests };
        in_time(pool.take(bytes)).await
    }

    /// Counts what is there for an answer already.
    pub(crate) fn charge_answer(&self, bytes: usize) -> Held {
        self.broker.memory().answers.charge(bytes)
    }
}

fn seat(seats: &Seats) -> Result<Seat, Refusal> {
    seats.take().ok_or_else(|| {
        let message = format!("{} requests wait for records already; try again", seats.count());
        Refusal::new(Code::Busy, message)
    })
}

/// Room to make an answer of what `there` is, which is counted. Where both are more than all there is, it is
/// waited for the rest of that, so that nobody waits for what cannot be.
pub(crate) async fn answer_room(there: &Held, bytes: usize) -> Result<Held, Refusal> {
    let rest = there.pool().limit().saturating_sub(there.bytes() as u64);
    let mut room = match bytes.min(usize::try_from(rest).unwrap_or(usize::MAX)) {
        0 => there.pool().charge(0),
        waited_for => in_time(there.pool().take(waited_for)).await?,
    };
    room.resize(bytes);
    Ok(room)
}

/// Waits for memory, or what needs it first, but not for long.
pub(crate) async fn in_time<T>(room: impl Future<Output = T>) -> Result<T, Refusal> {
    let busy = || {
        let message = "requests and answers of others take all the memory that there is for them; try again";
        Refusal::new(Code::Busy, message)
    };
    tokio::time::timeout(ROOM_WAIT, room).await.map_err(|_| busy())
}

/// What the wall clock shows, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::Memory;
    use futures::FutureExt;

    #[tokio::test]
    async fn what_is_more_than_all_there_is_is_given_to_whoever_is_alone() {
        let pool = Memory::new(limit::MEMORY_BYTES_MIN).answers;
        let all = pool.limit() as usize;
        let there = pool.charge(all / 2);
        let others = pool.charge(1);
        assert!(answer_room(&there, 2 * all).now_or_never().is_none(), "others have some of it");
        drop(others);
        let room = answer_room(&there, 2 * all).now_or_never().unwrap().unwrap();
        assert_eq!((room.bytes(), pool.used() as usize), (2 * all, all / 2 + 2 * all));
        drop((room, there));
        let there = pool.charge(2 * all);
        assert_eq!(answer_room(&there, 5).now_or_never().unwrap().unwrap().bytes(), 5);
    }
}
