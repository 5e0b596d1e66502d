//! The campaign of whole brokers: no seed finds anything, the seeds that once did neither, every kind of trouble and
//! every path through the code comes about, every canary is caught, and a seed says all there is to say about a run.
//!
//! What is printed is seen with `cargo test -p sim -- --nocapture`.

#![allow(clippy::print_stdout, reason = "how many seeds a canary takes is worth knowing")]

use journal::canary::Fault;
use sim::brokers::{self, Plan};
use sim::campaign::{campaign, kept_seeds};
use sim::trace::Trace;
use std::ops::Range;
use std::process::Command;

/// Seeds in every test run; `sim brokers --seeds N` is for more.
const SEEDS: Range<u64> = 20..56;
/// Of runs in which bits flip.
const FLIPPED_SEEDS: Range<u64> = 0..8;
/// More seeds that mean seven nodes: there are two of them among the others.
const OF_SEVEN: [u64; 3] = [61, 65, 70];
/// So many seeds are run before it is looked whether a fault was caught.
const AT_ONCE: usize = 4;

#[test]
fn nothing_is_found_and_everything_comes_about() {
    let summary = campaign(SEEDS.chain(OF_SEVEN), Plan::default());
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{summary}");
    let counts = summary.facts.list();
    let missing: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
    assert!(missing.is_empty(), "within seeds {SEEDS:?} there was none of {missing:?}");
    assert!(summary.facts.runs_of_seven > OF_SEVEN.len() as u64, "few runs have seven nodes: {summary}");
}

