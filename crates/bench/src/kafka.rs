//! `bench kafka`: Mainstem beside Apache Kafka.
//!
//! Both run on the same machine and disk and take turns within each repetition, so that a slow minute
//! meets both. Figures are medians over the repetitions, ratios are taken within one. A run that loses,
//! doubles or changes a record is void and ends the benchmark. What is measured is kept as JSON; the
//! report and its picture are written from that. Start with [`scenario`].

pub(crate) mod aims;
mod broker_under_test;
pub(crate) mod consumer;
mod contest;
pub(crate) mod fill;
pub(crate) mod histogram;
pub(crate) mod ledger;
pub(crate) mod load;
mod metric;
pub(crate) mod payload;
mod perf_tool;
mod plot;
mod producer;
mod report;
mod results;
mod scenario;
pub(crate) mod schedule;
mod variant;

use crate::apache_kafka::Jars;
use crate::conditions::{self, Machine};
use crate::{Outcome, broker, disk};
use clap::Args;
use contest::{Contest, Stage};
use results::{Results, ScenarioRun, Versions};
use scenario::Scenario;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use variant::{Product, Variant};

/// How and what to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only this, and others named the same way; otherwise all but `partitions` and `retention`
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// Seconds in all, small sizes: shows that everything runs, its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Seconds of a measurement; where there are many cases, half of it
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds: u64,
    /// Turns that each case gets; medians are reported
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    repetitions: usize,
    /// Where kafka.json, kafka.md and kafka.svg go. What is measured takes the place of what they said of it
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/kafka-report")]
    out: PathBuf,
    /// Measures nothing: writes the report from this file of JSON
    #[arg(long, value_name = "FILE")]
    report_from: Option<PathBuf>,
    /// Where the brokers write; several gigabytes unless quick. Emptied afterwards
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/kafka")]
    folder: PathBuf,
    /// Mainstem. Unless given: MAINSTEM_BIN, then `mainstem` beside this program
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Apache Kafka's jars. Unless given: MAINSTEM_KAFKA_CP; without either, Mainstem runs alone
    #[arg(long, value_name = "CLASSPATH")]
    kafka_classpath: Option<String>,
}

impl Options {
    fn repetitions(&self) -> usize {
        if self.quick { 1 } else { self.repetitions.max(1) }
    }

    fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.quick { 50 } else { 500 })
    }

    fn window(&self) -> Duration {
        if self.quick { Duration::from_millis(400) } else { Duration::from_secs(self.seconds.max(1)) }
    }

    /// How long a broker works before anything counts. Machine code has nothing to compile.
    fn jit(&self, variant: Variant) -> Duration {
        match (self.quick, variant.product()) {
            (true, _) => Duration::from_millis(300),
            (false, Product::Mainstem) => Duration::from_secs(3),
            (false, Product::Kafka) => Duration::from_secs(12),
        }
    }

    fn jars(&self) -> Option<Jars> {
        Jars::find(self.kafka_classpath.as_deref())
    }

    fn wanted(&self) -> Vec<Scenario> {
        let wanted = |scenario: &Scenario| {
            if self.only.is_empty() { self.quick || scenario.by_default() } else { self.only.contains(scenario) }
        };
        Scenario::ALL.into_iter().filter(wanted).collect()
    }

    fn versions(&self) -> Outcome<Versions> {
        let mainstem = Command::new(broker::program(self.broker.as_deref())?).arg("--version").output()?;
        let jars = self.jars();
        let java = Command::new("java").arg("-version").output().ok();
        let java = java.map(|said| String::from_utf8_lossy(&said.stderr).lines().last().unwrap_or_default().to_owned());
        Ok(Versions {
            mainstem: String::from_utf8_lossy(&mainstem.stdout).trim().to_owned(),
            kafka: jars.as_ref().and_then(Jars::version),
            java: jars.and(java),
        })
    }

    /// A line for whoever watches.
    fn say(&self, what: &str) {
        eprintln!("{what}");
    }
}

/// Measures what was asked for, and writes the report.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    std::fs::create_dir_all(&options.out)?;
    if let Some(file) = &options.report_from {
        return report::write(&Results::read(file)?, &options.out);
    }
    std::fs::create_dir_all(&options.folder)?;
    if options.jars().is_none() {
        println!("Mainstem runs alone: neither --kafka-classpath nor MAINSTEM_KAFKA_CP names Apache Kafka's jars.");
    }
    measure(options)?;
    disk::remove(&options.folder)?;
    println!("{} is written.", options.out.join("kafka.md").display());
    Ok(())
}

fn measure(options: &Options) -> Outcome<()> {
    let file = options.out.join("kafka.json");
    if options.quick && Results::read(&file)?.is_real() {
        return Err(format!("{} has real figures, which a quick run would replace", file.display()).into());
    }
    let (machine, versions) = (Machine::of(&options.folder)?, options.versions()?);
    let mut runs: BTreeMap<Scenario, ScenarioRun> = BTreeMap::new();
    for repetition in 0..options.repetitions() {
        let mut contest: Option<Contest> = None;
        for scenario in options.wanted() {
            let begun = Instant::now();
            let run = runs.entry(scenario).or_insert_with(|| ScenarioRun {
                scenario,
                began: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
                machine: machine.clone(),
                versions: versions.clone(),
                seconds: options.window().as_secs_f64(),
                repetitions: options.repetitions(),
                quick: options.quick,
                load_averages: Vec::new(),
                samples: Vec::new(),
            });
            run.load_averages.push(conditions::load_average()?);
            scenario.run(&mut Stage::new(options, repetition, &mut contest, &mut run.samples))?;
            let took = begun.elapsed().as_secs_f64();
            println!("{}, repetition {} of {}: {took:.1} s", scenario.title(), repetition + 1, options.repetitions());
            // Whatever happens later, this much is known.
            let mut results = Results::read(&file)?;
            results.replace(run.clone());
            results.write(&file)?;
            report::write(&results, &options.out)?;
        }
        if let Some(contest) = contest {
            contest.end()?;
        }
    }
    Ok(())
}
