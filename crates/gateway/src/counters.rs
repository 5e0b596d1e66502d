//! What a listener counts, for metrics.

use crate::seats::Refusals;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Counters of one listener since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections served now.
    pub open: AtomicU64,
    /// Connections accepted and served.
    pub accepted: AtomicU64,
    /// Connections closed at once because there was no seat for them.
    pub refused: AtomicU64,
    /// Times the operating system would not accept.
    pub accept_errors: AtomicU64,
    /// Connections closed because the client broke the protocol.
    pub violations: AtomicU64,
    /// Parts of requests refused because what they held was malformed; the connection went on.
    pub rejections: AtomicU64,
    /// When that was last said in the log.
    pub(crate) rejections_said: Mutex<Refusals>,
    /// Connections closed because the client did not read its answers, or was idle for too long.
    pub timeouts: AtomicU64,
    /// Of these, those whose client did not read its answers.
    pub slow_readers: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
}

/// A connection that counts as open until it is dropped.
#[derive(Debug)]
pub struct Open<'a>(&'a Counters);

impl Counters {
    /// Counts a connection as accepted, and as open while the result lives.
    #[must_use]
    pub fn open(&self) -> Open<'_> {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(self)
    }
}

impl Counters {
    /// Counts parts of requests that were refused because they are malformed. Returns how many times to
    /// speak of in the log, if it is time to.
    #[must_use]
    pub fn note_rejections(&self, count: u64) -> Option<u64> {
        self.rejections.fetch_add(count, Relaxed);
        self.rejections_said.lock().note(Instant::now())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
