//! What the node counts, as OpenMetrics.

use broker::Broker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

/// The registry.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new(broker: Broker) -> Self {
        let mut registry = Registry::with_prefix("mainstem");
        registry.register_collector(Box::new(Journals { broker }));
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
        let counters: [(&str, &str, Read); 6] = [
            ("journal_log_bytes", "Bytes written to log files", |s| s.counters.log_bytes.load(Relaxed)),
            ("journal_packed_bytes", "Bytes written to packed files", |s| s.counters.packed_bytes.load(Relaxed)),
            ("journal_checkpoint_bytes", "Bytes written as checkpoints", |s| s.counters.checkpoint_bytes.load(Relaxed)),
            ("journal_fsyncs", "Syncs of log files", |s| s.counters.fsyncs.load(Relaxed)),
            ("journal_storage_errors", "Writes and syncs that failed", |s| s.counters.storage_errors.load(Relaxed)),
            ("journal_cache_misses", "Reads of pieces that went to a file", |s| s.counters.cache_misses.load(Relaxed)),
        ];
        let gauges: [(&str, &str, Read); 4] = [
            ("journal_disk_bytes", "Bytes of files on disk", |s| s.disk_bytes),
            ("shard_applied_index", "Raft index applied", |s| s.applied),
            ("shard_leads", "1 when this node leads the shard", |s| u64::from(s.leads)),
            ("shard_streams", "Streams in the shard", |s| s.streams),
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
                ConstGauge::new(read(status) as i64).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
