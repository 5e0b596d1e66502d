//! Time as data. Nothing here reads a clock: the leader stamps entries, everything else is told.

use crate::wire::{Input, Wire, WireError};
use std::fmt;

/// Milliseconds since the Unix epoch. Kafka's timestamps, expiry times, retention deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `millis` later, saturating.
    #[must_use]
    pub fn plus(self, millis: u64) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(millis))
    }

    /// The moment `millis` earlier, saturating.
    #[must_use]
    pub fn minus(self, millis: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(millis))
    }
}

impl Wire for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(Timestamp(i64::take(input)?))
    }
}

/// A hybrid logical clock's reading: wall milliseconds in the upper 48 bits, a counter below.
///
/// The leader stamps every entry with one. Readings never run backwards, also across leaders,
/// because a new leader starts from the last reading it applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

const COUNTER_BITS: u32 = 16;
/// The last millisecond there is room for: in the year 10889.
const WALL_MAX: u64 = u64::MAX >> COUNTER_BITS;

impl Hlc {
    /// The reading that follows `self` when the wall clock shows `wall`. After the last reading
    /// time stands still.
    #[must_use]
    pub fn next(self, wall: Timestamp) -> Hlc {
        let wall = (wall.0.max(0) as u64).min(WALL_MAX) << COUNTER_BITS;
        Hlc(wall.max(self.0.saturating_add(1)))
    }

    /// The wall-clock part, in milliseconds.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp((self.0 >> COUNTER_BITS) as i64)
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> COUNTER_BITS, self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

impl Wire for Hlc {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(Hlc(u64::take(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_does_not_take_readings_with_it() {
        let first = Hlc::default().next(Timestamp(1_000));
        let second = first.next(Timestamp(10));
        let third = second.next(Timestamp(1_001));
        assert!(first < second && second < third);
        assert_eq!(second.timestamp(), Timestamp(1_000));
        assert_eq!(third.timestamp(), Timestamp(1_001));
    }

    #[test]
    fn a_clock_at_its_end_stands_still() {
        let last = Hlc(u64::MAX);
        assert_eq!(last.next(Timestamp(5)), last);
        let far = Hlc::default().next(Timestamp(i64::MAX));
        assert_eq!(far.timestamp(), last.timestamp(), "a wall clock beyond the last millisecond shows the last");
        assert!(far.next(Timestamp(5)) > far);
    }
}
