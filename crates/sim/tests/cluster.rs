//! The cluster campaign: no seed finds anything, the seeds that once did neither, every kind of
//! trouble and every path through the code comes about, every canary is caught, and a seed says all
//! there is to say about a run.
//!
//! What is printed is seen with `cargo test -p sim -- --nocapture`.

#![allow(clippy::print_stdout, reason = "how many seeds a canary takes is worth knowing")]

use journal::canary::Fault;
use sim::campaign::kept_seeds;
use sim::cluster::{self, Plan, Summary, campaign};
use sim::trace::Trace;
use std::process::Command;

/// Seeds in every test run; `sim cluster --seeds N` is for more.
const SEEDS: u64 = 240;

#[test]
fn nothing_is_found_and_everything_comes_about() {
    let summary = campaign(0..SEEDS, Plan::default());
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{summary}");
    let counts = summary.facts.list();
    let missing: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
    assert!(missing.is_empty(), "within {SEEDS} seeds there was none of {missing:?}");
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let seeds: Vec<u64> = kept_seeds(include_str!("../seeds/cluster.txt")).collect();
    assert!(!seeds.is_empty(), "the file of seeds is not read");
    let summary = campaign(seeds.into_iter(), Plan::default());
    assert!(summary.failures.is_empty(), "{summary}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 17] {
        let (first, second) = (Trace::on(), Trace::on());
        let one = cluster::run(seed, Plan::default(), &first);
        let two = cluster::run(seed, Plan::default(), &second);
        assert!(first.text() == second.text(), "seed {seed} gives two traces");
        assert!(first.text().lines().count() > 500, "seed {seed} has no trace");
        assert_eq!((one.facts, one.tally), (two.facts, two.tally));
        // Another process has other addresses, other threads and other hash maps.
        let seed = seed.to_string();
        let mut other = Command::new(env!("CARGO_BIN_EXE_sim"));
        let other = other.args(["cluster", "--trace", "--seed", &seed]).env("RUST_LOG", "off").output().unwrap();
        let other = String::from_utf8(other.stdout).unwrap();
        assert!(other.starts_with(&first.text()), "seed {seed} gives another trace in another process");
    }
}

/// Asserts that `fault` is caught at least once within `seeds` seeds, by what says `words`.
#[allow(clippy::print_stdout, reason = "how often it is caught is shown with --nocapture")]
fn caught(fault: Fault, seeds: u64, words: &str) {
    let summary: Summary = campaign(0..seeds, Plan { fault: Some(fault), ..Plan::default() });
    let found = summary.failures.iter().find_map(|outcome| {
        let said = outcome.violations.iter().find(|violation| violation.contains(words))?;
        Some((outcome.seed, said))
    });
    println!("{fault:?}: caught by {} of {seeds} seeds, first {found:?}", summary.failures.len());
    assert!(found.is_some(), "{fault:?} is not caught within {seeds} seeds: {summary}");
}

#[test]
fn an_acknowledgement_before_quorum_is_caught() {
    caught(Fault::AcknowledgeBeforeQuorum, 15, "");
}

#[test]
fn an_acknowledged_record_that_is_lost_is_caught() {
    caught(Fault::CommitAlone, 8, "lost: acknowledged");
}

#[test]
fn a_record_that_is_read_before_it_is_committed_is_caught() {
    caught(Fault::CommitAlone, 8, "lost: read");
}

#[test]
fn iteration_over_a_hash_map_is_caught() {
    caught(Fault::HashMapIteration, 5, "the states of");
}

#[test]
fn reclaim_of_a_live_piece_is_caught() {
    caught(Fault::ReclaimLive, 5, "missing");
}

#[test]
fn reclaim_of_nothing_is_caught() {
    caught(Fault::ReclaimNothing, 5, "bytes of disk");
}

#[test]
fn a_message_taken_twice_is_caught() {
    caught(Fault::IgnoreMessageIds, 3, "duplicate:");
}

#[test]
fn messages_taken_out_of_order_are_caught() {
    caught(Fault::TakeSecondFirst, 5, "reordered");
}

#[test]
fn a_cluster_that_does_not_sync_is_caught() {
    caught(Fault::NoFsync, 3, "");
}
