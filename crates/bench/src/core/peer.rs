//! Apache Kafka under the same load, in the same run: what our figures are ratios to.

use super::journal::Case;
use super::load::Load;
use super::{Mode, Options, report};
use crate::Outcome;
use crate::apache_kafka::Jars;
use crate::broker::Broker;
use crate::cost::{Cost, median};
use crate::disk;
use crate::figure;
use crate::piece::SIZES;
use std::fs;
use std::time::Duration;

/// A JVM compiles what it runs often; its figures before that mean nothing.
const WARM_UP: Duration = Duration::from_secs(12);

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Beside Apache Kafka",
        "The same client, batches, acks and disk, one broker after the other in each turn. Kafka is one node in KRaft \
         mode with a heap of 1 GiB, otherwise as it comes: for memory it never syncs, for fsync it is told to sync \
         every batch (flush.messages=1). It warms up for 12 s. Ratios are ours to Kafka's: of records per second more \
         is better, of CPU less.",
    );
    let Some(jars) = Jars::find(options.kafka_classpath.as_deref()) else {
        report::note("Skipped: neither --kafka-classpath nor MAINSTEM_KAFKA_CP names Apache Kafka's jars.");
        return Ok(());
    };
    if !options.has_broker()? {
        return Ok(());
    }
    report::head(&[
        "piece",
        "mode",
        "writers",
        "ours, records/s",
        "Kafka, records/s",
        "ratio",
        "ours, CPU µs/record",
        "Kafka, CPU µs/record",
        "ratio",
    ]);
    let cases = [(1, Mode::Memory, 64), (2, Mode::Memory, 8), (1, Mode::Fsync, 64), (2, Mode::Fsync, 8)];
    let mut starts = Vec::new();
    for (size, mode, writers) in cases.into_iter().take(if options.quick { 1 } else { cases.len() }) {
        let case = Case { size: SIZES[size], mode, writers };
        let mut pairs = Vec::new();
        for _ in 0..options.repetitions() {
            let folder = disk::fresh(&options.folder, "ours")?;
            let ours = measure(options, &case, options.start_broker(&folder)?, options.warm_up())?;
            let folder = disk::fresh(&options.folder, "kafka")?;
            let flush = if mode == Mode::Fsync { "log.flush.interval.messages=1\n" } else { "" };
            let kafka = jars.format(&folder, flush)?.start()?;
            starts.push((kafka.ready_after, kafka.memory()?));
            let warm_up = if options.quick { options.warm_up() } else { WARM_UP };
            pairs.push((ours, measure(options, &case, kafka, warm_up)?));
            fs::remove_dir_all(folder)?;
        }
        let of = |figure: fn(&(Cost, Cost)) -> f64| median(pairs.iter().map(figure));
        report::row(&[
            figure::size(case.size.bytes),
            mode.name().into(),
            writers.to_string(),
            figure::number(of(|pair| pair.0.records_a_second())),
            figure::number(of(|pair| pair.1.records_a_second())),
            figure::number(of(|pair| pair.0.records_a_second() / pair.1.records_a_second())),
            figure::number(of(|pair| pair.0.cpu_micros())),
            figure::number(of(|pair| pair.1.cpu_micros())),
            format!("{:.3}", of(|pair| pair.0.cpu_micros() / pair.1.cpu_micros())),
        ]);
    }
    let (start, memory) = (starts.iter().map(|start| start.0.as_secs_f64()), starts.iter().map(|start| start.1 as f64));
    report::note(&format!(
        "Kafka answered for the first time {:.1} s after its start on an empty folder, with {:.0} MiB of memory.",
        median(start),
        median(memory) / (1 << 20) as f64
    ));
    Ok(())
}

fn measure(options: &Options, case: &Case, broker: Broker, warm_up: Duration) -> Outcome<Cost> {
    let load = Load::start(broker.address, case)?;
    let cost = load.watch(broker.pid(), warm_up, options.window())?;
    load.stop()?;
    broker.kill()?;
    Ok(cost)
}
