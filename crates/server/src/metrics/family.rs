//! What a metric is, as data: the exposition and docs/metrics.md follow from it.

use model::histogram::{BOUNDS_MICROS, Reading};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelValue, LabelValueEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt::{self, Write};

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of durations, in buckets.
    Histogram,
}

/// A metric, by all of its label values.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its name, with its unit and without what the exposition adds to it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    /// What it is: one sentence without a full stop, or several of which the last has none.
    pub(crate) help: &'static str,
}

impl Family {
    pub(crate) const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Family { name, kind: Kind::Counter, labels, help }
    }

    pub(crate) const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Family { name, kind: Kind::Gauge, labels, help }
    }

    pub(crate) const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Family { name, kind: Kind::Histogram, labels, help }
    }

    /// The name without its unit, and the unit if OpenMetrics knows it.
    fn parts(&self) -> (&'static str, Option<&'static Unit>) {
        let units = [("_seconds", &Unit::Seconds), ("_bytes", &Unit::Bytes)];
        let found = units.into_iter().find_map(|(suffix, unit)| Some((self.name.strip_suffix(suffix)?, Some(unit))));
        found.unwrap_or((self.name, None))
    }

    /// Begins to show it.
    pub(crate) fn begin<'a>(&self, encoder: &'a mut DescriptorEncoder<'_>) -> Result<Samples<'a>, fmt::Error> {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let (name, unit) = self.parts();
        Ok(Samples {
            labels: self.labels,
            kind: self.kind,
            encoder: encoder.encode_descriptor(name, self.help, unit, kind)?,
        })
    }
}

/// Shows the samples of a metric.
pub(crate) struct Samples<'a> {
    labels: &'static [&'static str],
    kind: Kind,
    encoder: MetricEncoder<'a>,
}

/// The value of a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        // OpenMetrics takes any number for a real one, which this is far from.
        Number::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Number::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Number::from(number as u64)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Number::Real(number)
    }
}

impl Samples<'_> {
    /// One sample, with the values of its labels in order.
    pub(crate) fn number(&mut self, labels: &[&str], number: impl Into<Number>) -> fmt::Result {
        let kind = self.kind;
        if labels.is_empty() {
            return encode(kind, number.into(), &mut self.encoder);
        }
        let labels = self.labelled(labels);
        encode(kind, number.into(), &mut self.encoder.encode_family(&labels)?)
    }

    /// One histogram, with the values of its labels in order.
    pub(crate) fn histogram(&mut self, labels: &[&str], reading: &Reading) -> fmt::Result {
        debug_assert_eq!(self.kind, Kind::Histogram);
        let labels = self.labelled(labels);
        let mut encoder = self.encoder.encode_family(&labels)?;
        // Divided, not multiplied: 0.0005 is to be written as that.
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(reading.counts).collect();
        encoder.encode_histogram::<NoLabelSet>(reading.sum.as_secs_f64(), reading.count(), &buckets, None)
    }

    fn labelled<'l>(&self, values: &[&'l str]) -> Vec<(&'static str, Value<'l>)> {
        debug_assert_eq!(self.labels.len(), values.len());
        self.labels.iter().copied().zip(values.iter().map(|value| Value(value))).collect()
    }
}

fn encode(kind: Kind, number: Number, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (kind, number) {
        (Kind::Counter, Number::Whole(number)) => {
            encoder.encode_counter::<NoLabelSet, u64, f64>(&u64::try_from(number).unwrap_or(0), None)
        }
        (Kind::Counter, Number::Real(number)) => encoder.encode_counter::<NoLabelSet, f64, f64>(&number, None),
        (_, Number::Whole(number)) => encoder.encode_gauge(&number),
        (_, Number::Real(number)) => encoder.encode_gauge(&number),
    }
}

/// A label's value, which may be any text.
#[derive(Clone, Copy, Debug)]
struct Value<'a>(&'a str);

impl EncodeLabelValue for Value<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, special) = rest.split_at(at);
            encoder.write_str(plain)?;
            encoder.write_str(match special.as_bytes()[0] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            })?;
            rest = &special[1..];
        }
        encoder.write_str(rest)
    }
}
