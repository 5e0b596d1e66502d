//! What is measured, by name.

mod catch_up;
mod consume;
mod ingest;
mod latency;
mod partitions;
mod perf_tools;
mod produce;
mod retention;
mod singles;
mod start;

use super::contest::Stage;
use super::metric::Metric;
use crate::Outcome;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A part of the comparison that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// As much as the brokers take, by the native generator
    Produce,
    /// Kafka's own producer and consumer performance tools
    PerfTools,
    /// Reading from memory and from the page cache
    Consume,
    /// 200 connections, one record to a request
    Singles,
    /// Latencies at a fixed rate
    Latency,
    /// 64 KiB batches against the disk's own bandwidth
    Ingest,
    /// 2 GiB read from files that no memory holds
    CatchUp,
    /// Empty start, idle memory, restart
    Start,
    /// 10,000 partitions; only when named
    Partitions,
    /// Ten minutes past retention; only when named
    Retention,
}

impl Scenario {
    /// All, in the order of the report.
    pub(crate) const ALL: [Scenario; 10] = [
        Scenario::Produce,
        Scenario::PerfTools,
        Scenario::Consume,
        Scenario::Singles,
        Scenario::Latency,
        Scenario::Ingest,
        Scenario::CatchUp,
        Scenario::Start,
        Scenario::Partitions,
        Scenario::Retention,
    ];

    /// Whether it is part of a run that names none.
    pub(crate) fn by_default(self) -> bool {
        !matches!(self, Scenario::Partitions | Scenario::Retention)
    }

    /// Measures it once.
    pub(crate) fn run(self, stage: &mut Stage<'_>) -> Outcome<()> {
        match self {
            Scenario::Produce => produce::run(stage),
            Scenario::PerfTools => perf_tools::run(stage),
            Scenario::Consume => consume::run(stage),
            Scenario::Singles => singles::run(stage),
            Scenario::Latency => latency::run(stage),
            Scenario::Ingest => ingest::run(stage),
            Scenario::CatchUp => catch_up::run(stage),
            Scenario::Start => start::run(stage),
            Scenario::Partitions => partitions::run(stage),
            Scenario::Retention => retention::run(stage),
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Scenario::Produce => "Producing",
            Scenario::PerfTools => "Kafka's own tools",
            Scenario::Consume => "Consuming",
            Scenario::Singles => "200 connections without batching",
            Scenario::Latency => "Latency",
            Scenario::Ingest => "Sequential ingest",
            Scenario::CatchUp => "Catching up from cold files",
            Scenario::Start => "Start and restart",
            Scenario::Partitions => "10,000 partitions",
            Scenario::Retention => "Past retention",
        }
    }

