//! `bench cluster`: three nodes of Mainstem beside three of Apache Kafka, on one machine and disk, taking turns.
//!
//! Every topic has three replicas. Mainstem answers when two of them have it on stable storage, Kafka when two
//! of them have it in memory. The load is spread over the nodes: each leads as many partitions, each of which is
//! a topic of its own, so that the native generator of `bench kafka` can be used for each node by itself.

mod fourth;
mod outage;
mod three;

use crate::apache_kafka::Jars;
use crate::cost::median;
use crate::figure::number;
use crate::kafka::aims::{Bound, ratio};
use crate::kafka::consumer;
use crate::kafka::ledger::Plan;
use crate::kafka::load::{self, Finished, Load};
use crate::kafka::payload::Shape;
use crate::kafka::schedule::Schedule;
use crate::{Outcome, broker, conditions, disk};
use clap::Args;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use three::{Product, Three};

/// What is measured with which load.
const SHAPES: [(&str, Shape, usize); 2] = [
    ("1 KiB in 64 KiB batches", Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false }, 4),
    ("1 KiB in 16 KiB batches", Shape { record: 1024, batch: 16 << 10, keyed: false, lz4: false }, 4),
];
/// Requests of a connection that are under way.
const IN_FLIGHT: usize = 5;
/// What each cluster takes before anything is measured, in records a second and for how long: a Java virtual machine
/// that has just started takes half of what it takes when it has compiled its hot code.
const WARMING_RATE: f64 = 20_000.0;
const WARMING: Duration = Duration::from_secs(45);
/// What three nodes keep when a fourth one comes.
const HELD_BYTES: u64 = 2 << 30;
const QUICK_BYTES: u64 = 16 << 20;
/// A measurement is made so often, if each but the last is void.
const TRIES: usize = 3;

/// How and what to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Seconds of a measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds: u64,
    /// Turns that each case gets; medians are reported
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    repetitions: usize,
    /// Seconds in all: shows that everything runs, its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Where the brokers write; several gigabytes. Emptied afterwards
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/cluster")]
    folder: PathBuf,
    /// Mainstem. Unless given: MAINSTEM_BIN, then `mainstem` beside this program
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Apache Kafka's jars. Unless given: MAINSTEM_KAFKA_CP; without either, Mainstem runs alone
    #[arg(long, value_name = "CLASSPATH")]
    kafka_classpath: Option<String>,
}

/// What one product came to in one repetition.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// By load: records a second and microseconds of CPU for each.
    most: Vec<(f64, f64)>,
    /// By load: milliseconds at the 99th percentile, at half of what the slower one takes.
    p99: Vec<f64>,
    memory_mib: f64,
    /// Seconds until a fourth node has its share.
    fourth: f64,
    /// Milliseconds without an acknowledgement when a leader is killed.
    outage: f64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let jars = Jars::find(options.kafka_classpath.as_deref());
    let products: Vec<Product> = match &jars {
        Some(jars) => {
            vec![Product::Mainstem(broker::program(options.broker.as_deref())?), Product::Kafka(jars.clone())]
        }
        None => {
            println!("Mainstem runs alone: neither --kafka-classpath nor MAINSTEM_KAFKA_CP names Apache Kafka's jars.");
            vec![Product::Mainstem(broker::program(options.broker.as_deref())?)]
        }
    };
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); products.len()];
    let load_average = conditions::load_average()?;
    for repetition in 0..if options.quick { 1 } else { options.repetitions.max(1) } {
        let mut clusters = Vec::new();
        for product in &products {
            let folder = disk::fresh(&options.folder, product.label())?;
            clusters.push(Three::start(product, &folder)?);
        }
        for cluster in &mut clusters {
            let warming = if options.quick { warm_up(options) } else { WARMING };
            let (_, shape, _) = SHAPES[SHAPES.len() - 1];
            until_valid(|| pace(cluster, shape, WARMING_RATE, Duration::ZERO, warming))?;
        }
        let mut figures = vec![Figures::default(); products.len()];
        for (name, shape, topics) in SHAPES {
            let mut order: Vec<usize> = (0..products.len()).collect();
            if repetition % 2 == 1 {
                order.reverse();
            }
            for nth in &order {
                let most = until_valid(|| saturate(options, &mut clusters[*nth], shape, topics))?;
                eprintln!("{} {name}: {:.0} records/s", products[*nth].label(), most.0);
                figures[*nth].most.push(most);
            }
            let slowest = figures.iter().filter_map(|of| of.most.last()).map(|most| most.0).fold(f64::MAX, f64::min);
            for nth in &order {
                let p99 = until_valid(|| {
                    let (cluster, rate) = (&mut clusters[*nth], slowest / 2.0);
                    pace(cluster, shape, rate, warm_up(options), window(options))
                })?;
                eprintln!("{} {name}: p99 {p99:.2} ms", products[*nth].label());
                figures[*nth].p99.push(p99);
            }
        }
        for (nth, cluster) in clusters.iter_mut().enumerate() {
            figures[nth].memory_mib = cluster.memory_mib()?;
            figures[nth].outage = outage::measure(cluster)?;
            eprintln!("{} without service: {:.0} ms", products[nth].label(), figures[nth].outage);
        }
        for (nth, figures) in figures.into_iter().enumerate() {
            all[nth].push(figures);
        }
        clusters.into_iter().try_for_each(Three::end)?;
        for (nth, product) in products.iter().enumerate() {
            let mut cluster = Three::start(product, &disk::fresh(&options.folder, product.label())?)?;
            let took = fourth::measure(&mut cluster, if options.quick { QUICK_BYTES } else { HELD_BYTES })?;
            eprintln!("{} a fourth node: {took:.1} s", product.label());
            all[nth].last_mut().ok_or("nothing was measured")?.fourth = took;
            cluster.end()?;
        }
    }
    disk::remove(&options.folder)?;
    print(&products, &all, load_average);
    Ok(())
}

