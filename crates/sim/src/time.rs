//! Virtual time, as runs tell it.

use futures::future::BoxFuture;
use openraft_rt_sim::{SimInstant, SimRuntime};
use shard::Pace;
use shard::runtime::{Instant, Runtime};
use std::time::Duration;

/// What wall clocks show when a run begins: some day in the past, in milliseconds.
pub(crate) const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// Virtual time since the run began.
pub(crate) fn now() -> Duration {
    SimInstant::now().elapsed_since_start()
}

/// Virtual time, for what spreads bytes over it.
pub(crate) struct VirtualTime;

impl Pace for VirtualTime {
    fn now(&self) -> Duration {
        now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SimRuntime::sleep(time))
    }
}
