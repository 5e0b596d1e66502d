//! Counts of durations, in fixed buckets: what a latency was, for whoever asks later.
//!
//! Observing takes two additions to shared memory and no lock. Nothing here reads a clock.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The buckets' upper bounds, in microseconds: three in every decade from 10 us to 10 s. What took longer
/// is in one bucket more.
pub const BOUNDS_MICROS: [u64; 19] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000,
];

/// Buckets, the last one included that has no bound.
pub const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// Counts of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// What a histogram holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many durations are in each bucket and in none before it.
    pub counts: [u64; BUCKETS],
    /// The sum of all.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // A bound belongs to its bucket.
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// What it holds now. What is observed meanwhile may be in one part of it and not yet in another.
    #[must_use]
    pub fn read(&self) -> Reading {
        let counts = std::array::from_fn(|nth| self.counts[nth].load(Relaxed));
        Reading { counts, sum: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }
}

impl Reading {
    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_reaches_it() {
        let histogram = Histogram::default();
        let nanos = [0, 10_000, 10_001, 20_000, 999_999_999, 1_000_000_000, 10_000_000_000, 10_000_000_001];
        nanos.iter().for_each(|nanos| histogram.observe(Duration::from_nanos(*nanos)));
        let Reading { counts, sum } = histogram.read();
        let mut expected = [0; BUCKETS];
        expected[0] = 2;
        expected[1] = 2;
        expected[15] = 2;
        expected[18] = 1;
        expected[19] = 1;
        assert_eq!(counts, expected);
        assert_eq!(sum, Duration::from_nanos(nanos.iter().sum()));
        assert_eq!(histogram.read().count(), nanos.len() as u64);
    }

    #[test]
    fn the_longest_duration_counts() {
        let histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.read().counts[BUCKETS - 1], 1);
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS_MICROS.is_sorted_by(|a, b| a < b));
    }
}
