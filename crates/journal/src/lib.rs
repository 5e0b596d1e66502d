//! Where record bytes live, written in Raft order and kept until nobody needs them.
//!
//! One journal serves one shard. It takes Raft entries, makes them durable with one group commit,
//! indexes the pieces in them once they are committed, serves reads by stream and offset, keeps the
//! machine's checkpoints, and gives space back. It is the only crate that touches the disk, and does
//! so behind [`disk::Disk`], which the simulator replaces.
//!
//! It deliberately does not know Raft's roles, commands, protocols or what a stream means: it is
//! told which entries to append, which are committed, which pieces the machine accepted and which
//! are still alive.
//!
//! Start with [`journal::Journal`], then [`writer`] (the way to the disk), [`recovery`] (the way
//! back), [`frame`] and [`table`] (the bytes, drawn in docs/formats/journal.md).

pub mod active;
mod around;
pub mod canary;
pub mod checkpoint;
mod cold_pages;
mod compact;
pub mod compacted;
mod cursors;
pub mod damage;
pub mod disk;
pub mod file;
mod finish;
pub mod frame;
pub mod install;
pub mod journal;
pub mod log;
pub mod manifest;
mod pack;
pub mod parts;
pub mod progress;
pub mod range;
pub mod read;
mod rebuild;
mod recent;
pub mod reclaim;
pub mod recovery;
mod repair;
mod reserve;
pub mod scan;
pub mod scrub;
pub mod skips;
mod state;
pub mod table;
mod takeover;
pub mod thread;
pub mod writer;

pub use cold_pages::ColdPages;
pub use compact::{Compaction, CompactionPlan, Compactor, Kept};
pub use damage::Damage;
pub use journal::{CacheBudget, Counters, Journal, LogReadError, Options};
pub use log::LogEntry;
pub use manifest::LogPosition;
pub use range::FileRange;
pub use read::{Chunk, ReadError, Slice};
pub use reclaim::{Liveness, Plan, ReclaimError, Usage};
pub use recovery::{OpenError, Recovered};
pub use state::{Done, Finished, Space};
pub use takeover::Takeover;
pub use writer::{Next, Writer};
