//! What the node counts, as OpenMetrics.

use broker::Broker;
use gateway::Counters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The registry.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Of the broker, and of each listener by its name.
    pub(crate) fn new(broker: Broker, listeners: Vec<(&'static str, Arc<Counters>)>) -> Self {
        let mut registry = Registry::with_prefix("mainstem");
        registry.register_collector(Box::new(Journals { broker }));
        registry.register_collector(Box::new(Listeners { listeners }));
        Metrics { registry }
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What the journals know, read when asked for.
struct Journals {
    broker: Broker,
}

impl fmt::Debug for Journals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journals")
    }
}

impl Collector for Journals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&broker::ShardStatus) -> u64;
        type Gauge = fn(&broker::ShardStatus) -> i64;
        let counters: [(&str, &str, Read); 10] = [
            ("journal_log_bytes", "Bytes written to log files", |s| s.counters.log_bytes.load(Relaxed)),
            ("journal_packed_bytes", "Bytes written to packed files", |s| s.counters.packed_bytes.load(Relaxed)),
            ("journal_checkpoint_bytes", "Bytes written as checkpoints", |s| s.counters.checkpoint_bytes.load(Relaxed)),
            ("journal_fsyncs", "Syncs of log files", |s| s.counters.fsyncs.load(Relaxed)),
            ("journal_storage_errors", "Writes and syncs that failed", |s| s.counters.storage_errors.load(Relaxed)),
            ("journal_cache_misses", "Reads of pieces that went to a file", |s| s.counters.cache_misses.load(Relaxed)),
            ("journal_damage_found", "Damaged ranges found", |s| s.counters.damage_found.load(Relaxed)),
            ("journal_damage_mended", "Damaged ranges that are damaged no more", |s| {
                s.counters.damage_mended.load(Relaxed)
            }),
            ("journal_scrubbed_bytes", "Bytes read to look for damage", |s| s.counters.scrubbed_bytes.load(Relaxed)),
            ("shard_possible_losses", "Times it went on although acknowledged records may be lost", |s| {
                s.counters.possible_losses.load(Relaxed)
            }),
        ];
        let gauges: [(&str, &str, Gauge); 12] = [
            ("journal_disk_bytes", "Bytes of files on disk", |s| s.disk_bytes as i64),
            ("journal_live_bytes", "Bytes alive in finished files", |s| s.usage.live_bytes as i64),
            ("journal_file_bytes", "Bytes of finished files", |s| s.usage.file_bytes as i64),
            ("journal_log_needed_bytes", "Of these, of files that the Raft log needs", |s| {
                s.usage.needed_by_log as i64
            }),
            ("journal_bound_bytes", "The most that finished files may take", |s| s.usage.bound() as i64),
            ("shard_clock_offset_millis", "How far most replicas' clocks are ahead of this node's", |s| {
                s.clock_offset_millis
            }),
            ("shard_clock_skewed", "1 when that is more than a leader's clock may differ", |s| {
                i64::from(s.clock_offset_millis.unsigned_abs() > model::limit::CLOCK_SKEW_MILLIS_MAX)
            }),
            ("journal_damaged", "Ranges known to be damaged, whose reads are refused", |s| s.damaged as i64),
            ("shard_in_doubt", "1 while acknowledged records may be missing here", |s| i64::from(s.in_doubt)),
            ("shard_applied_index", "Raft index applied", |s| s.applied as i64),
            ("shard_leads", "1 when this node leads the shard", |s| i64::from(s.leads)),
            ("shard_streams", "Streams in the shard", |s| s.streams as i64),
        ];
        let shards: Vec<_> = self.broker.status();
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for status in &shards {
                let labels = [("shard", status.shard.0.to_string())];
                ConstCounter::new(read(status)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for status in &shards {
                let labels = [("shard", status.shard.0.to_string())];
                ConstGauge::new(read(status)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// What the listeners counted.
#[derive(Debug)]
struct Listeners {
    listeners: Vec<(&'static str, Arc<Counters>)>,
}

impl Collector for Listeners {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Counters) -> &AtomicU64;
        let counters: [(&str, &str, Read); 6] = [
            ("connections_accepted", "Connections served since the start", |c| &c.accepted),
            ("connections_refused", "Connections closed at once, all seats being taken", |c| &c.refused),
            ("accept_errors", "Connections the operating system would not accept", |c| &c.accept_errors),
            ("protocol_violations", "Connections closed because the client broke the protocol", |c| &c.violations),
            ("protocol_rejections", "Malformed parts of requests that were refused", |c| &c.rejections),
            ("connection_timeouts", "Connections closed because the client was idle or did not read", |c| &c.timeouts),
        ];
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (listener, counters) in &self.listeners {
                let metric = ConstCounter::new(read(counters).load(Relaxed));
                metric.encode(family.encode_family(&[("listener", *listener)])?)?;
            }
        }
        let mut family = encoder.encode_descriptor("connections", "Connections open", None, MetricType::Gauge)?;
        for (listener, counters) in &self.listeners {
            let metric = ConstGauge::new(counters.open.load(Relaxed) as i64);
            metric.encode(family.encode_family(&[("listener", *listener)])?)?;
        }
        Ok(())
    }
}
