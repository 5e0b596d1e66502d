//! Apache Kafka's own clients, tools and server, as jars that `java -cp` can start, and the program that
//! drives them.

use crate::cargo;
use crate::readiness::Readiness;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The Maven project that names the jars.
const POM: &str = "tests/clients/java/pom.xml";

/// The program's sources.
const SOURCES: &str = "tests/clients/java/src";

/// Lets Maven copy the jars, unless those of this very pom are there, and compiles the program.
pub(crate) fn prepare() -> Readiness {
    for (program, argument) in [("java", "-version"), ("javac", "-version"), ("mvn", "--version")] {
        if !cargo::answers(program, &[argument]) {
            return Readiness::Missing(format!("no {program}, for Kafka's own tools (a JDK, 17 or later)"));
        }
    }
    let Ok(pom) = fs::read(cargo::root().join(POM)) else {
        return Readiness::Missing(format!("cannot read {POM}"));
    };
    let mut steps = Vec::new();
    if !fs::read(stamp()).is_ok_and(|stamped| stamped == pom) {
        steps.extend(copy());
    }
    let Ok(compile) = compile() else {
        return Readiness::Missing(format!("cannot read {SOURCES}"));
    };
    steps.push(compile);
    Readiness::Install(steps)
}

/// How the jars get here.
fn copy() -> [Command; 2] {
    let mut copy = cargo::command("mvn");
    copy.args(["--batch-mode", "--no-transfer-progress", "--file", POM]);
    copy.arg("dependency:copy-dependencies");
    copy.arg(format!("-DoutputDirectory={}", jars().display()));
    // The stamp goes last: a copy that was interrupted is started again.
    let mut stamp_it = cargo::command("cp");
    stamp_it.arg(POM).arg(stamp());
    [copy, stamp_it]
}

/// The compiler's run over all sources. It takes two seconds, so nobody looks at what has changed.
fn compile() -> std::io::Result<Command> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(cargo::root().join(SOURCES))? {
        sources.push(entry?.path());
    }
    sources.sort();
    let mut compile = cargo::command("javac");
    compile.args(["-Xlint:deprecation,rawtypes,unchecked", "-Werror", "-proc:none", "-cp"]);
    compile.arg(format!("{}/*", jars().display())).arg("-d").arg(classes()).args(sources);
    Ok(compile)
}

/// Whether all jars are there.
pub(crate) fn is_there() -> bool {
    stamp().is_file()
}

/// The classpath with every jar and the program on it.
pub(crate) fn classpath() -> String {
    format!("{}:{}/*", classes().display(), jars().display())
}

fn classes() -> PathBuf {
    cargo::scratch().join("java-classes")
}

fn jars() -> PathBuf {
    cargo::scratch().join("java")
}

fn stamp() -> PathBuf {
    jars().join("pom.xml")
}
