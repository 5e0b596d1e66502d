//! What kind of run a seed means: sizes small enough that files roll, finish, pack and go.

use crate::rng::Rng;
use crate::time::VirtualTime;
use crate::upkeep;
use shard::{Bandwidth, CatchUp, Upkeep};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// How compacted streams are configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    /// How long a record stays that removes its key, in milliseconds.
    pub(super) removals_millis: u64,
    /// Younger records are not compacted, in milliseconds.
    pub(super) lag_millis: u64,
    /// Compaction begins with so many thousandths of new bytes.
    pub(super) dirty_permille: u32,
}

impl Keeping {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Keeping {
            removals_millis: rng.one_of([0, 1_500, 8_000]),
            lag_millis: rng.one_of([0, 0, 1_000]),
            dirty_permille: rng.one_of([1, 100, 500]),
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) log_file_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) cache_bytes: usize,
    pub(super) upkeep: Upkeep,
    /// Bytes of a snapshot asked for at a time: a file has many of them.
    pub(super) chunk_bytes: usize,
    /// Bytes of snapshots that a node copies in a second.
    pub(super) bytes_per_second: Option<NonZeroU64>,
    /// How long parts of snapshots are kept that nobody asks for.
    pub(super) parts_kept: Duration,
    /// Longest pause between two requests of a client, in microseconds.
    pub(super) pause_micros: u64,
    /// Within which time everything is read again, if not within the usual one.
    pub(super) scrub_period: Option<Duration>,
    /// A replica is told when it is made that there are others.
    pub(super) has_others: bool,
}

impl Shape {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let log_file_bytes = rng.one_of([6 << 10, 16 << 10, 48 << 10]);
        // Without a draw of its own, so that seeds stay what they were. Some snapshots take a second or two then.
        let bytes_per_second = if log_file_bytes == 16 << 10 { NonZeroU64::new(2 << 20) } else { None };
        Shape {
            bytes_per_second,
            log_file_bytes,
            reserve_bytes: log_file_bytes,
            cache_bytes: rng.one_of([0, 24 << 10, 1 << 20]),
            upkeep: upkeep::draw(rng),
            chunk_bytes: log_file_bytes as usize / 24,
            parts_kept: Duration::from_secs(4),
            pause_micros: rng.one_of([20_000, 60_000, 150_000]),
            scrub_period: None,
            has_others: true,
        }
    }

    /// How a node copies snapshots.
    pub(super) fn catch_up(&self) -> CatchUp {
        CatchUp {
            chunk_bytes: self.chunk_bytes,
            bandwidth: self.bytes_per_second.map(|rate| Bandwidth::new(rate, Arc::new(VirtualTime))),
            lease: self.parts_kept,
            parts_kept: self.parts_kept,
            ..CatchUp::default()
        }
    }
}
