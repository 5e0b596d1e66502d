//! What kind of run a seed means: sizes small enough that files roll, finish, pack and go.

use crate::rng::Rng;
use crate::upkeep;
use shard::Upkeep;
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
        Shape {
            log_file_bytes,
            reserve_bytes: log_file_bytes,
            cache_bytes: rng.one_of([0, 24 << 10, 1 << 20]),
            upkeep: upkeep::draw(rng),
            pause_micros: rng.one_of([20_000, 60_000, 150_000]),
            scrub_period: None,
            has_others: true,
        }
    }
}
