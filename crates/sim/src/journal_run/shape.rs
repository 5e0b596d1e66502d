//! What kind of run a seed means: sizes, and which troubles it has.

use crate::rng::Rng;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) steps: u64,
    pub(super) cache_bytes: usize,
    pub(super) log_file_bytes: u64,
    pub(super) file_pieces_max: usize,
    /// How many of a hundred entries wait for stable storage.
    pub(super) fsync_percent: u64,
    /// How many of a hundred appends are written, committed and applied at once, before they are
    /// synced: the others of a quorum were faster.
    pub(super) eager_percent: u64,
    /// Steps in a thousand that crash.
    pub(super) crashes: u64,
    /// How many of a hundred crashes are power loss.
    pub(super) power_percent: u64,
    /// Steps in a thousand that begin a time of trouble with the disk.
    pub(super) troubles: u64,
    /// Whether the run ends with flipped bits.
    pub(super) flips: bool,
    /// Whether other replicas have what this one has: alone, it does not start when something is lost.
    pub(super) replicated: bool,
    /// Whether some streams are compacted.
    pub(super) compaction: bool,
}

impl Shape {
    pub(super) fn draw(seed: u64, rng: &mut Rng) -> Self {
        Shape {
            steps: rng.between(80, 400),
            cache_bytes: rng.one_of([0, 2_000, 20_000, 1 << 20]),
            log_file_bytes: rng.one_of([4 << 10, 8 << 10, 16 << 10, 64 << 10]),
            file_pieces_max: rng.one_of([6, 40, 1000, 1000]),
            fsync_percent: rng.one_of([100, 90, 50, 0]),
            eager_percent: rng.one_of([0, 0, 40, 80]),
            crashes: rng.one_of([0, 10, 25, 60]),
            power_percent: rng.one_of([0, 30, 50, 100]),
            troubles: rng.one_of([0, 0, 20, 50]),
            flips: rng.percent(30),
            replicated: seed.is_multiple_of(2),
            compaction: false,
        }
    }
}
