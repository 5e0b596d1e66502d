//! `cargo xtask test`: every test, on a machine that has only the toolchains.
//!
//! Each step is a suite with a log of its own. The families of clients (python, kcat, java, go) are
//! prepared one by one, then pytest drives those that are ready, first against one broker, then against
//! clusters; a test says by its markers which families it needs. What a machine lacks is skipped and named,
//! except where CI=true.

use crate::readiness::Readiness;
use crate::suite::Suite;
use crate::summary::{Row, Summary, Verdict};
use crate::{Outcome, bench, cargo, counts, go, java, kcat, python};
use clap::ValueEnum;
use std::process::Command;
use std::time::Duration;

/// What `--only` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// The repository's check of itself
    Tidy,
    /// Rust's own tests
    Unit,
    /// Every family of clients
    Clients,
    /// Clusters of several nodes, which are killed and restarted under clients, and a few faults of their networks
    Cluster,
    /// Clusters whose networks, disks and clocks are broken, under every client: takes an hour and needs root
    Faults,
    /// The benchmarks, in the form that takes seconds and only shows that they run
    Bench,
    /// Clients that use confluent-kafka or kafka-python
    Python,
    /// Clients that use kcat
    Kcat,
    /// Clients that use Kafka's Java client or tools
    Java,
    /// Clients that use franz-go
    Go,
}

/// A family of clients: a pytest marker, and how its programs get onto the machine.
struct Family {
    name: &'static str,
    only: Only,
    /// Whether the tests of clusters use it.
    in_clusters: bool,
    prepare: fn() -> Readiness,
}

impl Family {
    /// Whether one of the suites that are wanted uses it.
    fn is_asked(&self, only: Option<Only>) -> bool {
        match only {
            None | Some(Only::Clients) => true,
            Some(Only::Cluster | Only::Faults) => self.in_clusters,
            Some(only) => self.only == only,
        }
    }
}

/// Python comes first: it drives the others.
const FAMILIES: &[Family] = &[
    Family { name: "python", only: Only::Python, in_clusters: true, prepare: python::prepare },
    Family { name: "kcat", only: Only::Kcat, in_clusters: false, prepare: kcat::prepare },
    Family { name: "java", only: Only::Java, in_clusters: true, prepare: java::prepare },
    Family { name: "go", only: Only::Go, in_clusters: true, prepare: go::prepare },
];

/// Runs what was asked for, prints the closing summary, and says whether all is well.
pub(crate) fn run(only: Option<Only>, quick: bool) -> Outcome<bool> {
    let wanted = |suite| only.is_none_or(|only| only == suite);
    let mut summary = Summary::default();
    if wanted(Only::Tidy) {
        summary.add(tidy().run()?);
    }
    if wanted(Only::Unit) {
        summary.add(unit(quick).run()?);
    }
    if !matches!(only, Some(Only::Tidy | Only::Unit | Only::Bench)) {
        clients(only, quick, &mut summary)?;
    }
    if wanted(Only::Bench) {
        summary.add(bench::smoke().run()?);
    }
    println!("\n{summary}");
    Ok(summary.good())
}

/// Through cargo rather than in this process: its output then has a log, and a person can repeat it.
fn tidy() -> Suite {
    let mut command = cargo::cargo();
    command.args(["run", "--quiet", "--package", "xtask", "--", "tidy"]);
    Suite { name: "tidy", steps: vec![command], counts: counts::of_tidy }
}

/// Rust's tests, optimised: the journal and the simulator do real work in them. Assertions and
/// overflow checks stay on.
fn unit(quick: bool) -> Suite {
    let mut command = cargo::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--config", "profile.test.opt-level=1"]);
    shorten(&mut command, quick);
    Suite { name: "unit", steps: vec![command], counts: counts::of_cargo_test }
}

