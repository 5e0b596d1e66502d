use super::*;
use bytes::Bytes;
use proptest::prelude::*;

mod model;

fn at(index: u64) -> LogPosition {
    LogPosition { term: 1, index }
}

fn configs(configs: &[&[u64]]) -> Vec<Vec<NodeId>> {
    configs.iter().map(|config| config.iter().copied().map(NodeId).collect()).collect()
}

fn standing(index: u64, in_doubt: bool, voters: &[&[u64]]) -> Standing {
    Standing { last: at(index), in_doubt, has_room: true, leading: None, confirmed: false, voters: configs(voters) }
}

/// Nodes 1, 2 and so on that have answered: how long their logs are, and whether they are in doubt. They agree on who
/// votes.
fn standings(answers: &[(u64, bool)], voters: &[&[u64]]) -> Standings {
    let standing =
        |(nth, (index, in_doubt)): (usize, &(u64, bool))| (NodeId(nth as u64 + 1), standing(*index, *in_doubt, voters));
    answers.iter().enumerate().map(standing).collect()
}

fn longest(index: u64) -> Census {
    Census::Longest(at(index))
}

#[test]
fn the_longest_log_is_looked_for_only_when_too_few_are_free_and_all_have_answered() {
    let three = |answers: &[(u64, bool)]| census(&standings(answers, &[&[1, 2, 3]]));
    assert_eq!(three(&[(5, true), (7, true)]), Census::Wait);
    assert_eq!(three(&[(5, true), (7, true), (6, true)]), longest(7));
    assert_eq!(three(&[(5, true), (7, true), (9, false)]), longest(9));
    assert_eq!(three(&[(5, true), (7, false), (9, false)]), Census::Wait);
    assert_eq!(
        three(&[(9, true), (7, false), (5, false)]),
        Census::Wait,
        "what one in doubt has besides is not needed"
    );
    assert_eq!(census(&standings(&[(5, true)], &[&[1]])), longest(5));
}

#[test]
fn whoever_leads_is_asked_and_not_replaced() {
    let mut all = standings(&[(5, true), (7, true), (6, true)], &[&[1, 2, 3]]);
    assert_eq!(census(&all), longest(7));
    all.entry(NodeId(2)).and_modify(|standing| standing.leading = Some(Bytes::from_static(b"vote")));
    assert_eq!(census(&all), Census::Wait, "on the word of this replica it may answer reads yet");
}

#[test]
fn while_the_voters_change_both_sets_of_them_have_to_do_without_us() {
    let growing = |answers: &[(u64, bool)]| census(&standings(answers, &[&[1], &[1, 2, 3]]));
    assert_eq!(growing(&[(5, true), (7, false), (7, false)]), longest(7), "nobody leads without node 1");
    assert_eq!(growing(&[(5, true), (7, false)]), Census::Wait, "node 3 may have more");
    assert_eq!(growing(&[(7, false), (7, false), (5, true)]), Census::Wait);
}

#[test]
fn who_is_free_goes_by_the_voters_that_it_has_logged_itself() {
    let stand = |first: Standing, others: &[&[u64]]| {
        let others = [2, 3].map(|node| (NodeId(node), standing(7, false, others)));
        census(&others.into_iter().chain([(NodeId(1), first)]).collect())
    };
    // Node 1 has logged the second half of the change, and they have not: they know that they need it.
    let ahead = standing(8, true, &[&[1, 2, 3]]);
    assert_eq!(stand(ahead.clone(), &[&[1], &[1, 2, 3]]), longest(8));
    assert_eq!(stand(ahead.clone(), &[&[1]]), longest(8), "they only follow, as far as they know");
    assert_eq!(stand(ahead, &[&[1, 2, 3]]), Census::Wait);
    // They have, and it has not.
    assert_eq!(stand(standing(6, true, &[&[1], &[1, 2, 3]]), &[&[1, 2, 3]]), Census::Wait);
}

#[test]
fn who_votes_is_for_the_longest_log_to_say() {
    let none = BTreeSet::new();
    // Node 2 has lost the entry that made it a voter, and knows of node 1 alone.
    let mut known = Standings::from([(NodeId(2), standing(5, true, &[&[1]]))]);
    assert_eq!(unasked(&known, &none), BTreeSet::from([NodeId(1)]));
    known.insert(NodeId(1), standing(6, true, &[&[1], &[1, 2, 3]]));
    assert_eq!(unasked(&known, &none), BTreeSet::from([NodeId(3)]));
    assert_eq!(unasked(&known, &BTreeSet::from([NodeId(3)])), none);
    assert_eq!(census(&known), Census::Wait);
    let nobody = Standings::from([(NodeId(2), standing(0, true, &[]))]);
    assert_eq!(census(&nobody), Census::Wait, "nobody knows who votes");
}

#[test]
fn one_that_votes_no_more_does_not_count_once_others_know() {
    let old: &[&[u64]] = &[&[1, 2, 3]];
    let both: &[&[u64]] = &[&[1, 2, 3], &[2, 3]];
    let new: &[&[u64]] = &[&[2, 3]];
    let three = |first: Standing, second: Standing, third: Standing| {
        Standings::from([(NodeId(1), first), (NodeId(2), second), (NodeId(3), third)])
    };
    // Node 1 follows, and has what the others have forgotten.
    let gone = three(standing(20, false, new), standing(12, true, both), standing(14, true, new));
    assert_eq!(census(&gone), longest(14));
    let gone = three(standing(20, true, new), standing(12, true, both), standing(20, true, new));
    assert_eq!(census(&gone), longest(20));
    // It has logged so alone: until that counts it votes, and has what they may have acknowledged with it.
    let alone = three(standing(16, false, new), standing(14, true, both), standing(12, true, both));
    assert_eq!(census(&alone), longest(16));
    let alone = three(standing(16, true, new), standing(14, true, old), standing(12, true, old));
    assert_eq!(census(&alone), longest(16));
    // Of two that are gone, neither counts.
    let new: &[&[u64]] = &[&[3, 4]];
    let mut gone = three(standing(20, false, new), standing(18, false, new), standing(14, true, new));
    assert_eq!(unasked(&gone, &BTreeSet::new()), BTreeSet::from([NodeId(4)]));
    assert_eq!(census(&gone), Census::Wait);
    gone.insert(NodeId(4), standing(13, true, &[&[1, 2, 3], &[3, 4]]));
    assert_eq!(census(&gone), longest(14));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whoever comes to lead, and whoever leaves doubt, has every acknowledged entry that anybody has who votes.
    #[test]
    fn nothing_is_lost_that_somebody_has(voters in 1..=3usize, steps in model::steps()) {
        let mut cluster = model::Cluster::founded(voters);
        for step in steps {
            cluster.take(step).map_err(TestCaseError::fail)?;
        }
    }
}
