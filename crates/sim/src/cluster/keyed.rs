//! Streams of which compaction keeps the last record of each key: what is written to them, how they are
//! read, and what has to be there.
//!
//! - `record` is what clients write, and what it is when it is read back.
//! - `reader` reads as a client does, who sees nothing but bytes.
//! - `ledger` knows what was written and told, and judges what is read.

pub(super) mod ledger;
pub(super) mod reader;
pub(super) mod record;
