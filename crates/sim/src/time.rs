//! Virtual time, as runs tell it.

use openraft_rt_sim::SimInstant;
use shard::runtime::Instant;
use std::time::Duration;

/// What wall clocks show when a run begins: some day in the past, in milliseconds.
pub(crate) const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// Virtual time since the run began.
pub(crate) fn now() -> Duration {
    SimInstant::now().elapsed_since_start()
}