/// The generator does not follow a leader who changes, as one may on a machine that others use, too: such a
/// measurement is void, and made anew.
fn until_valid<T>(mut measure: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    for _ in 1..TRIES {
        match measure() {
            Err(error) => eprintln!("{error}; once more"),
            valid => return valid,
        }
    }
    measure()
}

/// What each load came to, when all have ended.
fn finish(loads: Vec<Load>) -> Outcome<Vec<Finished>> {
    let finished: Vec<Outcome<Finished>> = loads.into_iter().map(Load::finish).collect();
    finished.into_iter().collect()
}

fn warm_up(options: &Options) -> Duration {
    Duration::from_millis(if options.quick { 100 } else { 3_000 })
}

fn window(options: &Options) -> Duration {
    if options.quick { Duration::from_millis(500) } else { Duration::from_secs(options.seconds.max(1)) }
}

/// All that the nodes take together: records a second, and microseconds of CPU of all nodes for each.
fn saturate(options: &Options, cluster: &mut Three, shape: Shape, topics: usize) -> Outcome<(f64, f64)> {
    let targets = cluster.topics(topics)?;
    let plan: Plan = load::plan(shape, 1, 1)?;
    let loads: Vec<Load> =
        targets.iter().map(|(address, topic)| Load::closed(*address, topic, &plan, IN_FLIGHT)).collect();
    let records = || loads.iter().map(|load| load.shared.done.records()).sum::<u64>();
    thread::sleep(warm_up(options));
    let (before, cpu, began) = (records(), cluster.cpu()?, Instant::now());
    thread::sleep(window(options));
    let (done, cpu, took) = (records() - before, cluster.cpu()? - cpu, began.elapsed());
    for (finished, (address, topic)) in finish(loads)?.into_iter().zip(&targets) {
        let verified = consumer::verify(*address, topic, &plan, &finished.sent);
        broker::client_runtime()?.block_on(verified)?;
    }
    cluster.remove(&targets)?;
    Ok((done as f64 / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / done.max(1) as f64))
}

/// Milliseconds until 99 of 100 batches were acknowledged, at this rate of records over all nodes.
fn pace(cluster: &mut Three, shape: Shape, records_a_second: f64, warm_up: Duration, window: Duration) -> Outcome<f64> {
    let targets = cluster.topics(1)?;
    let plan: Plan = load::plan(shape, 1, 1)?;
    let rate = records_a_second / plan.templates[0].records as f64 / targets.len() as f64;
    let schedule = Schedule { rate, producers: 1 };
    let loads: Vec<Load> =
        targets.iter().map(|(address, topic)| Load::open(*address, topic, &plan, schedule, warm_up, window)).collect();
    let mut acknowledged = crate::kafka::histogram::Histogram::default();
    for finished in finish(loads)? {
        acknowledged.add(&finished.acknowledged);
    }
    cluster.remove(&targets)?;
    Ok(acknowledged.quantile(0.99) as f64 / 1e6)
}

fn print(products: &[Product], all: &[Vec<Figures>], load_average: f64) {
    println!("Load average before: {load_average:.1}; {} repetitions.\n", all[0].len());
    let heads: Vec<&str> = products.iter().map(Product::label).collect();
    let ratios = if heads.len() == 2 { " ratio | worst | best | aim | |" } else { "" };
    let columns = 1 + heads.len() + ratios.matches('|').count();
    println!("| | {} |{ratios}\n|{}", heads.join(" | "), "---|".repeat(columns));
    for (nth, (name, ..)) in SHAPES.iter().enumerate() {
        row(&format!("{name}: records/s"), all, Some(Bound::AtLeast(1.5)), |of| of.most[nth].0);
        let cpu = format!("{name}: CPU of all nodes, s per million records");
        row(&cpu, all, Some(Bound::AtMost(1.0 / 3.0)), |of| of.most[nth].1);
        let p99 = format!("{name}: acknowledged, p99 at half of the slower one's rate, ms");
        row(&p99, all, Some(Bound::AtMost(0.5)), |of| of.p99[nth]);
    }
    row("memory of all nodes, MiB", all, None, |of| of.memory_mib);
    let outage = "without service after kill -9 of a leader, ms";
    row(outage, all, Some(Bound::AtMost(1.0 / 3.0)), |of| of.outage);
    row("until a fourth node has its share of 2 GiB, s", all, None, |of| of.fourth);
}

/// A figure of each product: medians; and with two of them, of the ratios within a repetition the median, the worst
/// and the best, and whether the median is what we aim at.
fn row(name: &str, all: &[Vec<Figures>], aim: Option<Bound>, of: impl Fn(&Figures) -> f64) {
    let mut cells = vec![name.to_owned()];
    cells.extend(all.iter().map(|runs| number(median(runs.iter().map(&of)))));
    if let [ours, theirs] = all {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
        ratios.sort_by(f64::total_cmp);
        if !matches!(aim, Some(Bound::AtLeast(_))) {
            ratios.reverse();
        }
        let middle = median(ratios.iter().copied());
        cells.extend([middle, ratios[0], ratios[ratios.len() - 1]].map(ratio));
        cells.extend(match aim {
            Some(aim) => [aim.to_string(), if aim.holds(middle) { "met" } else { "missed" }.to_owned()],
            None => [String::new(), String::new()],
        });
    }
    println!("| {} |", cells.join(" | "));
}
