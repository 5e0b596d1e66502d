//! The files of the repository as git sees them: tracked ones, and new ones that it would not ignore.

use crate::{Outcome, cargo};
use std::fs;

/// Paths relative to the root, in order, that exist in the work tree.
pub(crate) fn files() -> Outcome<Vec<String>> {
    let mut command = cargo::command("git");
    // Zero-separated, because git quotes unusual names otherwise.
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = cargo::output_of(&mut command)?;
    let mut paths: Vec<String> =
        listing.split_terminator('\0').filter(|path| cargo::root().join(path).is_file()).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The bytes of a file named relative to the root.
pub(crate) fn read(path: &str) -> Outcome<Vec<u8>> {
    fs::read(cargo::root().join(path)).map_err(|error| format!("cannot read {path}: {error}").into())
}

/// Replaces the text of a file named relative to the root.
pub(crate) fn write(path: &str, text: &str) -> Outcome<()> {
    fs::write(cargo::root().join(path), text).map_err(|error| format!("cannot write {path}: {error}").into())
}

/// An absolute path as the findings name it.
pub(crate) fn relative(path: &str) -> String {
    let root = format!("{}/", cargo::root().display());
    path.strip_prefix(&root).unwrap_or(path).to_owned()
}
