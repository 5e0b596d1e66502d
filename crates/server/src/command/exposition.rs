//! What `/metrics` says, read back: OpenMetrics' text.
//!
//! Lines that cannot be read are passed over: a node of another version may say more than we know.

use std::collections::BTreeMap;

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All that a node said at one time, by the metrics' names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exposition {
    samples: BTreeMap<String, Vec<Sample>>,
}

/// A histogram: how many were at most so much, in rising order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bound, and how many did not exceed it.
    pub(crate) buckets: Vec<(f64, f64)>,
}

impl Exposition {
    /// Reads all lines of `text` that are samples.
    pub(crate) fn parse(text: &str) -> Self {
        let mut exposition = Exposition::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, sample)) = sample(line) {
                exposition.samples.entry(name.to_owned()).or_default().push(sample);
            }
        }
        exposition
    }

    /// The sum over all labels. None: there is no such metric.
    pub(crate) fn total(&self, name: &str) -> Option<f64> {
        let samples = self.samples.get(name)?;
        Some(samples.iter().map(|sample| sample.value).sum())
    }

    /// Sums by the values of these labels; one that a sample lacks is empty.
    pub(crate) fn by<const N: usize>(&self, name: &str, labels: [&str; N]) -> BTreeMap<[String; N], f64> {
        let mut sums = BTreeMap::new();
        for sample in self.samples.get(name).into_iter().flatten() {
            let key = labels.map(|label| sample.labels.get(label).cloned().unwrap_or_default());
            *sums.entry(key).or_insert(0.0) += sample.value;
        }
        sums
    }

    /// The histogram of that name, over all labels together.
    pub(crate) fn histogram(&self, name: &str) -> Option<Histogram> {
        let by_bound = self.by(&format!("{name}_bucket"), ["le"]);
        let bounds = by_bound.into_iter().filter_map(|([bound], count)| Some((number(&bound)?, count)));
        let mut buckets: Vec<_> = bounds.collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        (!buckets.is_empty()).then_some(Histogram { buckets })
    }
}

impl Histogram {
    /// What happened since `earlier`. After a restart of the node all of it is new.
    pub(crate) fn since(&self, earlier: &Histogram) -> Histogram {
        let same_bounds = self.buckets.len() == earlier.buckets.len();
        let pairs = || self.buckets.iter().zip(&earlier.buckets);
        if !same_bounds || pairs().any(|((_, now), (_, then))| now < then) {
            return self.clone();
        }
        Histogram { buckets: pairs().map(|((bound, now), (_, then))| (*bound, now - then)).collect() }
    }

    /// At most this much were `part` of all, as far as the buckets tell. None: there were none.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let all = self.buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let enough = self.buckets.iter().find(|(_, count)| *count >= part * all)?;
        if enough.0.is_finite() {
            return Some(enough.0);
        }
        // All that is known is that it is more than the largest bound.
        self.buckets.iter().rev().map(|(bound, _)| *bound).find(|bound| bound.is_finite())
    }
}

/// Reads `name{label="value",...} 1.5`, with or without labels; a time or an exemplar may follow.
fn sample(line: &str) -> Option<(&str, Sample)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        (labels, rest) = read_labels(inside)?;
    }
    let value = number(rest.split_whitespace().next()?)?;
    (!name.is_empty()).then_some((name, Sample { labels, value }))
}

/// The labels up to the closing brace, and what follows it.
fn read_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        loop {
            match chars.next()? {
                (end, '"') => {
                    rest = &quoted[end + 1..];
                    break;
                }
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, c) => value.push(c),
            }
        }
        labels.insert(name.trim().to_owned(), value);
    }
}

fn number(text: &str) -> Option<f64> {
    // Rust reads inf, +Inf and NaN, too.
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a Something.\n# TYPE a counter\n\
        a_total{topic=\"x\",partition=\"0\"} 1\n\
        a_total{topic=\"x\",partition=\"1\"} 2.5\n\
        a_total{topic=\"quo\\\"te\\\\ \\n}\"} 4 1700000000\n\
        b 7\n\
        nonsense\n\
        c{broken=\"} 1\n\
        d NaN\n\
        h_bucket{le=\"+Inf\",shard=\"0\"} 10\n\
        h_bucket{le=\"0.1\",shard=\"0\"} 8 # {trace=\"1\"} 0.05\n\
        h_bucket{le=\"0.01\",shard=\"0\"} 4\n\
        h_bucket{le=\"0.01\",shard=\"1\"} 1\n\
        h_bucket{le=\"0.1\",shard=\"1\"} 1\n\
        h_bucket{le=\"+Inf\",shard=\"1\"} 1\n\
        # EOF\n";

    #[test]
    fn samples_are_summed_over_what_is_not_asked_for() {
        let read = Exposition::parse(TEXT);
        assert_eq!(read.total("a_total"), Some(7.5));
        assert_eq!(read.total("b"), Some(7.0));
        assert_eq!(read.total("absent"), None);
        let by = read.by("a_total", ["topic"]);
        assert_eq!(by.into_iter().collect::<Vec<_>>(), [(["quo\"te\\ \n}".into()], 4.0), (["x".into()], 3.5)]);
        assert_eq!(read.by("b", ["topic"])[&[String::new()]], 7.0);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let read = Exposition::parse(TEXT);
        for name in ["nonsense", "c", "d"] {
            assert_eq!(read.total(name), None, "{name}");
        }
    }

    #[test]
    fn a_histogram_is_put_in_order() {
        let histogram = Exposition::parse(TEXT).histogram("h").unwrap();
        assert_eq!(histogram.buckets, [(0.01, 5.0), (0.1, 9.0), (f64::INFINITY, 11.0)]);
        assert_eq!(histogram.quantile(0.4), Some(0.01));
        assert_eq!(histogram.quantile(0.8), Some(0.1));
        // It was more, but nobody knows how much.
        assert_eq!(histogram.quantile(0.99), Some(0.1));
        assert_eq!(Exposition::parse(TEXT).histogram("b"), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn a_histogram_since_another_one() {
        let of = |counts: [f64; 2]| Histogram { buckets: vec![(1.0, counts[0]), (f64::INFINITY, counts[1])] };
        assert_eq!(of([5.0, 9.0]).since(&of([2.0, 9.0])), of([3.0, 0.0]));
        assert_eq!(of([5.0, 9.0]).since(&of([6.0, 9.0])), of([5.0, 9.0]), "the node was restarted");
        assert_eq!(of([5.0, 9.0]).since(&Histogram::default()), of([5.0, 9.0]));
    }
}