/// Prepares the families, builds the broker and runs pytest over what is ready: the suites `clients`, `cluster` and
/// `faults`, of which a run of everything has a short form.
fn clients(only: Option<Only>, quick: bool, summary: &mut Summary) -> Outcome<()> {
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    let mut absent = Vec::new();
    for family in FAMILIES {
        let drives = family.only == Only::Python;
        if !family.is_asked(only) && !drives {
            absent.push(family.name);
            continue;
        }
        if !summary.add((family.prepare)().settle(family.name, strict)?) {
            if drives {
                println!("clients: not run, because pytest could not be prepared");
                return Ok(());
            }
            absent.push(family.name);
        }
    }
    let with_clusters = matches!(only, None | Some(Only::Cluster));
    let with_faults = only == Some(Only::Faults);
    if !summary.add(server(with_clusters)?) {
        println!("clients: not run, because there is no broker to test");
        return Ok(());
    }
    let asked = FAMILIES.iter().filter(|family| family.is_asked(only)).map(|family| family.name);
    let markers = markers(&asked.collect::<Vec<_>>(), &absent);
    let suite = |name: &'static str, folder: &str, selected: &str, quick: bool| {
        let mut command = python::pytest(name, folder, &format!("{markers}{selected}"));
        command.env("MAINSTEM_BIN", cargo::release_broker());
        command.env("MAINSTEM_NEXT_BIN", cargo::next_broker());
        command.env("MAINSTEM_KAFKA_CP", java::classpath());
        command.env("MAINSTEM_GO_AGENT", go::agent());
        shorten(&mut command, quick);
        Suite { name, steps: vec![command], counts: counts::of_pytest }
    };
    if !matches!(only, Some(Only::Cluster | Only::Faults)) {
        summary.add(suite("clients", "clients", "", quick).run()?);
    }
    if with_clusters {
        summary.add(suite("cluster", "cluster", " and not faults", quick).run()?);
        summary.add(match python::missing_for_hosts()? {
            None => suite("faults", "cluster", " and brief", true).run()?,
            // On no machine a failure: who is root in a container may not be allowed to make them.
            Some(why) => Readiness::Missing(why).settle("faults", false)?,
        });
    }
    if with_faults {
        summary.add(suite("faults", "cluster", " and faults", quick).run()?);
    }
    Ok(())
}

/// Selects tests that use a family that was asked for and none that is absent.
fn markers(asked: &[&str], absent: &[&str]) -> String {
    let mut expression = format!("({})", asked.join(" or "));
    for family in absent {
        expression.push_str(&format!(" and not {family}"));
    }
    expression
}

/// Builds the broker the way it is released, because that is what clients meet; before it, if asked to, the
/// one of the next version, which is put aside.
fn server(with_next: bool) -> Outcome<Row> {
    let build = |features: &[&str]| {
        let mut build = cargo::cargo();
        build.args(["build", "--release", "--package", "server"]).args(features);
        build
    };
    let mut steps = Vec::new();
    if with_next {
        let mut aside = cargo::command("cp");
        aside.args([cargo::release_broker(), cargo::next_broker()]);
        steps.extend([build(&["--features", "next-version"]), aside]);
    }
    steps.push(build(&[]));
    let mut row = Suite { name: "server", steps, counts: counts::none }.run()?;
    if row.verdict == Verdict::Passed && !cargo::release_broker().is_file() {
        row = Row {
            suite: "server",
            verdict: Verdict::Failed,
            counts: counts::Counts { failed: 1, ..Default::default() },
            time: Duration::ZERO,
            note: "the package server builds no binary named mainstem".to_owned(),
        };
        println!("server: {}", row.note);
    }
    Ok(row)
}

/// Tests that can be short look at this variable, whatever language they are written in.
fn shorten(command: &mut Command, quick: bool) {
    if quick {
        command.env("MAINSTEM_QUICK", "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_families_are_left_out() {
        let all = ["python", "kcat", "java"];
        assert_eq!(markers(&all, &[]), "(python or kcat or java)");
        assert_eq!(markers(&all, &["java"]), "(python or kcat or java) and not java");
        assert_eq!(markers(&["kcat"], &["java"]), "(kcat) and not java");
    }

    #[test]
    fn a_suite_asks_for_the_families_that_it_uses() {
        let asked = |only| {
            let asked = FAMILIES.iter().filter(|family| family.is_asked(only)).map(|family| family.name);
            asked.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked(None), "python kcat java go");
        assert_eq!(asked(Some(Only::Clients)), "python kcat java go");
        assert_eq!(asked(Some(Only::Cluster)), "python java go");
        assert_eq!(asked(Some(Only::Faults)), "python java go");
        assert_eq!(asked(Some(Only::Go)), "go");
    }
}
