//! The chores of the repository: `cargo xtask tidy`, `test`, `soak` and `bench`.
//!
//! This crate deliberately knows no other crate of the workspace. It looks at them from outside,
//! through cargo's metadata and through files, so it still builds when they do not.
//!
//! Start reading at `tidy` (what the repository asks of itself) or `test` (how every test is run on a
//! machine that has only the toolchains).
#![allow(clippy::print_stdout, reason = "a chore's standard output is its user interface")]

mod bench;
mod cargo;
mod counts;
mod decoders;
mod finding;
mod go;
mod habits;
mod java;
mod kcat;
mod layers;
mod licences;
mod metadata;
mod python;
mod readiness;
mod soak;
mod spdx;
mod suite;
mod summary;
mod test;
mod tidy;
mod tree;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// What a chore returns. Its error is for a person to read; nothing inspects it.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// The chores of Mainstem's repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check what the repository asks of itself: format, lints, layers, habits, licences
    Tidy {
        /// Repair what can be repaired without judgement: format and trailing whitespace
        #[arg(long)]
        fix: bool,
    },
    /// Run every test, installing what the tests need below target/
    Test {
        /// Run one suite only, with what it needs
        #[arg(long, value_name = "SUITE")]
        only: Option<test::Only>,
        /// Ask long tests for their short form (MAINSTEM_QUICK=1)
        #[arg(long)]
        quick: bool,
    },
    /// Run for as long as asked, looking for rare faults
    Soak {
        #[command(subcommand)]
        kind: soak::Soak,
    },
    /// Run a benchmark in a release build
    Bench {
        /// Which one: `core`, for example
        name: String,
        /// Passed to the benchmark as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Tidy { fix } => tidy::run(fix),
        Chore::Test { only, quick } => test::run(only, quick),
        Chore::Soak { kind } => soak::run(kind),
        Chore::Bench { name, rest } => bench::run(name, rest),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
