//! One Kafka connection: frames in, requests to the broker, replies out in the order of requests.
//!
//! Kafka answers requests of a connection in the order they came, while the broker answers in any:
//! an answer waits here until all before it are there. What waits is bounded, in requests and in bytes, and
//! counted in the node's memory. A request that may have a large answer is handed on alone, as Kafka does
//! with all: it waits for memory, and whoever waits for that holds no answers. Those behind it stay where
//! they are, in the end with the client. No I/O, no async.

#[cfg(test)]
mod cluster_tests;
mod counted;
mod counters;
#[cfg(test)]
mod tests;

use crate::codec::api_key::ApiKey;
use crate::codec::api_versions::ApiVersionsResponse;
use crate::codec::body::{RequestBody, ResponseBody};
use crate::codec::decode_error::Fault;
use crate::codec::error_code::ErrorCode;
use crate::codec::frame;
use crate::codec::header::{RequestHeader, ResponseHeader};
use crate::codec::reader::Reader;
use crate::mapping::{self, Context, Memory, Step, Then};
use broker::memory::{Held, Pool};
use broker::{Reply, Request};
use bytes::{Bytes, BytesMut};
use counted::Counted;
use counters::Measured;
use gateway::session::{Output, RequestId, Session, Violation};
use model::limit;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use counters::counters;

/// Bytes of answers that a connection may hold; while it has more, no requests are handed on.
const ANSWER_BYTES_MAX: usize = limit::FETCH_BYTES_MAX;

/// What whoever asks for a leader or a coordinator is told when there is none.
const NOBODY: [i16; 2] = [ErrorCode::LeaderNotAvailable as i16, ErrorCode::CoordinatorNotAvailable as i16];

enum State {
    /// Waits for the broker.
    Asked(Then),
    /// The response, framed, in the parts in which it is sent.
    Answered(Vec<Output>),
    /// The client wants no response.
    Silent,
    /// The connection ends when it is this one's turn.
    Last,
}

struct Exchange {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    state: State,
    /// Bytes that it takes: of the request until it is answered, then of the answer.
    bytes: usize,
    /// Whether the request is large.
    is_large: bool,
    /// Whether the connection ends with its answer.
    is_last: bool,
    measured: Measured,
}

/// See the module's documentation.
pub struct KafkaSession {
    /// What answers that come later need of it, too.
    context: Arc<Context>,
    exchanges: VecDeque<Exchange>,
    /// Number of the first exchange in the queue.
    first: RequestId,
    /// For the broker, and not handed on.
    requests: VecDeque<(RequestId, Request)>,
    /// The one that was handed on and lets no others pass.
    alone: Option<RequestId>,
    /// A request that has more parts than there is memory for. It counts as one that arrives.
    left: Option<(Bytes, Held)>,
    waits_for: Option<Pool>,
    /// Requests that are not answered, and the large ones among them.
    asked: Counted,
    asked_large: Counted,
    /// Answers that are not sent.
    answered: Counted,
    /// Bytes of these that were taken to be sent.
    leaving: usize,
    memory: Memory,
    over: bool,
}

