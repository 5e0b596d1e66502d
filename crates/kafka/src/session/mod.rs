//! One Kafka connection: frames in, requests to the broker, replies out in the order of requests.
//!
//! Kafka answers requests of a connection in the order they came, while the broker answers in any:
//! an answer waits here until all before it are there. No I/O, no async.

use crate::codec::api_key::ApiKey;
use crate::codec::api_versions::ApiVersionsResponse;
use crate::codec::body::{RequestBody, ResponseBody};
use crate::codec::error_code::ErrorCode;
use crate::codec::frame;
use crate::codec::header::{RequestHeader, ResponseHeader};
use crate::codec::reader::Reader;
use crate::mapping::{self, Context, Step, Then};
use broker::{Reply, Request};
use bytes::{Bytes, BytesMut};
use gateway::session::{RequestId, Session, Violation};
use std::collections::VecDeque;

/// Requests of a connection that may wait for answers; more are not read.
const REQUESTS_MAX: usize = 128;
/// The largest request: Kafka's `socket.request.max.bytes`.
const REQUEST_BYTES_MAX: usize = 100 << 20;

enum State {
    /// Waits for the broker.
    Asked(Then),
    /// The response, framed.
    Answered(Bytes),
    /// The client wants no response.
    Silent,
}

struct Exchange {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    state: State,
}

/// See the module's documentation.
pub struct KafkaSession {
    context: Context,
    exchanges: VecDeque<Exchange>,
    /// Number of the first exchange in the queue.
    first: RequestId,
    requests: VecDeque<(RequestId, Request)>,
}

impl KafkaSession {
    /// A new connection's session.
    #[must_use]
    pub fn new(context: Context) -> Self {
        KafkaSession { context, exchanges: VecDeque::new(), first: 0, requests: VecDeque::new() }
    }

    fn on_frame(&mut self, content: Bytes) -> Result<(), Violation> {
        let violation = |error: &dyn std::fmt::Display| Violation { reason: error.to_string() };
        let mut reader = Reader::new(content);
        let header = RequestHeader::decode(&mut reader).map_err(|error| violation(&error))?;
        let Some(api) = header.api().filter(|api| mapping::is_spoken(*api)) else {
            return Err(Violation { reason: format!("API {} is not spoken here", header.api_key) });
        };
        let version = header.api_version;
        let exchange = |state, version| Exchange { api, version, correlation_id: header.correlation_id, state };
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
            return self.push(exchange, Step::Reply(ResponseBody::ApiVersions(refusal)));
        }
        let body = RequestBody::decode(api, version, reader).map_err(|error| violation(&error))?;
        let step = mapping::handle(&self.context, version, header.client_id.clone(), body);
        self.push(exchange(State::Silent, version), step)
    }

    fn push(&mut self, exchange: Exchange, step: Step) -> Result<(), Violation> {
        let id = self.first + self.exchanges.len() as u64;
        self.exchanges.push_back(exchange);
        self.advance(id, step);
        Ok(())
    }

    fn advance(&mut self, id: RequestId, step: Step) {
        let nth = (id - self.first) as usize;
        let Some(exchange) = self.exchanges.get_mut(nth) else { return };
        exchange.state = match step {
            Step::Silent => State::Silent,
            Step::Reply(body) => State::Answered(encode(exchange, &body)),
            Step::Ask(request, then) => {
                self.requests.push_back((id, request));
                State::Asked(then)
            }
        };
    }
}

fn encode(exchange: &Exchange, body: &ResponseBody) -> Bytes {
    let mut out = BytesMut::new();
    let written = frame::write(&mut out, |writer| {
        let header = ResponseHeader { correlation_id: exchange.correlation_id };
        header.encode(writer, exchange.api, exchange.version);
        body.encode(writer, exchange.version);
    });
    if let Err(error) = written {
        tracing::error!(api = exchange.api.name(), %error, "a response could not be framed");
        out.clear();
    }
    out.freeze()
}

impl Session for KafkaSession {
    fn receive(&mut self, input: &mut BytesMut) -> Result<(), Violation> {
        while self.wants_input() {
            match frame::split(input, REQUEST_BYTES_MAX) {
                Ok(Some(content)) => self.on_frame(content)?,
                Ok(None) => break,
                Err(error) => return Err(Violation { reason: error.to_string() }),
            }
        }
        Ok(())
    }

    fn next_request(&mut self) -> Option<(RequestId, Request)> {
        self.requests.pop_front()
    }

    fn on_reply(&mut self, id: RequestId, reply: Reply) {
        let Some(exchange) = id.checked_sub(self.first).and_then(|nth| self.exchanges.get_mut(nth as usize)) else {
            return;
        };
        if let State::Asked(then) = std::mem::replace(&mut exchange.state, State::Silent) {
            let step = then(reply);
            self.advance(id, step);
        }
    }

    fn take_output(&mut self, output: &mut Vec<Bytes>) {
        while let Some(exchange) = self.exchanges.front() {
            match &exchange.state {
                State::Asked(_) => break,
                State::Answered(bytes) => output.push(bytes.clone()),
                State::Silent => {}
            }
            self.exchanges.pop_front();
            self.first += 1;
        }
    }

    fn wants_input(&self) -> bool {
        self.exchanges.len() < REQUESTS_MAX
    }
}
