//! How long a client may leave a connection alone.

use std::time::Duration;

/// What is waited for from clients, and how long. One that takes longer is dropped: its machine may be gone
/// without a word, and what it holds is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// In the middle of a request or of its answers.
    pub stall: Duration,
    /// Between requests, when all of them are answered: Kafka's `connections.max.idle.ms`.
    pub idle: Duration,
}
