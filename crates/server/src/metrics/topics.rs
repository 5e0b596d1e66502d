//! Topics: what goes in and out, and how large they are.

use super::NOBODY;
use super::family::Family;
use broker::traffic::TopicCounters;
use broker::usage::TopicUsages;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const LABELS: &[&str] = &["topic"];

type Read = fn(&TopicCounters) -> &AtomicU64;

const COUNTERS: &[(Family, Read)] = &[
    (Family::counter("topic_records_in", LABELS, "Records appended"), |c| &c.records_in),
    (
        Family::counter(
            "topic_records_out",
            LABELS,
            "Records read by clients. They are read in whole batches, so what stands in a batch before the record \
             asked for counts, too; and of compacted topics what compaction removed",
        ),
        |c| &c.records_out,
    ),
    (Family::counter("topic_bytes_in", LABELS, "Bytes of batches appended, as they are stored"), |c| &c.bytes_in),
    (Family::counter("topic_bytes_out", LABELS, "Bytes of batches read by clients"), |c| &c.bytes_out),
];

const BYTES: Family = Family::gauge(
    "topic_bytes",
    LABELS,
    "About how many bytes its records take: the share of all bytes ever appended that the records still there are \
     of all records. Exact until the oldest are removed; what compaction removed counts. Not told of topics that \
     are not shown by name",
);
const PARTITIONS: Family = Family::gauge("topic_partitions", LABELS, "Partitions");
const COUNT: Family = Family::gauge("topics", &[], "Topics");
const FOLDED: Family =
    Family::gauge("topics_folded", &[], "Of these, those not shown by name: their counters are summed up");

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    COUNTERS.iter().map(|(family, _)| family).chain([&BYTES, &PARTITIONS, &COUNT, &FOLDED])
}

pub(super) fn encode(topics: &TopicUsages, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (family, read) in COUNTERS {
        let mut samples = family.begin(encoder)?;
        for topic in &topics.shown {
            samples.number(&[&topic.name], read(&topic.counters).load(Relaxed))?;
        }
        if let Some(others) = &topics.others {
            samples.number(&[NOBODY], read(others).load(Relaxed))?;
        }
    }
    let mut samples = BYTES.begin(encoder)?;
    for topic in &topics.shown {
        if let Some(bytes) = topic.bytes {
            samples.number(&[&topic.name], bytes)?;
        }
    }
    let mut samples = PARTITIONS.begin(encoder)?;
    for topic in &topics.shown {
        samples.number(&[&topic.name], topic.partitions)?;
    }
    COUNT.begin(encoder)?.number(&[], topics.count)?;
    FOLDED.begin(encoder)?.number(&[], topics.folded)
}
