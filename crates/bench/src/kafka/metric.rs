//! What is measured, how tables call it, and which way is better.

use serde::{Deserialize, Serialize};

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    RecordsASecond,
    MibASecond,
    CpuSecondsAMillion,
    PeakMib,
    GeneratorCores,
    Acknowledged50,
    Acknowledged99,
    Acknowledged999,
    AcknowledgedMax,
    Consumed50,
    Consumed99,
    Consumed999,
    ConsumedMax,
    Late99,
    Rate,
    DirectMibASecond,
    DirectShare,
    StartMillis,
    RestartMillis,
    MemoryMib,
    CreateSeconds,
    IdleCpuPercent,
    MetadataMillis,
    ProducedMillis,
    FetchedMillis,
    DiskMib,
    DiskMaxMib,
    RetainedMib,
    FirstCpuSecondsAMillion,
    LastCpuSecondsAMillion,
}

impl Metric {
    /// With its unit.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Metric::RecordsASecond => "records/s",
            Metric::MibASecond => "MiB/s",
            Metric::CpuSecondsAMillion => "broker CPU, seconds per million records",
            Metric::PeakMib => "peak memory, MiB",
            Metric::GeneratorCores => "cores that the generator was busy on",
            Metric::Acknowledged50 => "acknowledged, p50, ms",
            Metric::Acknowledged99 => "acknowledged, p99, ms",
            Metric::Acknowledged999 => "acknowledged, p99.9, ms",
            Metric::AcknowledgedMax => "acknowledged, longest, ms",
            Metric::Consumed50 => "end to end, p50, ms",
            Metric::Consumed99 => "end to end, p99, ms",
            Metric::Consumed999 => "end to end, p99.9, ms",
            Metric::ConsumedMax => "end to end, longest, ms",
            Metric::Late99 => "sent later than due by, p99, ms",
            Metric::Rate => "rate, records/s",
            Metric::DirectMibASecond => "direct writes to the disk, MiB/s",
            Metric::DirectShare => "share of direct writes",
            Metric::StartMillis => "start of an empty node to its first answer, ms",
            Metric::RestartMillis => "restart until every partition answers, ms",
            Metric::MemoryMib => "memory, MiB",
            Metric::CreateSeconds => "all made and led, s",
            Metric::IdleCpuPercent => "idle CPU, % of a core",
            Metric::MetadataMillis => "kill -9, start, first Metadata, ms",
            Metric::ProducedMillis => "kill -9, start, first batch acknowledged, ms",
            Metric::FetchedMillis => "kill -9, start, first record fetched, ms",
            Metric::DiskMib => "disk at the end, MiB",
            Metric::DiskMaxMib => "most disk, MiB",
            Metric::RetainedMib => "what retention lets stay, MiB",
            Metric::FirstCpuSecondsAMillion => "CPU, first tenth, seconds per million records",
            Metric::LastCpuSecondsAMillion => "CPU, last tenth, seconds per million records",
        }
    }

    /// Whether it is the brokers' merit, so that a ratio says something.
    pub(crate) fn compares(self) -> bool {
        let conditions =
            [Metric::GeneratorCores, Metric::Late99, Metric::Rate, Metric::DirectMibASecond, Metric::RetainedMib];
        !conditions.contains(&self)
    }
}
