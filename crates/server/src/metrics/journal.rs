//! Shards and their journals.

use super::family::{Family, Number};
use broker::ShardStatus;
use model::histogram::Histogram;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

const LABELS: &[&str] = &["shard"];

type Read = fn(&ShardStatus) -> Number;
type Durations = fn(&ShardStatus) -> &Histogram;

const NUMBERS: &[(Family, Read)] = &[
    (Family::counter("journal_log_bytes", LABELS, "Bytes written to log files"), |s| {
        s.counters.log_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_around_bytes", LABELS, "Of these, bytes written around the page cache"), |s| {
        s.counters.around_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_packed_bytes", LABELS, "Bytes written to packed files"), |s| {
        s.counters.packed_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_checkpoint_bytes", LABELS, "Bytes written as checkpoints"), |s| {
        s.counters.checkpoint_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_fsyncs", LABELS, "Syncs of log files"), |s| s.counters.fsyncs.load(Relaxed).into()),
    (Family::counter("journal_storage_errors", LABELS, "Writes and syncs that failed"), |s| {
        s.counters.storage_errors.load(Relaxed).into()
    }),
    (Family::counter("journal_cache_hits", LABELS, "Reads of pieces answered from memory"), |s| {
        s.counters.cache_hits.load(Relaxed).into()
    }),
    (
        Family::counter(
            "journal_cache_misses",
            LABELS,
            "Reads of pieces that went to a file. What goes from a file to a socket is not read and in neither",
        ),
        |s| s.counters.cache_misses.load(Relaxed).into(),
    ),
    (Family::counter("journal_packs", LABELS, "Times files were rewritten as packed files"), |s| {
        s.counters.packs.load(Relaxed).into()
    }),
    (Family::counter("journal_pack_read_bytes", LABELS, "Bytes read to be rewritten"), |s| {
        s.counters.pack_read_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_files_removed", LABELS, "Finished files given back"), |s| {
        s.counters.files_removed.load(Relaxed).into()
    }),
    (Family::counter("journal_reclaimed_bytes", LABELS, "Bytes of these, those included that were rewritten"), |s| {
        s.counters.reclaimed_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_damage_found", LABELS, "Damaged ranges found"), |s| {
        s.counters.damage_found.load(Relaxed).into()
    }),
    (Family::counter("journal_damage_mended", LABELS, "Damaged ranges that are damaged no more"), |s| {
        s.counters.damage_mended.load(Relaxed).into()
    }),
    (
        Family::counter(
            "journal_takeovers",
            LABELS,
            "Times compacted files were taken over from another replica, because damage could not be mended otherwise",
        ),
        |s| s.counters.takeovers.load(Relaxed).into(),
    ),
    (Family::counter("journal_scrubbed_bytes", LABELS, "Bytes read to look for damage"), |s| {
        s.counters.scrubbed_bytes.load(Relaxed).into()
    }),
    (Family::counter("journal_pulled_bytes", LABELS, "Bytes of snapshots copied from other nodes"), |s| {
        s.counters.pulled_bytes.load(Relaxed).into()
    }),
    (
        Family::counter(
            "journal_pulls_refused",
            LABELS,
            "Chunks and files of them that were damaged, and copied again",
        ),
        |s| (s.counters.chunks_refused.load(Relaxed) + s.counters.parts_refused.load(Relaxed)).into(),
    ),
    (
        Family::counter("shard_possible_losses", LABELS, "Times it went on although acknowledged records may be lost"),
        |s| s.counters.possible_losses.load(Relaxed).into(),
    ),
    (Family::gauge("journal_packing", LABELS, "Rewritings that are under way"), |s| {
        s.counters.packing.load(Relaxed).into()
    }),
    (Family::gauge("journal_disk_bytes", LABELS, "Bytes of files on disk"), |s| s.disk_bytes.into()),
    (Family::gauge("journal_live_bytes", LABELS, "Bytes alive in finished files"), |s| s.usage.live_bytes.into()),
    (Family::gauge("journal_file_bytes", LABELS, "Bytes of finished files"), |s| s.usage.file_bytes.into()),
    (Family::gauge("journal_log_needed_bytes", LABELS, "Of these, of files that the Raft log needs"), |s| {
        s.usage.needed_by_log.into()
    }),
    (Family::gauge("journal_bound_bytes", LABELS, "The most that finished files may take"), |s| s.usage.bound().into()),
    (Family::gauge("journal_damaged", LABELS, "Ranges known to be damaged, whose reads are refused"), |s| {
        s.damaged.into()
    }),
    (
        Family::gauge("shard_clock_offset_millis", LABELS, "How far most replicas' clocks are ahead of this node's"),
        |s| s.clock_offset_millis.into(),
    ),
    (Family::gauge("shard_clock_skewed", LABELS, "1 when that is more than a leader's clock may differ"), |s| {
        u64::from(s.clock_offset_millis.unsigned_abs() > model::limit::CLOCK_SKEW_MILLIS_MAX).into()
    }),
    (Family::gauge("shard_in_doubt", LABELS, "1 while acknowledged records may be missing here"), |s| {
        u64::from(s.in_doubt).into()
    }),
    (
        Family::gauge("shard_copying_bytes", LABELS, "Bytes of the snapshot that is being copied here, 0 when none is"),
        |s| s.copying.map_or(0, |copying| copying.of).into(),
    ),
    (Family::gauge("shard_copied_bytes", LABELS, "Of these, bytes that are here"), |s| {
        s.copying.map_or(0, |copying| copying.pulled).into()
    }),
    (Family::gauge("shard_applied_index", LABELS, "Raft index applied"), |s| s.applied.into()),
    (Family::gauge("shard_leads", LABELS, "1 when this node leads the shard"), |s| u64::from(s.leads).into()),
    (Family::gauge("shard_streams", LABELS, "Streams in the shard"), |s| s.streams.into()),
];

const HISTOGRAMS: &[(Family, Durations)] = &[
    (Family::histogram("journal_write_seconds", LABELS, "How long writes to log files took"), |s| {
        &s.counters.write_seconds
    }),
    (Family::histogram("journal_fsync_seconds", LABELS, "How long syncs of log files took"), |s| {
        &s.counters.fsync_seconds
    }),
    (
        Family::histogram(
            "journal_append_seconds",
            LABELS,
            "How long entries took from when they were handed to the journal until they were as durable as they had to be",
        ),
        |s| &s.counters.append_seconds,
    ),
];

#[cfg(test)]
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    NUMBERS.iter().map(|(family, _)| family).chain(HISTOGRAMS.iter().map(|(family, _)| family))
}

pub(super) fn encode(shards: &[ShardStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let named: Vec<(String, &ShardStatus)> = shards.iter().map(|status| (status.shard.0.to_string(), status)).collect();
    for (family, read) in NUMBERS {
        let mut samples = family.begin(encoder)?;
        for (shard, status) in &named {
            samples.number(&[shard], read(status))?;
        }
    }
    for (family, durations) in HISTOGRAMS {
        let mut samples = family.begin(encoder)?;
        for (shard, status) in &named {
            samples.histogram(&[shard], &durations(status).read())?;
        }
    }
    Ok(())
}
