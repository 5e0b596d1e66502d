//! The words of Mainstem: ids, records, pieces, entries, names, limits and time, as plain data.
//!
//! Everything above speaks in these types, so this crate knows nothing above it: no I/O, no clock,
//! no protocol, no consensus. Start with [`piece`] (what is stored), then [`entry`] (what one Raft
//! entry carries), then [`limit`] (every maximum, with the relations between them proven at compile
//! time). The bytes of both are drawn in docs/formats.

pub mod checksum;
pub mod config;
pub mod entry;
pub mod histogram;
pub mod id;
pub mod interval;
pub mod limit;
pub mod name;
pub mod piece;
pub mod record;
pub mod time;
pub mod wire;

pub use config::{Durability, StreamConfig, TimestampSource};
pub use entry::{Entry, EntryBuilder, EntryError, PieceDesc};
pub use histogram::Histogram;
pub use id::{Incarnation, LeaderEpoch, NodeId, Offset, ProducerId, ShardId, StreamId, TopicId};
pub use interval::IntervalSet;
pub use name::{Name, NameError};
pub use piece::{Form, PieceError, PieceHead};
pub use time::{Hlc, Timestamp};
pub use wire::{Wire, WireError};
