//! Bytes that a session holds, as the node's memory knows them.

use broker::memory::{Held, Pool};

/// Bytes that are held, and counted in a pool of the node's memory.
pub(super) struct Counted {
    pub(super) bytes: usize,
    held: Held,
}

impl Counted {
    /// Nothing yet.
    pub(super) fn new(pool: &Pool) -> Self {
        Counted { bytes: 0, held: pool.charge(0) }
    }

    /// So many more are held.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.held.cover(self.bytes);
    }

    /// So many are held no longer.
    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.held.cover(self.bytes);
    }
}
