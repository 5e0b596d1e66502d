//! The journal campaign: no seed finds anything, the seeds that once did neither, every canary is
//! caught, and a seed says all there is to say about a run.
//!
//! What is printed is seen with `cargo test -p sim -- --nocapture`.
#![allow(clippy::print_stdout, reason = "what a campaign did is worth seeing")]

use journal::canary::Fault;
use sim::campaign::kept_seeds;
use sim::journal_run::{self, Plan, campaign};
use sim::trace::Trace;

/// Seeds in every test run; `sim journal --seeds N` is for more.
const SEEDS: u64 = 1500;
/// Of runs with compacted streams.
const COMPACTED_SEEDS: u64 = 500;
const COMPACTED: Plan = Plan { fault: None, compaction: true };

#[test]
fn nothing_is_found() {
    let summary = campaign(0..SEEDS, Plan::default());
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{summary}");
}

#[test]
fn nothing_is_found_where_compaction_runs() {
    let summary = campaign(0..COMPACTED_SEEDS, COMPACTED);
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{summary}");
    assert!(summary.facts.compactions > COMPACTED_SEEDS, "compaction does next to nothing: {summary}");
}

#[test]
fn a_reader_that_stalls_at_a_gap_is_caught() {
    caught_in(COMPACTED, Fault::StallAtGaps, 20, "a reader stalls");
}

#[test]
fn compaction_that_is_not_synced_is_caught() {
    caught_in(COMPACTED, Fault::NoFsync, 20, "damaged at byte");
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let kept = kept_seeds(include_str!("../seeds/journal.txt"));
    assert!(!kept.is_empty(), "the file of seeds is not read");
    for (flags, seeds) in kept {
        let summary = campaign(seeds.into_iter(), Plan::of_flags(&flags).unwrap());
        assert!(summary.failures.is_empty(), "{summary}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (first, second) = (Trace::on(), Trace::on());
        let one = journal_run::run(seed, Plan::default(), &first);
        let two = journal_run::run(seed, Plan::default(), &second);
        assert!(first.text() == second.text(), "seed {seed} gives two traces");
        assert!(first.text().lines().count() > 50, "seed {seed} has no trace");
        assert_eq!((one.tally, one.facts), (two.tally, two.facts));
    }
}

fn caught(fault: Fault, seeds: u64, words: &str) {
    caught_in(Plan::default(), fault, seeds, words);
}

/// Asserts that `fault` is caught at least once within `seeds` seeds, by what says `words`.
#[allow(clippy::print_stdout, reason = "how often it is caught is shown with --nocapture")]
fn caught_in(plan: Plan, fault: Fault, seeds: u64, words: &str) {
    let summary = campaign(0..seeds, Plan { fault: Some(fault), ..plan });
    let found = summary.first_saying(words);
    println!("{fault:?}: caught by {} of {seeds} seeds, first {found:?}", summary.failures.len());
    assert!(found.is_some(), "{fault:?} is not caught within {seeds} seeds: {summary}");
}

#[test]
fn a_journal_that_does_not_sync_is_caught() {
    caught(Fault::NoFsync, 20, "damaged at byte");
}

#[test]
fn a_forgotten_vote_is_caught() {
    caught(Fault::VoteNotPersisted, 20, "vote None was found");
}

#[test]
fn a_checkpoint_ahead_of_the_flush_is_caught() {
    caught(Fault::CheckpointAheadOfFlush, 300, "was purged");
}

#[test]
fn evicted_unflushed_bytes_are_caught() {
    caught(Fault::EvictUnflushed, 300, "is not in the log");
}

#[test]
fn truncation_that_is_off_by_one_is_caught() {
    caught(Fault::TruncateOffByOne, 20, "the log ends at");
}