    /// What a reader must know to understand its figures.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Scenario::Produce => {
                "The native generator: 8 connections with 5 requests under way each, acks=all, a batch to a request, \
                 the batches of a connection going to the partitions in turn. Records of 1 KiB in batches of 64 KiB \
                 and records of 100 B in batches of 16 KiB, unless the case says otherwise. Keyed: 16 random bytes, \
                 distinct within a batch. lz4: the sizes are those before compression, by 2.7 (1 KiB) and 2.4 (100 B)."
            }
            Scenario::PerfTools => {
                "`kafka-producer-perf-test` and `kafka-consumer-perf-test`, a JVM each with the heap of their scripts, \
                 acks=all and everything else as it comes (batch.size=16384, linger.ms=5); the first tenth of what is \
                 produced is the tool's warm-up. What the tool says of itself, but for the CPU, which is the broker's \
                 over the whole of the tool's run. The tool and the broker share the machine. Latencies are the \
                 tool's: from send() to the acknowledgement while it produces all it can."
            }
            Scenario::Consume => {
                "The native consumer: a connection with one fetch under way, up to 1 MiB of a partition and 50 MiB in \
                 all, every batch compared with what was sent. Memory: 32 MiB read over and over. Page cache: 512 MiB, \
                 written just before."
            }
            Scenario::Singles => {
                "One record of 100 B to a request, one request under way on each of 200 connections, 12 partitions. \
                 Closed loop: a connection that waits does not send, so the latencies are those of a system at its \
                 limit and say less than those below."
            }
            Scenario::Latency => {
                "Open loop: batches are due at fixed times, whatever the broker does, and latencies are counted from \
                 when a batch was due. 12 partitions and connections, one consumer that long-polls all of them. The \
                 rate is half of what the slowest broker of the case takes, measured just before with the same batches. \
                 Each case is a rate; Kafka with flush.messages=1 gets a case with a rate of its own."
            }
            Scenario::Ingest => {
                "64 KiB batches of 1 KiB records, as in Producing, against direct writes of 1 MiB to a preallocated \
                 file (O_DIRECT, an fdatasync after 64 MiB) measured just before."
            }
            Scenario::CatchUp => {
                "2 GiB in 12 partitions, 64 KiB batches; the broker stopped, its files taken out of the page cache, \
                 the broker started again and warmed with a topic of its own; then one consumer reads all, once."
            }
            Scenario::Start => {
                "From the process' start to the answer to a first Metadata request, of a node with an empty folder \
                 (Kafka's is formatted before); after a clean stop, with a topic of 12 partitions and 64 MiB, until \
                 ListOffsets is answered for all of them. Memory is the proportional set size two seconds after the empty start. Nothing else runs."
            }
            Scenario::Partitions => {
                "10 topics of 1,000 partitions, one record of 1 KiB in each. Memory is the proportional set size, idle \
                 CPU that of ten seconds without requests. After kill -9 and a start: the first answer to Metadata, the \
                 first batch acknowledged with acks=all and the first record fetched; then all records are counted."
            }
            Scenario::Retention => {
                "10 MiB/s of 1 KiB records in 64 KiB batches to 12 partitions, retention.ms=60000, segment.bytes=16 MiB, \
                 for ten minutes after the first minute; Kafka looks for what is too old every 10 s \
                 (log.retention.check.interval.ms). Open loop with a consumer that follows, as in Latency. Disk is what \
                 the files of the data folder take, looked at every second."
            }
        }
    }

    /// Its tables.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        use Metric::*;
        match self {
            Scenario::Produce => &[RecordsASecond, CpuSecondsAMillion, PeakMib, GeneratorCores],
            Scenario::PerfTools => {
                &[RecordsASecond, CpuSecondsAMillion, Acknowledged50, Acknowledged99, Acknowledged999]
            }
            Scenario::Consume => &[RecordsASecond, MibASecond, CpuSecondsAMillion, PeakMib, GeneratorCores],
            Scenario::Singles => &[
                RecordsASecond,
                CpuSecondsAMillion,
                Acknowledged50,
                Acknowledged99,
                Acknowledged999,
                PeakMib,
                GeneratorCores,
            ],
            Scenario::Latency => &[
                Rate,
                Acknowledged50,
                Acknowledged99,
                Acknowledged999,
                AcknowledgedMax,
                Consumed50,
                Consumed99,
                Consumed999,
                ConsumedMax,
                CpuSecondsAMillion,
                Late99,
            ],
            Scenario::Ingest => {
                &[DirectMibASecond, MibASecond, DirectShare, CpuSecondsAMillion, PeakMib, GeneratorCores]
            }
            Scenario::CatchUp => &[RecordsASecond, MibASecond, CpuSecondsAMillion, PeakMib, RestartMillis],
            Scenario::Start => &[StartMillis, RestartMillis, MemoryMib],
            Scenario::Partitions => {
                &[CreateSeconds, MemoryMib, IdleCpuPercent, MetadataMillis, ProducedMillis, FetchedMillis]
            }
            Scenario::Retention => &[
                RecordsASecond,
                RetainedMib,
                DiskMaxMib,
                DiskMib,
                CpuSecondsAMillion,
                FirstCpuSecondsAMillion,
                LastCpuSecondsAMillion,
                Acknowledged50,
                Acknowledged99,
                Acknowledged999,
                AcknowledgedMax,
                Consumed99,
                PeakMib,
            ],
        }
    }
}