impl KafkaSession {
    /// A new connection's session.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let memory = Memory::new(&context);
        let (asked, asked_large) = (&context.memory.requests, &context.memory.requests_large);
        let (asked, asked_large) = (Counted::new(asked), Counted::new(asked_large));
        let answered = Counted::new(&context.memory.answers);
        KafkaSession {
            context: Arc::new(context),
            exchanges: VecDeque::new(),
            first: 0,
            requests: VecDeque::new(),
            alone: None,
            left: None,
            waits_for: None,
            asked,
            asked_large,
            answered,
            leaving: 0,
            memory,
            over: false,
        }
    }

    /// The pool that a request of so many bytes has to wait for before it is looked at, if it has to.
    fn lacks(&self, bytes: usize) -> Option<Pool> {
        let memory = &self.context.memory;
        let pool = if bytes > limit::REQUEST_BYTES_ORDINARY { &memory.requests_large } else { &memory.requests };
        (bytes > limit::REQUEST_BYTES_SMALL && pool.is_full()).then(|| pool.clone())
    }

    /// Returns the pool that it has to wait for, if it does.
    fn on_frame(&mut self, content: Bytes, now: Instant) -> Result<Option<Pool>, Violation> {
        let violation = |error: &dyn std::fmt::Display| Violation { reason: error.to_string() };
        let memory = &self.context.memory;
        let (parts, scarce) = if memory.requests.is_full() {
            (limit::REQUEST_PARTS_FEW, Some(memory.requests.clone()))
        } else if memory.requests_large.is_full() {
            (limit::REQUEST_PARTS_ORDINARY, Some(memory.requests_large.clone()))
        } else {
            (limit::REQUEST_PARTS_MAX, None)
        };
        let bytes = content.len();
        let mut reader = Reader::new(content).with_parts(parts);
        let header = RequestHeader::decode(&mut reader).map_err(|error| violation(&error))?;
        let Some(api) = header.api().filter(|api| mapping::is_spoken(*api)) else {
            return Err(Violation { reason: format!("API {} is not spoken here", header.api_key) });
        };
        let version = header.api_version;
        let correlation_id = header.correlation_id;
        let measured = Measured::new(api, frame::PREFIX + bytes, now);
        let exchange = |version| Exchange {
            api,
            version,
            correlation_id,
            state: State::Silent,
            bytes: 0,
            is_large: false,
            is_last: false,
            measured,
        };
        if !api.versions().contains(version) {
            if api != ApiKey::ApiVersions {
                return Err(Violation { reason: format!("{} version {version} is not spoken here", api.name()) });
            }
            // KIP-511: whoever asks in a version from the future is answered in the oldest.
            let refusal = ApiVersionsResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                api_keys: mapping::spoken(),
                ..ApiVersionsResponse::default()
            };
            self.push(exchange(0), 0, Step::Reply(ResponseBody::ApiVersions(refusal)), now);
            return Ok(None);
        }
        let body = match RequestBody::read(api, version, &mut reader) {
            Err(error) if scarce.is_some() && matches!(error.fault, Fault::TooManyParts { .. }) => return Ok(scarce),
            body => body.map_err(|error| violation(&error))?,
        };
        let parts = parts - reader.parts();
        let is_large = bytes > limit::REQUEST_BYTES_ORDINARY || parts > limit::REQUEST_PARTS_ORDINARY;
        let bytes = bytes + parts * limit::REQUEST_PART_BYTES;
        let step = mapping::handle(&self.context, &mut self.memory, version, header.client_id.clone(), body);
        self.push(Exchange { is_large, ..exchange(version) }, bytes, step, now);
        Ok(None)
    }

    /// Begins an exchange with a request that takes so many bytes until it is answered.
    fn push(&mut self, mut exchange: Exchange, bytes: usize, step: Step, now: Instant) {
        let id = self.first + self.exchanges.len() as u64;
        if let Step::Ask(..) = step {
            exchange.bytes = bytes;
            let asked = if exchange.is_large { &mut self.asked_large } else { &mut self.asked };
            asked.add(bytes);
        }
        self.exchanges.push_back(exchange);
        self.advance(id, step, now);
    }

    fn advance(&mut self, id: RequestId, step: Step, now: Instant) {
        let nth = (id - self.first) as usize;
        let Some(exchange) = self.exchanges.get_mut(nth) else { return };
        if !matches!(step, Step::Ask(..)) {
            let asked = if exchange.is_large { &mut self.asked_large } else { &mut self.asked };
            asked.remove(std::mem::take(&mut exchange.bytes));
        }
        let (counters, mut response_bytes) = (&self.context.counters, 0);
        exchange.state = match step {
            Step::Silent => State::Silent,
            Step::Close(errors) => {
                errors.into_iter().for_each(|code| exchange.measured.note_error(counters, code));
                State::Last
            }
            Step::Reply(body) => {
                let mut names_nobody = false;
                body.errors(&mut |code| {
                    names_nobody |= NOBODY.contains(&code);
                    exchange.measured.note_error(counters, code);
                });
                // A client that asked here because it asked here last would do so for ever: librdkafka does. So
                // it is told what is known here, and has to ask another node then.
                exchange.is_last = names_nobody && self.context.directory.is_cut_off();
                let parts = encode(exchange, &body);
                response_bytes = parts.iter().map(Output::len).sum();
                exchange.bytes = parts.iter().map(bytes_in_memory).sum();
                self.answered.add(exchange.bytes);
                State::Answered(parts)
            }
            Step::Ask(request, then) => {
                // What an exchange asks next is not held up by those behind it.
                let place = self.requests.partition_point(|(queued, _)| *queued < id);
                self.requests.insert(place, (id, request));
                exchange.state = State::Asked(then);
                return;
            }
        };
        exchange.measured.note_answer(counters, response_bytes, now);
    }
}

