//! Reading what memory holds.

use crate::Outcome;
use crate::kafka::contest::{Stage, figures};
use crate::kafka::fill::fill;
use crate::kafka::load::Load;
use crate::kafka::payload::Shape;
use crate::kafka::variant::Variant;

/// What is read.
struct Case {
    name: &'static str,
    shape: Shape,
    partitions: usize,
    bytes: u64,
    readers: usize,
}

const LARGE: Shape = Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false };
const SMALL: Shape = Shape { record: 100, batch: 16 << 10, keyed: false, lz4: false };
const CASES: [Case; 5] = [
    Case { name: "12 × 1 KiB, memory", shape: LARGE, partitions: 12, bytes: 32 << 20, readers: 1 },
    Case { name: "12 × 1 KiB, page cache", shape: LARGE, partitions: 12, bytes: 512 << 20, readers: 1 },
    Case { name: "12 × 1 KiB, page cache, 4 consumers", shape: LARGE, partitions: 12, bytes: 512 << 20, readers: 4 },
    Case { name: "1 × 1 KiB, page cache", shape: LARGE, partitions: 1, bytes: 512 << 20, readers: 1 },
    Case { name: "1 × 100 B, page cache", shape: SMALL, partitions: 1, bytes: 512 << 20, readers: 1 },
];

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    for case in CASES {
        for variant in stage.turns(&Variant::DEFAULTS) {
            let contest = stage.contest()?;
            let topic = contest.topic(variant, case.partitions)?;
            let broker = contest.broker(variant)?;
            let (address, pid) = (broker.address()?, broker.pid()?);
            let bytes = if options.quick { case.bytes >> 5 } else { case.bytes };
            let filled = fill(address, &topic, case.shape, case.partitions, bytes)?;
            broker.reset_peak()?;
            let load = Load::read(address, &topic, &filled.plan, &filled.sent, case.readers);
            let watched = load.watch(pid, options.warm_up(), options.window() / 2)?;
            load.finish()?;
            let peak = contest.broker(variant)?.peak_mib()?;
            contest.remove(variant, &topic)?;
            options.say(&format!(
                "{} {}: {:.0} records/s",
                case.name,
                variant.label(),
                watched.cost.records_a_second()
            ));
            stage.record(case.name, variant, figures(&watched, peak));
        }
    }
    Ok(())
}
