//! Benchmarks: a release build of the broker, of the programs that measure it, and of what they can
//! compare it with.

use crate::readiness::Readiness;
use crate::suite::Suite;
use crate::{Outcome, cargo, counts, java};
use std::process::Command;

/// Runs benchmark `name`; true when it came to its end. Apache Kafka's jars are for the comparison,
/// and are fetched where that is possible: without them the benchmark says what it skips.
pub(crate) fn run(name: String, rest: Vec<String>) -> Outcome<bool> {
    let measures = !rest.iter().any(|word| ["--report-from", "--help", "-h"].contains(&word.as_str()));
    let compares = match name.as_str() {
        "core" => rest.is_empty() || rest.iter().any(|word| word == "peer"),
        "kafka" | "cluster" => measures,
        _ => false,
    };
    if compares {
        match java::prepare() {
            Readiness::Install(steps) => {
                for mut step in steps {
                    if !cargo::succeeds(&mut step)? {
                        println!("bench: Apache Kafka's jars could not be fetched");
                        break;
                    }
                }
            }
            Readiness::Ready => {}
            Readiness::Missing(what) => println!("bench: nothing to compare with: {what}"),
        }
    }
    let mut measure = program();
    measure.arg(name).args(rest);
    with_jars(&mut measure);
    Ok(cargo::succeeds(&mut build())? && cargo::succeeds(&mut measure)?)
}

/// Every measurement in a form that takes seconds: it shows that they run and that nothing is lost.
pub(crate) fn smoke() -> Suite {
    let (mut core, mut kafka, mut cluster) = (program(), program(), program());
    core.args(["core", "--quick"]);
    // Beside Apache Kafka when its jars are there already, alone otherwise.
    kafka.args(["kafka", "--quick", "--out", "target/bench/kafka-quick"]);
    with_jars(&mut kafka);
    // Three nodes of ours alone: three JVMs take longer to start than all the rest.
    cluster.args(["cluster", "--quick"]);
    Suite { name: "bench", steps: vec![build(), core, kafka, cluster], counts: counts::none }
}

/// Names Apache Kafka's jars to the benchmark, if they are there.
fn with_jars(measure: &mut Command) {
    if java::is_there() {
        measure.env("MAINSTEM_KAFKA_CP", java::classpath());
    }
}

fn build() -> Command {
    let mut build = cargo::cargo();
    build.args(["build", "--release", "--package", "server", "--package", "bench"]);
    build
}

fn program() -> Command {
    let mut measure = cargo::cargo();
    measure.args(["run", "--release", "--package", "bench", "--"]).env("MAINSTEM_BIN", cargo::release_broker());
    measure
}
