//! Apache Kafka's own command-line tools, as jars that `java -cp` can start.

use crate::cargo;
use crate::readiness::Readiness;
use std::fs;
use std::path::PathBuf;

/// The Maven project that names the jars.
const POM: &str = "tests/clients/java/pom.xml";

/// Lets Maven copy the jars, unless those of this very pom are there.
pub(crate) fn prepare() -> Readiness {
    for (program, argument) in [("java", "-version"), ("mvn", "--version")] {
        if !cargo::answers(program, &[argument]) {
            return Readiness::Missing(format!("no {program}, for Kafka's own tools (Java 17 or later)"));
        }
    }
    let Ok(pom) = fs::read(cargo::root().join(POM)) else {
        return Readiness::Missing(format!("cannot read {POM}"));
    };
    if fs::read(stamp()).is_ok_and(|stamped| stamped == pom) {
        return Readiness::Ready;
    }
    let mut copy = cargo::command("mvn");
    copy.args(["--batch-mode", "--no-transfer-progress", "--file", POM]);
    copy.arg("dependency:copy-dependencies");
    copy.arg(format!("-DoutputDirectory={}", jars().display()));
    // The stamp goes last: a copy that was interrupted is started again.
    let mut stamp_it = cargo::command("cp");
    stamp_it.arg(POM).arg(stamp());
    Readiness::Install(vec![copy, stamp_it])
}

/// Whether all jars are there.
pub(crate) fn is_there() -> bool {
    stamp().is_file()
}

/// The classpath with every jar on it.
pub(crate) fn classpath() -> String {
    format!("{}/*", jars().display())
}

fn jars() -> PathBuf {
    cargo::scratch().join("java")
}

fn stamp() -> PathBuf {
    jars().join("pom.xml")
}
