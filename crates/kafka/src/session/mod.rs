//! One Kafka connection: frames in, requests to the broker, replies out in the order of requests.
//!
//! Kafka answers requests of a connection in the order they came, while the broker answers in any:
//! an answer waits here until all before it are there. What waits is bounded, in requests and in bytes:
//! a request that may have a large answer is not handed on before there is room for it, and those
//! behind it stay where they are, in the end with the client. No I/O, no async.

mod counters;

use crate::codec::api_key::ApiKey;
use crate::codec::api_versions::ApiVersionsResponse;
use crate::codec::body::{RequestBody, ResponseBody};
use crate::codec::error_code::ErrorCode;
use crate::codec::frame;
use crate::codec::header::{RequestHeader, ResponseHeader};
use crate::codec::reader::Reader;
use crate::mapping::{self, Context, Memory, Step, Then};
use broker::{Reply, Request};
use bytes::{Bytes, BytesMut};
use counters::Measured;
use gateway::session::{Output, RequestId, Session, Violation};
use model::limit;
use std::collections::VecDeque;
use std::time::Instant;

pub use counters::counters;

/// Bytes of answers that a connection may hold or be promised; more requests are not handed on. It is the
/// most that one Fetch can ask for, so a client that asks for so much is served one Fetch at a time.
const ANSWER_BYTES_MAX: usize = limit::FETCH_BYTES_MAX;

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
    /// Bytes of the answer, or what they are expected to be at most.
    bytes: usize,
    measured: Measured,
}

/// See the module's documentation.
pub struct KafkaSession {
    context: Context,
    exchanges: VecDeque<Exchange>,
    /// Number of the first exchange in the queue.
    first: RequestId,
    /// For the broker, and not handed on.
    requests: VecDeque<(RequestId, Request)>,
    /// Bytes of answers, here or expected, of what was handed on.
    held: usize,
    memory: Memory,
    over: bool,
}

impl KafkaSession {
    /// A new connection's session.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let memory = Memory::new(&context);
        KafkaSession {
            context,
            exchanges: VecDeque::new(),
            first: 0,
            requests: VecDeque::new(),
            held: 0,
            memory,
            over: false,
        }
    }

    fn on_frame(&mut self, content: Bytes, now: Instant) -> Result<(), Violation> {
        let request_bytes = frame::PREFIX + content.len();
        let violation = |error: &dyn std::fmt::Display| Violation { reason: error.to_string() };
        let mut reader = Reader::new(content);
        let header = RequestHeader::decode(&mut reader).map_err(|error| violation(&error))?;
        let Some(api) = header.api().filter(|api| mapping::is_spoken(*api)) else {
            return Err(Violation { reason: format!("API {} is not spoken here", header.api_key) });
        };
        let version = header.api_version;
        let correlation_id = header.correlation_id;
        let exchange = |state, version| Exchange {
            api,
            version,
            correlation_id,
            state,
            bytes: 0,
            measured: Measured::new(api, request_bytes, now),
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
            let exchange = exchange(State::Silent, 0);
            return self.push(exchange, Step::Reply(ResponseBody::ApiVersions(refusal)), now);
        }
        let body = RequestBody::decode(api, version, reader).map_err(|error| violation(&error))?;
        let step = mapping::handle(&self.context, &mut self.memory, version, header.client_id.clone(), body);
        self.push(exchange(State::Silent, version), step, now)
    }

    fn push(&mut self, exchange: Exchange, step: Step, now: Instant) -> Result<(), Violation> {
        let id = self.first + self.exchanges.len() as u64;
        self.exchanges.push_back(exchange);
        self.advance(id, step, now);
        Ok(())
    }

    fn advance(&mut self, id: RequestId, step: Step, now: Instant) {
        let nth = (id - self.first) as usize;
        let Some(exchange) = self.exchanges.get_mut(nth) else { return };
        self.held -= std::mem::take(&mut exchange.bytes);
        let counters = &self.context.counters;
        exchange.state = match step {
            Step::Silent => State::Silent,
            Step::Close(errors) => {
                errors.into_iter().for_each(|code| exchange.measured.note_error(counters, code));
                State::Last
            }
            Step::Reply(body) => {
                body.errors(&mut |code| exchange.measured.note_error(counters, code));
                let parts = encode(exchange, &body);
                exchange.bytes = parts.iter().map(Output::len).sum();
                self.held += exchange.bytes;
                State::Answered(parts)
            }
            Step::Ask(request, then) => {
                self.requests.push_back((id, request));
                exchange.state = State::Asked(then);
                return;
            }
        };
        exchange.measured.note_answer(counters, exchange.bytes, now);
    }
}

