//! The API of one node: takes a request apart, has it done, and hands back an answer. Bytes come and go
//! through whoever drives it, in three steps: [`Api::begin`] with a request's head, then the body, of which
//! [`Call::body_bytes_max`] says how long it may be, then [`Api::answer`].

use crate::answer::Answer;
use crate::gate::{Claims, Gate};
use crate::query::{Position, Query};
use crate::refusal::Refusal;
use crate::route::{self, Route};
use crate::shape::{Code, Time};
use broker::memory::Held;
use broker::{Broker, Reply, Request};
use bytes::Bytes;
use gateway::Seats;
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
    pub(crate) waits: Seats,
    /// Turns true when the node stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Where the next record without a key goes.
    pub(crate) spread: AtomicU32,
    /// Turns to decompress what is read.
    pub(crate) decoding: Semaphore,
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
#[derive(Debug)]
pub struct Call {
    pub(crate) route: &'static Route,
    /// What the path has for the names in the route's.
    pub(crate) names: Vec<String>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
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
        let decoding = Semaphore::new(limit::ADMIN_PAGES_DECODED_AT_ONCE);
        Api { inner: Arc::new(Inner { broker, about, waits, stop, spread: AtomicU32::new(0), decoding }) }
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// The answer, when there is nothing to be done.
    pub fn begin(&self, head: &Head<'_>) -> Result<Call, Answer> {
        self.inner.about.gate.check(&head.claims)?;
        let (route, names) = route::find(head.method, head.path).map_err(|refusal| match refusal.code {
            Code::MethodNotAllowed => Answer::from(refusal).with_header("allow", route::allow(head.path)),
            _ => refusal.into(),
        })?;
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
        Ok(Call { route, names, query, body: Bytes::new() })
    }

    /// Room in memory for a body of so many bytes, before it is read.
    ///
    /// # Errors
    /// The answer, when there is no room for some time.
    pub async fn room(&self, bytes: usize) -> Result<Held, Answer> {
        Ok(in_time(self.inner.broker.memory().arriving(bytes).take(bytes)).await?)
    }

    /// Does what is asked.
    pub async fn answer(&self, call: Call, body: Bytes) -> Answer {
        let _room = match body.len() {
            // What it says takes as much again, and so does what is made of it.
            bytes if bytes > SMALL_BYTES => match self.inner.work_room(2 * bytes).await {
                Ok(room) => Some(room),
                Err(refusal) => return refusal.into(),
            },
            _ => None,
        };
        let handle = call.route.handle;
        handle(self.inner.clone(), Call { body, ..call }).await.unwrap_or_else(Answer::from)
    }
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

    /// Room for what a body of so many bytes is made into.
    async fn work_room(&self, bytes: usize) -> Result<Held, Refusal> {
        let memory = self.broker.memory();
        let pool = if bytes > limit::REQUEST_BYTES_ORDINARY { &memory.requests_large } else { &memory.requests };
        in_time(pool.take(bytes)).await
    }

    /// Room for an answer, of somebody who has none.
    pub(crate) async fn answer_room(&self, bytes: usize) -> Result<Held, Refusal> {
        in_time(self.broker.memory().answers.take(bytes)).await
    }
}

async fn in_time(room: impl Future<Output = Held>) -> Result<Held, Refusal> {
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