/// Whether the broker takes memory before it answers: to those that may ask for much with few bytes, and
/// to searches, which read a piece.
fn takes_memory(request: &Request) -> bool {
    match request {
        Request::Read(_) | Request::Topics(_) | Request::DescribeGroups(_) | Request::FetchOffsets(_) => true,
        Request::Offsets(queries) => queries.iter().any(|query| query.which.is_searched()),
        _ => false,
    }
}

fn bytes_in_memory(output: &Output) -> usize {
    match output {
        Output::Bytes(bytes) => bytes.len(),
        Output::File(_) => 0,
    }
}

fn encode(exchange: &Exchange, body: &ResponseBody) -> Vec<Output> {
    let framed = frame::in_parts(|writer| {
        let header = ResponseHeader { correlation_id: exchange.correlation_id };
        header.encode(writer, exchange.api, exchange.version);
        body.encode(writer, exchange.version);
    });
    framed.unwrap_or_else(|error| {
        tracing::error!(api = exchange.api.name(), %error, "a response could not be framed");
        Vec::new()
    })
}

impl Session for KafkaSession {
    fn frame_bytes(&self, input: &[u8]) -> usize {
        frame::length(input, limit::REQUEST_BYTES_MAX).ok().flatten().unwrap_or(0)
    }

    fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), Violation> {
        self.waits_for = None;
        while self.wants_input() && self.waits_for.is_none() {
            let whole = self.frame_bytes(input);
            if self.left.is_none() && whole <= input.len() {
                self.waits_for = self.lacks(whole);
                if self.waits_for.is_some() {
                    break;
                }
            }
            let content = match &self.left {
                Some((content, _)) => content.clone(),
                None => match frame::split(input, limit::REQUEST_BYTES_MAX) {
                    Ok(Some(content)) => content,
                    Ok(None) => break,
                    Err(error) => return Err(Violation { reason: error.to_string() }),
                },
            };
            self.waits_for = self.on_frame(content.clone(), now)?;
            if self.waits_for.is_none() {
                self.left = None;
            } else if self.left.is_none() {
                let held = self.context.memory.arriving(content.len()).charge(content.len());
                self.left = Some((content, held));
            }
        }
        Ok(())
    }

    fn waits_for(&self) -> Option<&Pool> {
        self.waits_for.as_ref()
    }

    fn next_request(&mut self) -> Option<(RequestId, Request)> {
        let (id, request) = self.requests.front()?;
        let is_alone = takes_memory(request);
        let scarce = self.context.memory.answers.is_full();
        let most = if scarce { limit::CONNECTION_BYTES_FREE } else { ANSWER_BYTES_MAX };
        // One exchange may ask several times.
        let passes = self.alone.is_some_and(|alone| alone != *id);
        if passes || self.answered.bytes > most || (is_alone && *id != self.first) {
            return None;
        }
        let (id, request) = self.requests.pop_front()?;
        self.alone = is_alone.then_some(id);
        Some((id, request))
    }

    fn on_reply(&mut self, id: RequestId, reply: Reply, now: Instant) {
        let Some(exchange) = id.checked_sub(self.first).and_then(|nth| self.exchanges.get_mut(nth as usize)) else {
            return;
        };
        if let State::Asked(then) = std::mem::replace(&mut exchange.state, State::Silent) {
            exchange.measured.note_reply(&reply);
            let step = then(reply);
            self.advance(id, step, now);
        }
    }

    fn answer_bytes(&self) -> usize {
        self.answered.bytes
    }

    fn take_output(&mut self, output: &mut Vec<Output>) {
        self.answered.remove(std::mem::take(&mut self.leaving));
        while let Some(exchange) = self.exchanges.front_mut().filter(|_| !self.over) {
            match &mut exchange.state {
                State::Asked(_) => break,
                State::Answered(parts) => {
                    output.append(parts);
                    self.over = exchange.is_last;
                }
                State::Silent => {}
                State::Last => self.over = true,
            }
            self.leaving += exchange.bytes;
            self.exchanges.pop_front();
            self.alone.take_if(|alone| *alone == self.first);
            self.first += 1;
        }
    }

    fn take_rejections(&mut self) -> Option<(u64, String)> {
        self.memory.rejections.lock().take()
    }

    fn is_over(&self) -> bool {
        self.over
    }

    /// Not while a request waits to be handed on: those behind it may be large, too. Nor when answers gather
    /// behind one that waits for memory.
    fn wants_input(&self) -> bool {
        let gathers = self.alone.is_some() && self.answered.bytes > limit::CONNECTION_BYTES_FREE;
        let has_room = self.exchanges.len() < limit::CONNECTION_REQUESTS_MAX && self.requests.is_empty();
        !self.over && has_room && !gathers
    }
}
