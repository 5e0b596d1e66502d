//! How long a batch takes at a rate that every broker can bear.

use crate::Outcome;
use crate::kafka::contest::{Case, Contest, Stage};
use crate::kafka::histogram::Histogram;
use crate::kafka::load::{self, Finished, Load};
use crate::kafka::metric::Metric;
use crate::kafka::payload::Shape;
use crate::kafka::results::Figures;
use crate::kafka::schedule::Schedule;
use crate::kafka::variant::Variant;
use std::collections::BTreeMap;

const PARTITIONS: usize = 12;
const PRODUCERS: usize = 12;
/// Requests of a connection that are under way while the most is looked for.
const IN_FLIGHT: usize = 5;

/// Records a second at least: a broker that was measured while it stood still has a rate, too.
const RATE_MIN: f64 = 100.0;

/// Batches, by name.
const SHAPES: [(&str, Shape); 2] = [
    ("16 KiB batches of 1 KiB", Shape { record: 1024, batch: 16 << 10, keyed: false, lz4: false }),
    ("single records of 1 KiB", Shape { record: 1024, batch: 0, keyed: false, lz4: false }),
];

/// Who is compared at one rate.
const GROUPS: [(&str, &[Variant]); 2] = [
    ("", &[Variant::Mainstem, Variant::MainstemMemory, Variant::Kafka]),
    (", Kafka syncing", &[Variant::Mainstem, Variant::KafkaFlush]),
];

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let options = stage.options;
    for (name, shape) in SHAPES {
        let mut most = BTreeMap::new();
        for variant in stage.turns(&Variant::ALL) {
            let name = format!("{name}, the most");
            let case = Case { name, shape, partitions: PARTITIONS, producers: PRODUCERS, in_flight: IN_FLIGHT };
            let contest = stage.contest()?;
            let (watched, ..) = contest.saturate(options, variant, &case, options.warm_up(), options.window() / 4)?;
            most.insert(variant, watched.cost.records_a_second());
        }
        for (note, group) in GROUPS {
            let turns = stage.turns(group);
            let slowest = turns.iter().filter_map(|variant| most.get(variant)).copied().fold(f64::MAX, f64::min);
            // Alone, ours is at half of its own in the one group, and nobody is in the other.
            if turns.len() < 2 && !note.is_empty() {
                continue;
            }
            let case = format!("{name}{note}");
            for variant in turns {
                let figures = measure(stage, variant, shape, (slowest / 2.0).max(RATE_MIN))?;
                options.say(&format!("{case} {}: p99 {:.2} ms", variant.label(), figures[&Metric::Acknowledged99]));
                stage.record(&case, variant, figures);
            }
        }
    }
    Ok(())
}

/// At this rate, with everything read back as it comes.
fn measure(stage: &mut Stage<'_>, variant: Variant, shape: Shape, records_a_second: f64) -> Outcome<Figures> {
    let (options, contest) = (stage.options, stage.contest()?);
    let topic = contest.topic(variant, PARTITIONS)?;
    let plan = load::plan(shape, PRODUCERS, PARTITIONS)?;
    let schedule = Schedule { rate: records_a_second / plan.templates[0].records as f64, producers: PRODUCERS };
    let (watched, finished) = {
        let broker = Contest::broker(contest, variant)?;
        let (address, pid) = (broker.address()?, broker.pid()?);
        let load = Load::open(address, &topic, &plan, schedule, options.warm_up(), options.window());
        (load.watch(pid, options.warm_up(), options.window())?, load.finish()?)
    };
    contest.remove(variant, &topic)?;
    let mut figures = latencies(&finished)?;
    figures.insert(Metric::Rate, records_a_second);
    figures.insert(Metric::CpuSecondsAMillion, watched.cost.cpu_micros());
    Ok(figures)
}

/// What an open load came to.
pub(super) fn latencies(finished: &Finished) -> Outcome<Figures> {
    if finished.acknowledged.count() == 0 || finished.consumed.count() == 0 {
        return Err("void: nothing was due".into());
    }
    let mut figures = acknowledged(&finished.acknowledged);
    figures.extend([
        (Metric::Consumed50, millis(finished.consumed.quantile(0.5))),
        (Metric::Consumed99, millis(finished.consumed.quantile(0.99))),
        (Metric::Consumed999, millis(finished.consumed.quantile(0.999))),
        (Metric::ConsumedMax, millis(finished.consumed.max())),
        (Metric::Late99, millis(finished.late.quantile(0.99))),
    ]);
    Ok(figures)
}

/// Times until acknowledgements.
pub(super) fn acknowledged(histogram: &Histogram) -> Figures {
    Figures::from([
        (Metric::Acknowledged50, millis(histogram.quantile(0.5))),
        (Metric::Acknowledged99, millis(histogram.quantile(0.99))),
        (Metric::Acknowledged999, millis(histogram.quantile(0.999))),
        (Metric::AcknowledgedMax, millis(histogram.max())),
    ])
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
