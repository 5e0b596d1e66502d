//! The shard's deterministic state machine: `apply(position, entry) -> replies, effects`.
//!
//! Given the same entries it computes the same state, replies and effects, on every replica and on
//! every replay. So it sees its state and its entry and nothing else: no clock, no randomness, no
//! disk, no other shard, no configuration file, no hash-map iteration (`clippy.toml` bans them).
//! What it needs from outside reaches it inside entries. A refusal is a reply like any other; a
//! broken assertion is an [`ApplyError`] and stops the shard.
//!
//! Start with [`machine::Machine::apply`] and [`command::Command`]. [`messaging`] holds streams and
//! what moves over them, [`catalog`] what every node knows, [`outbox`] how a shard's decision
//! reaches another shard exactly once, [`table`] how state becomes checkpoints.
//! [`messaging::sequencer`] is the leader's side of an append: not part of `apply`, but pure and
//! over the same state.

pub mod canary;
pub mod catalog;
pub mod command;
pub mod machine;
pub mod messaging;
pub mod outbox;
pub mod refusal;
pub mod reply;
pub mod table;

pub use command::Command;
pub use machine::{ApplyError, Machine, Outcome, Position};
pub use refusal::Refusal;
pub use reply::{Effect, Reply};
