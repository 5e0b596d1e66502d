//! The memory for requests and answers, as metrics.

use broker::Memory;
use broker::memory::Pool;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Each pool, read when asked for.
#[derive(Debug)]
pub(crate) struct MemoryPools(pub(crate) Memory);

impl Collector for MemoryPools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Pool) -> u64;
        let gauges: [(&str, &str, Read); 3] = [
            ("memory_used_bytes", "Bytes of requests and answers", Pool::used),
            ("memory_limit_bytes", "Bytes that they may take", Pool::limit),
            ("memory_waiting", "Connections and readers that wait for memory", |pool| pool.waiting() as u64),
        ];
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (pool, of) in self.0.pools() {
                ConstGauge::new(read(of) as i64).encode(family.encode_family(&[("pool", pool)])?)?;
            }
        }
        Ok(())
    }
}
