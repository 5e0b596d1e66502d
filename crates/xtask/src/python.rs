//! The Python side of the client and cluster tests: pytest drives every family, and confluent-kafka is one.

use crate::cargo;
use crate::readiness::Readiness;
use std::path::PathBuf;
use std::process::Command;

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

/// One pytest run over all tests in `tests/SUITE` that the expression selects.
pub(crate) fn pytest(suite: &str, markers: &str) -> Command {
    let mut command = cargo::command(interpreter());
    command.args(["-m", "pytest", &format!("tests/{suite}"), "--color=no", "-m", markers]);
    // Where a failed test's data folder and broker log are found afterwards.
    command.arg("--basetemp").arg(cargo::scratch().join(format!("pytest-{suite}")));
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
