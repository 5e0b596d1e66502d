//! What a protocol's sessions count: requests, errors, bytes and time, for each of its APIs.
//!
//! One table for all connections that speak the protocol. A session finds a row by number, so that
//! counting a request is a few additions to shared memory.

use model::Histogram;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Counters of a protocol since the start.
#[derive(Debug)]
pub struct ProtocolCounters {
    /// The protocol, as metrics name it.
    pub name: &'static str,
    apis: Vec<ApiCounters>,
    errors: Vec<&'static str>,
}

/// Counters of one of its APIs.
pub struct ApiCounters {
    /// The API, as the protocol names it.
    pub name: &'static str,
    /// Requests that were answered, or whose client wants no answer.
    pub requests: AtomicU64,
    /// Bytes of these requests.
    pub request_bytes: AtomicU64,
    /// Bytes of the answers.
    pub response_bytes: AtomicU64,
    /// From the arrival of a request's last byte until its answer is there, without what it waited for on
    /// purpose.
    pub seconds: Histogram,
    /// Requests that waited on purpose: for records to come, say.
    pub waits: AtomicU64,
    wait_nanos: AtomicU64,
    /// By the number of the error.
    errors: Vec<AtomicU64>,
}

impl fmt::Debug for ApiCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiCounters({})", self.name)
    }
}

/// A request that was answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// Bytes of the request.
    pub request_bytes: usize,
    /// Bytes of the answer.
    pub response_bytes: usize,
    /// From the arrival of its last byte until its answer was there.
    pub took: Duration,
    /// How much of this it waited on purpose.
    pub waited: Duration,
}

impl ProtocolCounters {
    /// Of a protocol with these APIs and these errors. Rows and errors are numbered in this order.
    #[must_use]
    pub fn new(name: &'static str, apis: &[&'static str], errors: &[&'static str]) -> Self {
        let row = |api: &&'static str| ApiCounters {
            name: api,
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            seconds: Histogram::default(),
            waits: AtomicU64::new(0),
            wait_nanos: AtomicU64::new(0),
            errors: errors.iter().map(|_| AtomicU64::new(0)).collect(),
        };
        ProtocolCounters { name, apis: apis.iter().map(row).collect(), errors: errors.to_vec() }
    }

    /// Its APIs.
    pub fn apis(&self) -> impl Iterator<Item = &ApiCounters> {
        self.apis.iter()
    }

    /// The errors that an API has answered, each with how often.
    pub fn errors<'a>(&'a self, api: &'a ApiCounters) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        let counted = self.errors.iter().zip(&api.errors).map(|(name, count)| (*name, count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0)
    }

    /// Counts a request of the API with this number.
    pub fn note(&self, api: usize, answered: Answered) {
        let Some(row) = self.apis.get(api) else { return };
        row.requests.fetch_add(1, Relaxed);
        row.request_bytes.fetch_add(answered.request_bytes as u64, Relaxed);
        row.response_bytes.fetch_add(answered.response_bytes as u64, Relaxed);
        row.seconds.observe(answered.took.saturating_sub(answered.waited));
        if !answered.waited.is_zero() {
            row.waits.fetch_add(1, Relaxed);
            row.wait_nanos.fetch_add(u64::try_from(answered.waited.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// Counts an error, by its number, that the API with this number answered.
    pub fn note_error(&self, api: usize, error: usize) {
        if let Some(count) = self.apis.get(api).and_then(|row| row.errors.get(error)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl ApiCounters {
    /// For how long its requests waited on purpose.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.wait_nanos.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_on_purpose_is_counted_apart_from_the_rest() {
        let counters = ProtocolCounters::new("test", &["Put", "Get"], &["NONE", "GONE"]);
        let (took, waited) = (Duration::from_millis(501), Duration::from_millis(500));
        counters.note(1, Answered { request_bytes: 10, response_bytes: 20, took, waited });
        counters
            .note(1, Answered { request_bytes: 1, response_bytes: 2, took: Duration::ZERO, waited: Duration::ZERO });
        let get = counters.apis().nth(1).unwrap();
        assert_eq!((get.requests.load(Relaxed), get.waits.load(Relaxed)), (2, 1));
        assert_eq!((get.request_bytes.load(Relaxed), get.response_bytes.load(Relaxed)), (11, 22));
        assert_eq!((get.seconds.read().sum, get.waited()), (Duration::from_millis(1), waited));
        assert_eq!(counters.apis().next().unwrap().requests.load(Relaxed), 0);
    }

    #[test]
    fn errors_are_counted_by_api_and_unknown_numbers_by_none() {
        let counters = ProtocolCounters::new("test", &["Put", "Get"], &["NONE", "GONE"]);
        counters.note_error(0, 1);
        counters.note_error(0, 1);
        counters.note_error(0, 2);
        counters.note_error(2, 1);
        let errors = |nth| counters.errors(&counters.apis[nth]).collect::<Vec<_>>();
        assert_eq!(errors(0), [("GONE", 2)]);
        assert_eq!(errors(1), []);
    }
}
