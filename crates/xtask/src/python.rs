//! The Python side of the client and cluster tests: pytest drives every family, and confluent-kafka is one.

use crate::readiness::Readiness;
use crate::{Outcome, cargo};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What goes into the virtual environment.
const REQUIREMENTS: &str = "tests/clients/python/requirements.txt";

/// Makes the virtual environment and installs the requirements. Both commands are quick and harmless
/// when there is nothing left to do.
pub(crate) fn prepare() -> Readiness {
    if !cargo::answers("python3", &["--version"]) {
        return Readiness::Missing("no python3, which drives every client test".to_owned());
    }
    if !cargo::answers("python3", &["-c", "import ensurepip, venv"]) {
        return Readiness::Missing("python3 cannot make virtual environments; install python3-venv".to_owned());
    }
    let mut create = cargo::command("python3");
    create.args(["-m", "venv"]).arg(environment());
    let mut install = cargo::command(interpreter());
    install.args(["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]);
    Readiness::Install(vec![create, install])
}

/// One pytest run over all tests in `tests/FOLDER` that the expression selects.
pub(crate) fn pytest(suite: &str, folder: &str, markers: &str) -> Command {
    let mut command = cargo::command(interpreter());
    command.args(["-m", "pytest", &format!("tests/{folder}"), "--color=no", "-m", markers]);
    // Where a failed test's data folder and broker log are found afterwards.
    command.arg("--basetemp").arg(cargo::scratch().join(format!("pytest-{suite}")));
    // Compiled files would land beside the tests.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What this machine lacks for hosts of their own, on which the tests of faults run nodes.
pub(crate) fn missing_for_hosts() -> Outcome<Option<String>> {
    let mut command = cargo::command(interpreter());
    command.arg("tests/cluster/network.py").env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", cargo::line_of(&command)))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(said.lines().last().unwrap_or("no hosts of their own, and nothing says why").to_owned()))
}

fn environment() -> PathBuf {
    cargo::scratch().join("python")
}

fn interpreter() -> PathBuf {
    environment().join("bin").join("python")
}
