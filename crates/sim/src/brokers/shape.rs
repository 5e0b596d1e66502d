//! What kind of run a seed means: how many nodes and shards, and sizes small enough that files roll, pack and go.

use crate::rng::Rng;
use crate::upkeep;
use shard::Upkeep;
use std::time::Duration;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) nodes: u64,
    /// Shards that the first node founds, the catalog not counted.
    pub(super) shards: u32,
    pub(super) log_file_bytes: u64,
    pub(super) cache_bytes: usize,
    pub(super) upkeep: Upkeep,
    /// Longest pause between two requests of a client, in microseconds.
    pub(super) pause_micros: u64,
    /// Nodes ask for a certain number when they join.
    pub(super) numbers_wanted: bool,
    /// Within which time everything on a disk is read again, if it matters.
    pub(super) scrub_period: Option<Duration>,
    /// How many racks nodes say that they stand in.
    pub(super) racks: u64,
}

/// When bits flip again and again, within which time everything is read again.
const SCRUB_PERIOD: Duration = Duration::from_secs(2);

/// Three nodes more often than all others together: there each has to do with each.
const NODES: [u64; 10] = [3, 3, 3, 3, 3, 3, 4, 5, 5, 7];

impl Shape {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Shape {
            nodes: rng.one_of(NODES),
            shards: rng.between(1, 3) as u32,
            log_file_bytes: rng.one_of([8 << 10, 24 << 10, 64 << 10]),
            cache_bytes: rng.one_of([0, 24 << 10, 1 << 20]),
            upkeep: upkeep::draw(rng),
            pause_micros: rng.one_of([40_000, 100_000, 200_000]),
            numbers_wanted: rng.percent(50),
            racks: rng.below(4),
            scrub_period: None,
        }
    }

    /// For runs in which bits flip: what is damaged is to be mended before more of it is.
    pub(super) fn bear_flips(&mut self) {
        (self.nodes, self.scrub_period) = (3, Some(SCRUB_PERIOD));
    }

    /// The rack that the node at a place stands in, if nodes are in racks.
    pub(super) fn rack_of(&self, place: u64) -> Option<u64> {
        (self.racks > 0).then(|| place % self.racks)
    }
}
