//! A steady load long after the first records were due to go.

use super::latency::latencies;
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::cost::cpu_of;
use crate::disk;
use crate::kafka::broker_under_test::BrokerUnderTest;
use crate::kafka::contest::Stage;
use crate::kafka::load::{self, Load};
use crate::kafka::metric::Metric;
use crate::kafka::payload::Shape;
use crate::kafka::schedule::Schedule;
use crate::kafka::variant::Variant;
use std::thread;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
const PARTITIONS: usize = 12;
const PRODUCERS: usize = 4;
const TOPIC: &str = "retention";
/// Bytes a second.
const RATE: f64 = 10.0 * MIB;
const MIB: f64 = (1 << 20) as f64;
const LOOK: Duration = Duration::from_secs(1);

/// How things stood at a time.
struct Look {
    records: u64,
    cpu: Duration,
    disk_mib: f64,
}

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    stage.alone()?;
    let (retained, window) = if options.quick {
        (Duration::from_secs(1), Duration::from_secs(2))
    } else {
        (Duration::from_secs(60), Duration::from_secs(600))
    };
    let retention = retained.as_millis().to_string();
    // Kafka removes whole segments only, and looks every five minutes unless told otherwise.
    let settings = [("retention.ms", retention.as_str()), ("segment.bytes", "16777216")];
    for variant in stage.turns(&Variant::DEFAULTS) {
        let prepared = BrokerUnderTest::prepare(
            options,
            variant.product(),
            "retention",
            "log.retention.check.interval.ms=10000\n",
        )?;
        let Some(mut broker) = prepared else { continue };
        broker.start()?;
        let (address, pid) = (broker.address()?, broker.pid()?);
        client_runtime()?.block_on(async {
            Client::connect(address).await?.create_topic_with(TOPIC, PARTITIONS, &settings).await
        })?;
        let plan = load::plan(SHAPE, PRODUCERS, PARTITIONS)?;
        let schedule = Schedule { rate: RATE / plan.templates[0].len() as f64, producers: PRODUCERS };
        let load = Load::open(address, TOPIC, &plan, schedule, retained, window);
        thread::sleep(retained);
        broker.reset_peak()?;
        let (begun, mut looks) = (Instant::now(), Vec::new());
        while begun.elapsed() < window && !load.has_ended() {
            looks.push(Look {
                records: load.shared.done.records(),
                cpu: cpu_of(pid)?,
                disk_mib: disk::bytes_below(broker.folder())? as f64 / MIB,
            });
            thread::sleep(LOOK.min(window / 10));
        }
        let (peak, finished) = (broker.peak_mib()?, load.finish()?);
        let tenth = (looks.len() / 10).max(1);
        let cost = |from: &Look, to: &Look| {
            (to.cpu - from.cpu).as_secs_f64() * 1e6 / (to.records - from.records).max(1) as f64
        };
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Err("no time to look".into()) };
        let mut figures = latencies(&finished)?;
        figures.extend([
            (Metric::RecordsASecond, (last.records - first.records) as f64 / window.as_secs_f64()),
            (Metric::RetainedMib, RATE * retained.as_secs_f64() / MIB),
            (Metric::DiskMaxMib, looks.iter().map(|look| look.disk_mib).fold(0.0, f64::max)),
            (Metric::DiskMib, last.disk_mib),
            (Metric::CpuSecondsAMillion, cost(first, last)),
            (Metric::FirstCpuSecondsAMillion, cost(first, &looks[tenth.min(looks.len() - 1)])),
            (Metric::LastCpuSecondsAMillion, cost(&looks[looks.len() - 1 - tenth.min(looks.len() - 1)], last)),
            (Metric::PeakMib, peak),
        ]);
        options.say(&format!("retention {}: {:.0} MiB of disk", variant.label(), last.disk_mib));
        broker.remove()?;
        stage.record("10 MiB/s, retained for a minute", variant, figures);
    }
    Ok(())
}
