//! The Python side of the client tests: pytest drives every family, and confluent-kafka is one.

use crate::readiness::Readiness;
use crate::{cargo, tree};
use std::path::PathBuf;
use std::process::Command;

/// What goes into the virtual environment.
const REQUIREMENTS: &str = "tests/clients/python/requirements.txt";

/// Makes the virtual environment and installs the requirements, unless they are there already.
///
/// pip decides what is already there: asking it costs a second and is never wrong.
pub(crate) fn prepare() -> Readiness {
    if !cargo::answers("python3", "--version") {
        return Readiness::Missing("no python3, which drives every client test".to_owned());
    }
    if !cargo::answers("python3", "-mensurepip") && !interpreter().is_file() {
        return Readiness::Missing("python3 cannot make a virtual environment: install python3-venv".to_owned());
    }
    let mut command = cargo::command("bash");
    command.args(["-euc", "test -x \"$1\" || python3 -m venv \"$0\"; \"$1\" -m pip install --quiet -r \"$2\""]);
    command.arg(environment()).arg(interpreter()).arg(REQUIREMENTS);
    Readiness::Install(command)
}

/// One pytest run over all client tests that the expression selects.
pub(crate) fn pytest(markers: &str) -> Command {
    let mut command = cargo::command(interpreter());
    command.args(["-m", "pytest", "tests/clients", "--color=no", "-m", markers]);
    // Compiled files would land beside the tests.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn environment() -> PathBuf {
    cargo::scratch().join("python")
}

fn interpreter() -> PathBuf {
    environment().join("bin").join("python")
}
