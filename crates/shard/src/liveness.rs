//! What the machine says is alive, for the journal to give back the rest.

use journal::Liveness;
use journal::reclaim::ONE_BY_ONE;
use machine::Machine;
use model::config::Settlement;
use model::{Offset, StreamId};
use parking_lot::RwLock;
use std::ops::Range;

const HOUR_MILLIS: u64 = 3_600_000;

/// The machine, looked at one extent at a time so that `apply` does not wait.
#[derive(Debug)]
pub struct MachineLiveness<'a>(pub &'a RwLock<Machine>);

impl Liveness for MachineLiveness<'_> {
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        let machine = self.0.read();
        let Some(state) = machine.messaging.stream(stream) else {
            return Vec::new();
        };
        let (mut at, end) = (from.max(state.start).0, to.0);
        let Some(settled) = machine.messaging.settled(stream) else {
            return std::iter::once(at..end).filter(|range| !range.is_empty()).collect();
        };
        let mut ranges = Vec::new();
        while at < end {
            let gap = settled.first_gap(at);
            if gap >= end {
                break;
            }
            let next = settled.next_member(gap).unwrap_or(end).min(end);
            ranges.push(gap..next);
            at = next;
        }
        ranges
    }

    fn expiry_class(&self, stream: StreamId) -> u8 {
        let machine = self.0.read();
        let Some(state) = machine.messaging.stream(stream) else { return 0 };
        match (state.config.settlement, state.config.retention_millis) {
            (Settlement::Each, _) => ONE_BY_ONE,
            // Rewritten again and again, so they lie by themselves.
            _ if state.config.cleanup.compacts() => 5,
            (_, Some(millis)) if millis <= HOUR_MILLIS => 1,
            (_, Some(millis)) if millis <= 24 * HOUR_MILLIS => 2,
            (_, Some(_)) => 3,
            (_, None) => 4,
        }
    }
}