/// How large the answer to a request may become. Only those whose size the client chooses count before
/// they are there.
fn expected_bytes(request: &Request) -> usize {
    match request {
        Request::Read(query) => query.max_bytes,
        _ => 0,
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
    fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), Violation> {
        while self.wants_input() {
            match frame::split(input, limit::REQUEST_BYTES_MAX) {
                Ok(Some(content)) => self.on_frame(content, now)?,
                Ok(None) => break,
                Err(error) => return Err(Violation { reason: error.to_string() }),
            }
        }
        Ok(())
    }

    fn next_request(&mut self) -> Option<(RequestId, Request)> {
        let bytes = expected_bytes(&self.requests.front()?.1);
        if self.held > 0 && self.held + bytes > ANSWER_BYTES_MAX {
            return None;
        }
        let (id, request) = self.requests.pop_front()?;
        self.held += bytes;
        if let Some(exchange) = self.exchanges.get_mut((id - self.first) as usize) {
            exchange.bytes += bytes;
        }
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

    fn take_output(&mut self, output: &mut Vec<Output>) {
        while let Some(exchange) = self.exchanges.front_mut().filter(|_| !self.over) {
            match &mut exchange.state {
                State::Asked(_) => break,
                State::Answered(parts) => output.append(parts),
                State::Silent => {}
                State::Last => self.over = true,
            }
            self.held -= exchange.bytes;
            self.exchanges.pop_front();
            self.first += 1;
        }
    }

    fn take_rejections(&mut self) -> Option<(u64, String)> {
        self.memory.rejections.take()
    }

    fn is_over(&self) -> bool {
        self.over
    }

    /// Not while a request waits to be handed on: those behind it may be large, too.
    fn wants_input(&self) -> bool {
        !self.over && self.exchanges.len() < limit::CONNECTION_REQUESTS_MAX && self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway::protocol::ApiCounters;
    use gateway::{ProtocolCounters, Seats};
    use model::NodeId;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    const API_VERSIONS: i16 = 18;
    const FETCH: i16 = 1;

    fn session() -> KafkaSession {
        let (host, client) = ("here".to_owned(), "there".to_owned());
        KafkaSession::new(Context {
            node: NodeId(1),
            cluster: 0,
            host,
            port: 1,
            client,
            random: || 0,
            fetch_places: Seats::new(9),
            counters: Arc::new(counters()),
        })
    }

    fn request(api: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        content.extend_from_slice(&api.to_be_bytes());
        content.extend_from_slice(&version.to_be_bytes());
        content.extend_from_slice(&correlation_id.to_be_bytes());
        content.extend_from_slice(&(-1_i16).to_be_bytes());
        content.extend_from_slice(body);
        [&(content.len() as i32).to_be_bytes()[..], &content].concat()
    }

    /// Of no partitions, which is enough to promise bytes.
    fn fetch(correlation_id: i32, max_bytes: i32) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [-1, 0, 0, max_bytes] {
            body.extend_from_slice(&i32::to_be_bytes(number));
        }
        body.extend_from_slice(&[0; 5]);
        request(FETCH, 4, correlation_id, &body)
    }

    fn of(counters: &ProtocolCounters, api: ApiKey) -> &ApiCounters {
        counters.apis().find(|row| row.name == api.name()).unwrap()
    }

    fn nothing() -> Reply {
        Reply::Read { parts: Vec::new(), waited: Duration::ZERO }
    }

    fn answered(session: &mut KafkaSession) -> Vec<i32> {
        let mut output = Vec::new();
        session.take_output(&mut output);
        let correlation = |output: &Output| match output {
            Output::Bytes(bytes) => i32::from_be_bytes(bytes[4..8].try_into().unwrap()),
            Output::File(_) => panic!("nothing is read from files here"),
        };
        output.iter().map(correlation).collect()
    }

    #[test]
    fn fetches_are_handed_on_while_their_answers_have_room() {
        let mut session = session();
        let half = (ANSWER_BYTES_MAX / 2) as i32;
        let requests = [fetch(1, half), fetch(2, half), fetch(3, 1), request(API_VERSIONS, 0, 4, &[])];
        let mut input = BytesMut::from(&requests.concat()[..]);
        let mut taken = Vec::new();
        for _ in 0..requests.len() {
            session.receive(&mut input, Instant::now()).unwrap();
            taken.extend(std::iter::from_fn(|| session.next_request()).map(|(id, _)| id));
        }
        assert_eq!(taken, [0, 1], "the third is one byte too many");
        assert!(!session.wants_input(), "and holds up those behind it");
        assert_eq!(input.len(), requests[3].len());
        // An answer makes no room before it is its turn to leave.
        session.on_reply(1, nothing(), Instant::now());
        assert_eq!(answered(&mut session), [0; 0]);
        session.on_reply(0, nothing(), Instant::now());
        assert_eq!(answered(&mut session), [1, 2]);
        assert_eq!(session.next_request().map(|(id, _)| id), Some(2));
        session.receive(&mut input, Instant::now()).unwrap();
        session.on_reply(2, nothing(), Instant::now());
        assert_eq!(answered(&mut session), [3, 4]);
        assert_eq!(session.held, 0);
    }

    #[test]
    fn one_fetch_is_handed_on_whatever_it_asks_for() {
        let mut session = session();
        let mut input = BytesMut::from(&fetch(1, i32::MAX)[..]);
        session.receive(&mut input, Instant::now()).unwrap();
        assert!(session.next_request().is_some());
    }

    #[test]
    fn so_many_requests_wait_and_no_more() {
        let mut session = session();
        let requests: Vec<_> = (0..200).map(|number| request(API_VERSIONS, 0, number, &[])).collect();
        let mut input = BytesMut::from(&requests.concat()[..]);
        session.receive(&mut input, Instant::now()).unwrap();
        assert_eq!(answered(&mut session).len(), limit::CONNECTION_REQUESTS_MAX);
        session.receive(&mut input, Instant::now()).unwrap();
        assert_eq!(answered(&mut session).len(), 200 - limit::CONNECTION_REQUESTS_MAX);
        assert_eq!(session.held, 0);
    }

    #[test]
    fn a_fetch_takes_as_long_as_it_does_not_wait_for_records() {
        let mut session = session();
        let came = Instant::now();
        let bytes = fetch(1, 1);
        session.receive(&mut BytesMut::from(&bytes[..]), came).unwrap();
        let (id, _) = session.next_request().unwrap();
        let waited = Duration::from_millis(500);
        let reply = Reply::Read { parts: Vec::new(), waited };
        session.on_reply(id, reply, came + waited + Duration::from_millis(3));
        let counters = session.context.counters.clone();
        let fetch = of(&counters, ApiKey::Fetch);
        assert_eq!((fetch.requests.load(Relaxed), fetch.waits.load(Relaxed), fetch.waited()), (1, 1, waited));
        assert_eq!(fetch.seconds.read().sum, Duration::from_millis(3));
        let mut output = Vec::new();
        session.take_output(&mut output);
        let sent: usize = output.iter().map(Output::len).sum();
        assert_eq!(fetch.request_bytes.load(Relaxed), bytes.len() as u64);
        assert_eq!(fetch.response_bytes.load(Relaxed), sent as u64);
    }

    #[test]
    fn errors_in_answers_are_counted_by_name() {
        let mut session = session();
        let requests = [request(API_VERSIONS, 99, 1, &[0]), request(API_VERSIONS, 0, 2, &[])];
        session.receive(&mut BytesMut::from(&requests.concat()[..]), Instant::now()).unwrap();
        let counters = session.context.counters.clone();
        let api_versions = of(&counters, ApiKey::ApiVersions);
        assert_eq!(counters.errors(api_versions).collect::<Vec<_>>(), [("UNSUPPORTED_VERSION", 1)]);
        assert_eq!(api_versions.requests.load(Relaxed), 2);
    }

    #[test]
    fn errors_of_partitions_are_counted_also_when_the_client_wants_no_answer() {
        let mut session = session();
        // Version 3, acks 0 and 7, one topic with two partitions without records.
        let produce = |acks: i16| {
            let mut body = [&(-1_i16).to_be_bytes()[..], &acks.to_be_bytes(), &[0; 4], &1_i32.to_be_bytes()].concat();
            body.extend_from_slice(&[0, 1, b't', 0, 0, 0, 2]);
            for partition in 0..2_i32 {
                body.extend_from_slice(&partition.to_be_bytes());
                body.extend_from_slice(&(-1_i32).to_be_bytes());
            }
            request(0, 3, 1, &body)
        };
        let mut input = BytesMut::from(&[produce(7), produce(0)].concat()[..]);
        for _ in 0..2 {
            session.receive(&mut input, Instant::now()).unwrap();
            let (id, _) = session.next_request().unwrap();
            session.on_reply(id, Reply::Appended(Vec::new()), Instant::now());
        }
        let counters = session.context.counters.clone();
        let produce = of(&counters, ApiKey::Produce);
        let errors: Vec<_> = counters.errors(produce).collect();
        assert_eq!(errors, [("INVALID_REQUIRED_ACKS", 2), ("INVALID_RECORD", 2)]);
    }
}
