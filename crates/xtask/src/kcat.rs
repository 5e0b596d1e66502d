//! kcat, the small Kafka client that people debug with.

use crate::cargo;
use crate::readiness::Readiness;

/// Installs kcat from the system's packages when we may; nothing else can be done about it from here.
pub(crate) fn prepare() -> Readiness {
    if cargo::answers("kcat", &["-V"]) {
        return Readiness::Ready;
    }
    if !cargo::answers("apt-get", &["--version"]) || !is_root() {
        return Readiness::Missing("no kcat; install it from your system's packages".to_owned());
    }
    let steps = [&["update", "-q"][..], &["install", "-q", "-y", "--no-install-recommends", "kcat"][..]];
    let commands = steps.map(|arguments| {
        let mut command = cargo::command("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    });
    Readiness::Install(commands.into())
}

fn is_root() -> bool {
    cargo::output_of(cargo::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
