//! A consumer that has much to read, none of it in memory.

use crate::Outcome;
use crate::broker::client_runtime;
use crate::cost::{Cost, cpu_of};
use crate::disk;
use crate::figure::size;
use crate::kafka::consumer::Consumer;
use crate::kafka::contest::{Stage, figures};
use crate::kafka::fill::fill;
use crate::kafka::load::Watched;
use crate::kafka::metric::Metric;
use crate::kafka::payload::Shape;
use crate::kafka::variant::Variant;
use std::fs;
use std::time::Instant;

const SHAPE: Shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
const PARTITIONS: usize = 12;

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    let bytes: u64 = if options.quick { 16 << 20 } else { 2 << 30 };
    let case = format!("{} in {PARTITIONS} partitions", size(bytes as usize));
    for variant in stage.turns(&Variant::DEFAULTS) {
        let contest = stage.contest()?;
        let topic = contest.topic(variant, PARTITIONS)?;
        let broker = contest.broker(variant)?;
        let filled = fill(broker.address()?, &topic, SHAPE, PARTITIONS, bytes)?;
        broker.stop()?;
        disk::forget(broker.folder())?;
        // More thorough where it is allowed; the files are forgotten without it.
        let _ = fs::write("/proc/sys/vm/drop_caches", "1");
        let restarted = broker.restart(&topic, PARTITIONS)?;
        contest.warm_up(options, variant)?;
        let broker = contest.broker(variant)?;
        let (address, pid) = (broker.address()?, broker.pid()?);
        broker.reset_peak()?;
        let (cpu, generator, start) = (cpu_of(pid)?, cpu_of(std::process::id())?, Instant::now());
        let (records, bytes) = client_runtime()?.block_on(async {
            let partitions = (0..PARTITIONS).collect();
            let mut consumer = Consumer::connect(address, &topic, &filled.plan, partitions).await?;
            consumer.read_all(&filled.sent, |_, _| true).await?;
            Outcome::Ok((consumer.ledger.records, consumer.ledger.bytes))
        })?;
        let wall = start.elapsed();
        let generator = (cpu_of(std::process::id())? - generator).as_secs_f64() / wall.as_secs_f64();
        let watched = Watched { cost: Cost { records, bytes, wall, cpu: cpu_of(pid)? - cpu }, generator };
        let mut all = figures(&watched, broker.peak_mib()?);
        all.insert(Metric::RestartMillis, restarted.as_secs_f64() * 1e3);
        contest.remove(variant, &topic)?;
        options.say(&format!("{case} {}: {:.0} MiB/s", variant.label(), watched.cost.mib_a_second()));
        stage.record(&case, variant, all);
    }
    Ok(())
}
