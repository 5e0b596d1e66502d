//! Kafka's record batches, the form most pieces have: their head, their records, compression.
//!
//! Whoever stores or moves batches leaves them as they are and needs none of this. It is for those who
//! look inside: whoever accepts a batch, compaction, and everyone who shows records to people or to other
//! protocols.
//!
//! Bytes from outside are hostile: every length and every count is held against the bytes that remain
//! before memory is taken for it, decompression has a limit, nothing recurses on input, and nothing
//! panics on it. The format and its sources are in docs/protocols/kafka.md. Start with [`batch`], then
//! [`record`].

pub mod batch;
pub mod builder;
pub mod compaction;
pub mod compression;
pub mod inspection;
pub mod reader;
pub mod record;
pub mod scan;
pub mod search;

#[cfg(test)]
mod golden_batches;

pub use batch::{Batch, BatchError, Batches};
pub use builder::BatchBuilder;
pub use compression::Compression;
pub use reader::Reader;
pub use record::{Header, Record, RecordError};
