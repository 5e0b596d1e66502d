//! `bench`: measurements, each of which says its conditions.
//!
//! So far one: `bench sync`, how many small writes a second the disk makes durable with one, two and
//! three files at a time. It is the measurement behind docs/adr/0001-one-journal-per-shard.md.
#![allow(clippy::print_stdout, reason = "figures are this program's output")]

mod sync;

use clap::{Parser, Subcommand};
use std::io;
use std::path::PathBuf;

/// Measures parts of Mainstem and what it stands on.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Durable writes a second: one thread and one preallocated file each, fdatasync after each write
    Sync {
        /// Where to write
        #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
        folder: PathBuf,
        /// Seconds to measure, after one of warm-up
        #[arg(long, value_name = "SECONDS", default_value_t = 3)]
        seconds: u64,
    },
}

fn main() -> io::Result<()> {
    match Arguments::parse().what {
        What::Sync { folder, seconds } => sync::run(&folder, seconds),
    }
}
