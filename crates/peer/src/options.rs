//! What may differ from node to node without changing the protocol.

use crate::limit::{BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX};
use crate::secret::Secret;
use crate::tls::Tls;
use std::time::Duration;

/// What may differ from node to node without changing the protocol.
#[derive(Clone, Debug)]
pub struct Options {
    /// Certificates, if connections are encrypted.
    pub tls: Option<Tls>,
    /// What nodes have to know to be let in, if anything.
    pub secret: Option<Secret>,
    /// Requests that may be queued or unanswered on a connection we dialled; at most, and by default,
    /// [`REQUESTS_IN_FLIGHT_MAX`].
    pub requests_in_flight_max: usize,
    /// Bytes of such requests; at most what [`crate::Lane::bytes_in_flight_max`] allows. A request
    /// larger than this travels alone.
    pub bytes_in_flight_max: usize,
    /// From the first packet of a connection to the end of its handshake, on either side.
    pub handshake_timeout: Duration,
    /// A connection we dialled is probed when nothing was heard for so long.
    pub ping_interval: Duration,
    /// A connection on which nothing moves for so long is dead. Several times the ping interval,
    /// which is what it is counted in.
    pub silence_max: Duration,
    /// The longest a handler may take. A call that is given up by its caller keeps its place in the
    /// connection until the other side answers, which this makes sure of.
    pub handle_timeout: Duration,
    /// How long [`crate::Peers::stop`] lets handlers end.
    pub drain_timeout: Duration,
    /// The wait before the second attempt to connect; doubles with each further one.
    pub backoff_min: Duration,
    /// The longest wait between attempts to connect.
    pub backoff_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            tls: None,
            secret: None,
            requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            bytes_in_flight_max: BYTES_IN_FLIGHT_MAX,
            handshake_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            handle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}
