//! What kind of run a seed means: sizes small enough that files roll, finish, pack and go.

use crate::rng::Rng;
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
            removals_millis: one_of(rng, [0, 1_500, 8_000]),
            lag_millis: one_of(rng, [0, 0, 1_000]),
            dirty_permille: one_of(rng, [1, 100, 500]),
        }
    }
}

fn one_of<T: Copy>(rng: &mut Rng, choices: [T; 3]) -> T {
    choices[rng.below(3) as usize]
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
        let log_file_bytes = one_of(rng, [6 << 10, 16 << 10, 48 << 10]);
        Shape {
            log_file_bytes,
            reserve_bytes: log_file_bytes,
            cache_bytes: one_of(rng, [0, 24 << 10, 1 << 20]),
            upkeep: Upkeep {
                checkpoint_log_bytes: one_of(rng, [24 << 10, 64 << 10, 160 << 10]),
                log_kept_bytes: one_of(rng, [8 << 10, 48 << 10, 256 << 10]),
                purge_delay: Duration::from_secs(2),
                compaction_interval: Duration::from_secs(2),
            },
            pause_micros: one_of(rng, [20_000, 60_000, 150_000]),
            scrub_period: None,
            has_others: true,
        }
    }
}
