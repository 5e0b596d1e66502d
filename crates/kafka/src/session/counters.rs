//! What sessions count: a row for each API, a number for each error.

use crate::codec::api_key::ApiKey;
use crate::codec::error_code::ErrorCode;
use broker::Reply;
use gateway::ProtocolCounters;
use gateway::protocol::Answered;
use std::time::{Duration, Instant};

/// The protocol, as metrics name it.
const NAME: &str = "kafka";

/// Counters for the sessions of a node.
#[must_use]
pub fn counters() -> ProtocolCounters {
    let apis: Vec<&'static str> = ApiKey::ALL.iter().map(|api| api.name()).collect();
    let errors: Vec<&'static str> = ErrorCode::ALL.iter().map(|error| error.name()).collect();
    ProtocolCounters::new(NAME, &apis, &errors)
}

/// A request, and what is to be counted when it is answered.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    row: usize,
    request_bytes: usize,
    came: Instant,
    waited: Duration,
}

impl Measured {
    /// A request of so many bytes, the last of which had come by `now`.
    pub(super) fn new(api: ApiKey, request_bytes: usize, now: Instant) -> Self {
        // They are in order of their numbers.
        let row = ApiKey::ALL.binary_search(&api).unwrap_or(usize::MAX);
        Measured { row, request_bytes, came: now, waited: Duration::ZERO }
    }

    /// The broker has answered: it may have waited for records, as it was asked to.
    pub(super) fn note_reply(&mut self, reply: &Reply) {
        if let Reply::Read { waited, .. } = reply {
            self.waited += *waited;
        }
    }

    /// Counts what an answer says of errors.
    pub(super) fn note_error(&self, counters: &ProtocolCounters, code: i16) {
        if code != ErrorCode::None.code() {
            // They are numbered from -1 on, without gaps.
            counters.note_error(self.row, usize::try_from(i32::from(code) + 1).unwrap_or(usize::MAX));
        }
    }

    /// Counts the request: an answer of so many bytes is there.
    pub(super) fn note_answer(&self, counters: &ProtocolCounters, response_bytes: usize, now: Instant) {
        let Measured { row, request_bytes, came, waited } = *self;
        let took = now.saturating_duration_since(came);
        counters.note(row, Answered { request_bytes, response_bytes, took, waited });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_and_every_error_has_its_place() {
        let counters = counters();
        for api in ApiKey::ALL {
            let measured = Measured::new(*api, 0, Instant::now());
            assert_eq!(counters.apis().nth(measured.row).map(|row| row.name), Some(api.name()));
        }
        let measured = Measured::new(ApiKey::Fetch, 0, Instant::now());
        for error in ErrorCode::ALL {
            measured.note_error(&counters, error.code());
        }
        measured.note_error(&counters, i16::MAX);
        measured.note_error(&counters, i16::MIN);
        let fetch = counters.apis().nth(measured.row).unwrap();
        let counted: Vec<_> = counters.errors(fetch).collect();
        let failures = ErrorCode::ALL.iter().filter(|error| **error != ErrorCode::None);
        assert_eq!(counted, failures.map(|error| (error.name(), 1)).collect::<Vec<_>>());
    }
}
