//! Kafka as Mainstem speaks it: bytes in, bytes out.
//!
//! Three layers, each of which knows only the one before it:
//!
//! - [`codec`]: bytes and frames. Requests and responses in every version known, the record
//!   batches inside them, and nothing about what any of it means.
//! - [`mapping`]: decoded requests to calls of the broker, its answers to responses.
//! - [`session`]: the state machine of one connection, without I/O.
//!
//! Beside them, [`directory`] is what they know of the cluster's other nodes.
//!
//! This crate deliberately knows no sockets, no other protocol and no storage. Start reading with
//! [`codec::message`], where the notation of the declarations is explained, then any one API, such as
//! [`codec::heartbeat`]. The bytes are described in docs/protocols/kafka.md.

#[cfg(test)]
extern crate self as kafka;

pub mod codec;
pub mod directory;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fuzz;
pub mod mapping;
pub mod session;

pub use directory::Directory;
pub use mapping::Context;
pub use session::KafkaSession;
