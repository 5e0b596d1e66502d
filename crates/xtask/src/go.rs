//! franz-go, a Kafka client in Go, as a small program that does what scenarios ask.

use crate::cargo;
use crate::readiness::Readiness;
use std::path::PathBuf;

/// The Go module with the program.
const MODULE: &str = "tests/clients/go";

/// Builds the program. Go keeps what it built, so that this is quick when nothing changed.
pub(crate) fn prepare() -> Readiness {
    if !cargo::answers("go", &["version"]) {
        return Readiness::Missing(format!("no go, for franz-go; {MODULE}/go.mod says which version"));
    }
    let mut build = cargo::command("go");
    // No version control: the program says nothing about itself.
    build.args(["build", "-C", MODULE, "-buildvcs=false", "-o"]).arg(agent()).arg(".");
    Readiness::Install(vec![build])
}

/// The program.
pub(crate) fn agent() -> PathBuf {
    cargo::scratch().join("go").join("agent")
}
