//! Streams and what moves over them.

pub mod dedup;
pub mod group;
pub mod producer;
pub mod sequencer;
pub mod stream;
mod streams;

pub use streams::Messaging;