#[test]
fn bits_that_flip_are_mended_and_nothing_is_found() {
    let summary = campaign(FLIPPED_SEEDS, Plan { flips: true, ..Plan::default() });
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{summary}");
    assert!(summary.tally.bit_flips > 0, "no bit has flipped: {summary}");
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let kept = kept_seeds(include_str!("../seeds/brokers.txt"));
    assert!(!kept.is_empty(), "the file of seeds is not read");
    for (flags, seeds) in kept {
        let summary = campaign(seeds.into_iter(), Plan::of_flags(&flags).unwrap());
        assert!(summary.failures.is_empty(), "{summary}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seed = 20;
    let (first, second) = (Trace::on(), Trace::on());
    let one = brokers::run(seed, Plan::default(), &first);
    let two = brokers::run(seed, Plan::default(), &second);
    assert!(first.text() == second.text(), "seed {seed} gives two traces");
    assert!(first.text().lines().count() > 300, "seed {seed} has no trace");
    assert_eq!((one.facts, one.tally), (two.facts, two.tally));
    // Another process has other addresses, other threads and other hash maps.
    let mut other = Command::new(env!("CARGO_BIN_EXE_sim"));
    let other = other.args(["brokers", "--trace", "--seed", &seed.to_string()]).env("RUST_LOG", "off");
    let other = String::from_utf8(other.output().unwrap().stdout).unwrap();
    assert!(other.starts_with(&first.text()), "seed {seed} gives another trace in another process");
}

/// Otherwise nobody would know whether the test before this one can fail.
#[test]
fn iteration_over_a_hash_map_gives_two_traces() {
    let plan = Plan { fault: Some(Fault::HashMapIteration), ..Plan::default() };
    let differ = (20..28).find(|seed| {
        let (first, second) = (Trace::on(), Trace::on());
        let _ = (brokers::run(*seed, plan, &first), brokers::run(*seed, plan, &second));
        first.text() != second.text()
    });
    println!("the first that differs: {differ:?}");
    assert!(differ.is_some(), "each seed gives the same trace twice although it is run from a hash map");
}

fn caught(fault: Fault, first: u64, most: u64, words: &str) {
    caught_in(Plan::default(), fault, first, most, words);
}

/// Asserts that `fault` is caught, by what says `words`, within `most` seeds from `first` on, where it was caught last.
fn caught_in(plan: Plan, fault: Fault, first: u64, most: u64, words: &str) {
    let end = first + most;
    for from in (first..end).step_by(AT_ONCE) {
        let summary = campaign(from..end.min(from + AT_ONCE as u64), Plan { fault: Some(fault), ..plan });
        if let Some(found) = summary.first_saying(words) {
            println!("{fault:?}: caught by {found:?}, {} seeds after {first}", from - first);
            return;
        }
    }
    panic!("{fault:?} is not caught within {most} seeds from {first} on");
}

#[test]
fn an_answer_before_it_is_applied_is_caught() {
    caught(Fault::AnswerBeforeApplied, 0, 4, "right after its answer");
}

#[test]
fn a_joiner_that_founds_is_caught() {
    caught(Fault::FoundInsteadOfFollow, 0, 4, "the states of");
}

#[test]
fn a_position_that_is_forgotten_is_caught() {
    caught(Fault::ForgetCommit, 0, 4, "is told that it is at");
}

#[test]
fn a_numbered_batch_that_is_taken_twice_is_caught() {
    caught(Fault::SkipSequence, 0, 12, "duplicate:");
}

#[test]
fn a_producer_that_was_replaced_is_caught() {
    caught(Fault::UnfencedProducer, 0, 8, "which is in");
}

#[test]
fn a_topic_that_comes_back_is_caught() {
    caught(Fault::ForgetDeletion, 0, 4, "was deleted, and there is");
}

#[test]
fn a_producer_id_that_is_given_twice_is_caught() {
    caught(Fault::ReuseProducerId, 0, 4, "was handed out twice");
}

#[test]
fn a_node_id_that_is_given_twice_is_caught() {
    caught(Fault::ReuseNodeId, 0, 4, "was given to another node");
}

#[test]
fn a_shard_in_fewer_racks_than_there_are_is_caught() {
    caught(Fault::IgnoreRacks, 14, 40, "racks and could be in");
}

#[test]
fn an_acknowledgement_before_quorum_is_caught() {
    caught(Fault::CommitAlone, 3, 60, "lost: acknowledged");
}

/// One seed in forty has it.
#[test]
fn a_leader_that_serves_before_it_has_applied_is_caught() {
    caught(Fault::LeadBeforeApplied, 34, 160, "the log ends at");
}

/// One seed in twenty has it.
#[test]
fn an_end_told_by_a_leader_of_the_past_is_caught() {
    caught(Fault::LeadForEver, 4, 100, "the log ends at");
}

#[test]
fn a_stream_that_goes_on_where_it_was_is_caught() {
    caught(Fault::UnfencedMove, 0, 20, "lost: acknowledged");
}

#[test]
fn producers_that_are_forgotten_at_a_move_are_caught() {
    caught(Fault::ForgetfulMove, 0, 12, "duplicate:");
}

#[test]
fn a_trim_that_takes_too_much_is_caught() {
    caught(Fault::TrimTooFar, 0, 4, "nobody asked to trim beyond");
}

#[test]
fn a_commit_of_a_former_member_is_caught() {
    caught(Fault::CommitOfFormerMember, 0, 8, "took a commit of generation");
}

#[test]
fn a_move_that_iterates_over_a_hash_map_is_caught() {
    caught(Fault::HashMapIteration, 0, 8, "the states of");
}

#[test]
fn a_position_told_by_anybody_is_caught() {
    caught(Fault::PositionsByAnybody, 0, 8, "is not linearizable");
    caught(Fault::PositionsByAnybody, 0, 8, "is told that it is at");
}

#[test]
fn a_group_with_many_leaders_is_caught() {
    caught(Fault::EveryMemberLeads, 0, 4, "does, too");
}

#[test]
fn a_share_that_is_forgotten_is_caught() {
    caught(Fault::ForgetShares, 0, 4, "and was given");
}

#[test]
fn a_generation_that_is_forgotten_is_caught() {
    caught(Fault::ForgetGeneration, 0, 8, "m is in generation");
}

#[test]
fn a_trim_that_is_forgotten_is_caught() {
    caught(Fault::ForgetTrim, 0, 4, "and started at");
}

#[test]
fn a_client_that_is_not_answered_is_caught() {
    caught(Fault::AnswerNoRepeat, 0, 8, "clients are not answered");
}

#[test]
fn a_topic_that_only_some_nodes_know_is_caught() {
    caught(Fault::LeaveOutTopics, 0, 4, "nodes know different topics");
}

#[test]
fn a_replica_that_stays_where_it_was_is_caught() {
    caught(Fault::KeepReplicas, 0, 8, " still");
}

#[test]
fn damage_that_nobody_mends_is_caught() {
    caught_in(Plan { flips: true, ..Plan::default() }, Fault::MendNothing, 0, 4, "damage stays");
}
