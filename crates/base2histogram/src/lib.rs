//! Stands in for the published crate of this name: histograms that record nothing.
//!
//! openraft counts sizes and latencies in it, shows them only with a feature that is off here, and
//! nobody else uses it. The published crate makes tables of 26 MiB when the first histogram is made,
//! which is most of what an idle node takes and much of how long it starts: see
//! `docs/adr/0004-no-histograms-for-openraft.md`. What is here is what openraft names.

use std::fmt;
use std::marker::PhantomData;

/// Takes samples and keeps none.
#[derive(Debug, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<fn() -> T>);

impl<T> Histogram<T> {
    /// An empty one, for good.
    #[must_use]
    pub fn new() -> Self {
        Histogram(PhantomData)
    }

    /// Takes a sample.
    pub fn record(&mut self, _value: u64) {}

    /// Takes the same sample so many times.
    pub fn record_n(&mut self, _value: u64, _count: u64) {}

    /// No samples, all zeros.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram::new()
    }
}

impl<T> Clone for Histogram<T> {
    fn clone(&self) -> Self {
        Histogram::new()
    }
}

/// What a histogram would say: the number of samples, and percentiles by their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named by the percentile it would be")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not recorded")
    }
}

/// A drawing of histograms: of these there is nothing to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one, for good.
    #[must_use]
    pub fn new() -> Self {
        AsciiChart
    }

    /// Takes a histogram.
    #[must_use]
    pub fn add<T>(self, _name: &str, _histogram: Histogram<T>) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not recorded")
    }
}
