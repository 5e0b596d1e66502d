//! `bench`: measurements, each of which says its conditions.
//!
//! `bench sync` is how many small writes a second the disk makes durable with one, two and three
//! files at a time: the measurement behind docs/adr/0001-one-journal-per-shard.md. `bench core` is
//! the machine, the journal and the shard alone, then the broker through Kafka, against the design's
//! budget; docs/benchmarks/core.md is made of what it prints. `bench cluster` is three nodes beside three of
//! Apache Kafka, and prints a table. `bench kafka` is Mainstem beside Apache
//! Kafka, and writes docs/benchmarks/kafka.md itself. A measurement in which a record was lost ends the
//! run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are this program's output")]

mod apache_kafka;
mod broker;
mod client;
mod cluster;
mod conditions;
mod core;
mod cost;
mod disk;
mod figure;
mod kafka;
mod piece;
mod streams;
mod sync;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a measurement returns. Its error is for a person to read; nothing inspects it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

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
    /// Machine, journal and shard alone, then the broker through Kafka
    Core(core::Options),
    /// Three nodes beside three of Apache Kafka
    Cluster(cluster::Options),
    /// The broker beside Apache Kafka, by a native load generator and by Kafka's own tools
    Kafka(kafka::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Sync { folder, seconds } => sync::run(&folder, seconds).map_err(Into::into),
        What::Core(options) => core::run(options),
        What::Cluster(options) => cluster::run(&options),
        What::Kafka(options) => kafka::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
