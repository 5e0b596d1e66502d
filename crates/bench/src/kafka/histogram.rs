//! Counts of values by their size, exact to less than one part in a hundred, in the manner of HDR
//! histograms: the same number of buckets for every power of two.

/// Buckets to a power of two: two to this.
const PRECISION: u32 = 7;
/// Enough for every `u64`.
const BUCKETS: usize = ((64 - PRECISION as usize) + 1) << PRECISION;

/// Values and how often each was seen.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

/// The bucket of a value. Values below two to `PRECISION` have one each.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION + 1);
    ((u64::from(shift) << PRECISION) + (value >> shift)) as usize
}

/// The greatest value of a bucket.
fn greatest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> PRECISION).saturating_sub(1);
    let lowest = bucket - (shift << PRECISION);
    (lowest << shift) + ((1 << shift) - 1)
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The value that this share of all values does not exceed; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return greatest(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        let mut next = 0;
        for nth in 0..BUCKETS {
            assert_eq!(bucket(next), nth);
            assert_eq!(bucket(greatest(nth)), nth);
            next = greatest(nth).wrapping_add(1);
        }
        assert_eq!(greatest(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_values_to_one_in_a_hundred() {
        let mut histogram = Histogram::default();
        let values: Vec<u64> = (1..=10_000u64).map(|n| n * n * 37).collect();
        values.iter().for_each(|value| histogram.record(*value));
        for share in [0.001, 0.5, 0.99, 0.999, 1.0] {
            let exact = values[(values.len() as f64 * share).ceil() as usize - 1] as f64;
            let found = histogram.quantile(share) as f64;
            assert!(found >= exact && found <= exact * 1.01, "{share}: {found} for {exact}");
        }
        assert_eq!((histogram.count(), histogram.max()), (10_000, 3_700_000_000));
    }

    #[test]
    fn sums_are_what_one_would_have_counted() {
        let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..1000 {
            if n % 3 == 0 {
                one.record(n * 1000)
            } else {
                other.record(n * 1000)
            }
            both.record(n * 1000);
        }
        one.add(&other);
        assert_eq!((one.count(), one.max()), (both.count(), both.max()));
        assert_eq!(one.quantile(0.9), both.quantile(0.9));
    }

    #[test]
    fn nothing_counted_is_nothing() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
