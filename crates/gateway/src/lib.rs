//! Listeners and the one socket loop for all protocols.
//!
//! A protocol is a [`session::Session`]: bytes and replies in, requests and bytes out, no I/O. This
//! crate moves the bytes, hands requests to the broker in order, bounds what a connection and all of them
//! together may hold, and drops those that stand still. It deliberately knows no protocol: the program
//! that wires things together says which session a listener speaks.
//!
//! Start with [`session`], then [`connection`].

pub mod connection;
pub mod counters;
mod input;
pub mod listener;
mod outgoing;
pub mod patience;
pub mod protocol;
pub mod seats;
pub mod session;
pub mod timeouts;

pub use counters::Counters;
pub use listener::Listener;
pub use patience::Patience;
pub use protocol::ProtocolCounters;
pub use seats::Seats;
pub use session::{Output, Session, Violation};
pub use timeouts::Timeouts;
