//! Streams and what moves over them.

pub mod dedup;
pub mod group;
pub mod moving;
mod pending;
pub mod producer;
mod producers;
pub mod sequencer;
pub mod stream;
mod streams;

pub use streams::Messaging;
