//! Commands that start in the repository's root, and questions about what a machine has.

use crate::Outcome;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The repository's root: two folders above this crate, wherever the checkout lies now. `cargo run`
/// says that; a program built in another checkout that shares the target folder would not know.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = || env!("CARGO_MANIFEST_DIR").into();
        let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built));
        here.ancestors().nth(2).unwrap_or(&here).to_path_buf()
    });
    &ROOT
}

/// Where the chores keep logs and what they install. `cargo clean` removes all of it.
pub(crate) fn scratch() -> PathBuf {
    target().join("xtask")
}

/// Cargo's target folder, which a caller may have moved.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(moved) => root().join(moved),
        None => root().join("target"),
    }
}

/// The broker as it is released.
pub(crate) fn release_broker() -> PathBuf {
    target().join("release").join("mainstem")
}

/// The broker that knows one version more of what nodes write for one another.
pub(crate) fn next_broker() -> PathBuf {
    target().join("release").join("mainstem-next")
}

/// A command of the given name that starts in the root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs this program, so that both use one toolchain.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether the program can be started: it is how we tell a missing toolchain from a failing one.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs the command to its end, passing its output through, and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Outcome<bool> {
    let status =
        command.status().map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    Ok(status.success())
}

/// Runs the command and returns its standard output, or what it said on standard error.
pub(crate) fn output_of(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", line_of(command), said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The command as a person would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.contains(' ') { format!("'{word}'") } else { word.into_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
