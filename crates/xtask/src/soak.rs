//! Programs that run for as long as asked: the simulator and the fuzz targets. They are started here so
//! that their names are in one place; what they do is theirs.

use crate::{Outcome, cargo};
use clap::{Args, Subcommand};
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

/// Seconds for each fuzz target unless asked otherwise.
const FUZZ_SECONDS: u64 = 60;

#[derive(Subcommand)]
pub(crate) enum Soak {
    /// Run the simulator over many seeds
    Sim(Seeds),
    /// Run whole brokers in the simulator over many seeds
    Brokers(Seeds),
    /// Run the queue workload: is the disk given back as promised?
    Queue {
        /// How many messages
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        messages: u64,
        /// Over how many streams
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        streams: u64,
        /// The seed
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
    },
    /// Run every fuzz target of every crate
    Fuzz {
        /// Seconds for each target
        #[arg(long, value_name = "N", default_value_t = FUZZ_SECONDS)]
        seconds: u64,
    },
}

/// Which seeds the simulator runs, and how.
#[derive(Args)]
pub(crate) struct Seeds {
    /// How many seeds
    #[arg(long, value_name = "N")]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Passed to the simulator as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl Seeds {
    /// As the simulator is told.
    fn arguments(self) -> impl Iterator<Item = String> {
        let numbers = [("--seeds", self.seeds), ("--from", self.from)];
        numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]).chain(self.rest)
    }
}

/// Runs the one that was asked for; true when it found nothing.
pub(crate) fn run(kind: Soak) -> Outcome<bool> {
    match kind {
        Soak::Sim(seeds) => run_release("sim", seeds.arguments()),
        Soak::Brokers(seeds) => run_release("sim", iter::once("brokers".to_owned()).chain(seeds.arguments())),
        Soak::Queue { messages, streams, seed } => {
            let numbers = [("--messages", messages), ("--streams", streams), ("--seed", seed)];
            let arguments = numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]);
            run_release("sim", iter::once("queue".to_owned()).chain(arguments))
        }
        Soak::Fuzz { seconds } => fuzz(seconds),
    }
}

/// Builds one of our programs for release and runs it with these arguments.
pub(crate) fn run_release(package: &str, arguments: impl Iterator<Item = String>) -> Outcome<bool> {
    let mut command = cargo::cargo();
    command.args(["run", "--release", "--package", package, "--"]).args(arguments);
    cargo::succeeds(&mut command)
}

/// Runs every target, also after one has found something.
fn fuzz(seconds: u64) -> Outcome<bool> {
    if !cargo::answers("rustup", &["run", "nightly", "rustc", "--version"]) {
        return Err("fuzzing needs a nightly toolchain: rustup toolchain install nightly".into());
    }
    if !cargo::answers("cargo", &["fuzz", "--version"]) {
        return Err("fuzzing needs cargo-fuzz: cargo install cargo-fuzz".into());
    }
    let mut good = true;
    for folder in fuzz_folders()? {
        let shown = crate::tree::relative(&folder.to_string_lossy());
        let nightly = ["run", "nightly", "cargo", "fuzz"];
        let mut list = cargo::command("rustup");
        list.args(nightly).args(["list", "--fuzz-dir"]).arg(&folder);
        for target in cargo::output_of(&mut list)?.lines() {
            println!("fuzz {shown} {target}: {seconds} s");
            let corpus = corpus(&folder, target)?;
            let mut command = cargo::command("rustup");
            // One folder for all of them: most of what they are built from is the same.
            command.args(nightly).args(["run", "--fuzz-dir"]).arg(&folder);
            command.arg("--target-dir").arg(cargo::root().join("target/fuzz")).arg(target).arg(corpus);
            command.args(["--".to_owned(), format!("-max_total_time={seconds}")]);
            if !cargo::succeeds(&mut command)? {
                println!("fuzz {shown} {target}: FAILED, the input is kept in {shown}/artifacts/{target}");
                good = false;
            }
        }
    }
    Ok(good)
}

/// A folder with the target's seeds as files, which is what cargo-fuzz begins with; what it finds besides
/// stays there.
fn corpus(folder: &Path, target: &str) -> Outcome<PathBuf> {
    let seeds = folder.join("seeds").join(format!("{target}.txt"));
    let text = fs::read_to_string(&seeds).map_err(|error| format!("{}: {error}", seeds.display()))?;
    let name = folder.parent().and_then(Path::file_name).unwrap_or_default();
    let corpus = cargo::scratch().join("corpus").join(name).join(target);
    fs::create_dir_all(&corpus)?;
    for (nth, line) in text.lines().enumerate() {
        let bytes = bytes_of(line).ok_or_else(|| format!("{}:{}: not hexadecimal", seeds.display(), nth + 1))?;
        fs::write(corpus.join(format!("seed-{nth}")), bytes)?;
    }
    Ok(corpus)
}

fn bytes_of(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

/// The folders `crates/*/fuzz` that have a manifest, in order.
fn fuzz_folders() -> Outcome<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(cargo::root().join("crates"))? {
        let folder = entry?.path().join("fuzz");
        if folder.join("Cargo.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    if folders.is_empty() {
        return Err("no crate has a fuzz folder yet".into());
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds_and_every_seed_a_target() {
        for folder in fuzz_folders().unwrap() {
            let names = |of: &str| {
                let files = fs::read_dir(folder.join(of)).unwrap_or_else(|_| panic!("{of} of {}", folder.display()));
                let stem = |entry: fs::DirEntry| entry.path().file_stem().map(std::ffi::OsStr::to_owned);
                let mut names: Vec<_> = files.flatten().filter_map(stem).collect();
                names.sort();
                names
            };
            assert_eq!(names("fuzz_targets"), names("seeds"), "{}", folder.display());
        }
    }

    #[test]
    fn seeds_are_hexadecimal() {
        assert_eq!(bytes_of("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(bytes_of(""), Some(vec![]));
        assert_eq!(bytes_of("0g"), None);
        assert_eq!(bytes_of("é"), None);
    }
}
