//! Which replicas have confirmed a leader, and when.
//!
//! openraft gives a heartbeat up when the next is due, and what is answered later does not count. Between nodes that
//! are farther apart than that no heartbeat would ever count, and a leader that has nothing to send would not know
//! that it leads. Here every answer counts, from when what it answers was sent.

use model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a leader's heartbeats were answered in one term.
#[derive(Debug)]
pub(crate) struct Hearing<I> {
    term: u64,
    /// When the last of them that this replica has accepted was sent.
    accepted: BTreeMap<NodeId, I>,
}

impl<I> Default for Hearing<I> {
    fn default() -> Self {
        Hearing { term: 0, accepted: BTreeMap::new() }
    }
}

impl<I: Copy + Ord> Hearing<I> {
    /// `from` has accepted what the leader of `term` sent at this time. Answers may come in any order.
    pub(crate) fn note(&mut self, term: u64, from: NodeId, sent: I) {
        if term > self.term {
            *self = Hearing { term, accepted: BTreeMap::new() };
        }
        if term == self.term {
            self.accepted.entry(from).and_modify(|last| *last = sent.max(*last)).or_insert(sent);
        }
    }

    /// Since when nothing was heard of a replica in this term, if anything ever was.
    pub(crate) fn last(&self, term: u64, node: NodeId) -> Option<I> {
        self.accepted.get(&node).copied().filter(|_| term == self.term)
    }

    /// The last time at which most voters of every configuration took `me` for the leader of `term`; `me` does `now`.
    pub(crate) fn quorum(&self, term: u64, me: NodeId, now: I, configs: &[BTreeSet<u64>]) -> Option<I> {
        let of_config = |config: &BTreeSet<u64>| {
            let heard = |id: &u64| if *id == me.0 { Some(now) } else { self.last(term, NodeId(*id)) };
            let mut heard: Vec<Option<I>> = config.iter().map(heard).collect();
            heard.sort_unstable();
            // As many are as late as it or later as make most of them.
            heard.get(heard.len().checked_sub(heard.len() / 2 + 1)?).copied().flatten()
        };
        configs.iter().map(of_config).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);

    fn config(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn heard(answers: &[(u64, u64)]) -> Hearing<u64> {
        let mut hearing = Hearing::default();
        answers.iter().for_each(|(from, sent)| hearing.note(7, NodeId(*from), *sent));
        hearing
    }

    #[test]
    fn most_voters_make_a_quorum_and_it_is_as_old_as_the_oldest_of_them() {
        let three = [config(&[1, 2, 3])];
        assert_eq!(heard(&[]).quorum(7, ME, 100, &three), None);
        assert_eq!(heard(&[(2, 40)]).quorum(7, ME, 100, &three), Some(40));
        assert_eq!(heard(&[(2, 40), (3, 60)]).quorum(7, ME, 100, &three), Some(60));
        let five = [config(&[1, 2, 3, 4, 5])];
        assert_eq!(heard(&[(2, 40)]).quorum(7, ME, 100, &five), None);
        assert_eq!(heard(&[(2, 40), (4, 60), (5, 50)]).quorum(7, ME, 100, &five), Some(50));
        let four = [config(&[1, 2, 3, 4])];
        assert_eq!(heard(&[(2, 40)]).quorum(7, ME, 100, &four), None);
        assert_eq!(heard(&[(2, 40), (3, 60)]).quorum(7, ME, 100, &four), Some(40));
        assert_eq!(heard(&[]).quorum(7, ME, 100, &[config(&[1])]), Some(100));
    }

    #[test]
    fn a_leader_without_a_vote_and_learners_do_not_count() {
        assert_eq!(heard(&[(2, 40), (4, 90)]).quorum(7, ME, 100, &[config(&[2, 3])]), None);
        assert_eq!(heard(&[(2, 40), (3, 50)]).quorum(7, ME, 100, &[config(&[2, 3])]), Some(40));
        assert_eq!(heard(&[(4, 90)]).quorum(7, ME, 100, &[config(&[1, 2, 3])]), None);
        assert_eq!(heard(&[(4, 90)]).quorum(7, ME, 100, &[]), None, "nobody votes");
        assert_eq!(heard(&[(4, 90)]).quorum(7, ME, 100, &[config(&[])]), None);
    }

    #[test]
    fn while_the_voters_change_most_of_both_sets_are_needed() {
        let joint = [config(&[1, 2, 3]), config(&[3, 4, 5])];
        assert_eq!(heard(&[(2, 40), (3, 50)]).quorum(7, ME, 100, &joint), None);
        assert_eq!(heard(&[(3, 50), (4, 30)]).quorum(7, ME, 100, &joint), Some(30));
    }

    #[test]
    fn what_was_said_to_an_earlier_leader_does_not_count() {
        let mut hearing = heard(&[(2, 40)]);
        hearing.note(8, NodeId(3), 50);
        hearing.note(7, NodeId(2), 60);
        assert_eq!(hearing.quorum(7, ME, 100, &[config(&[1, 2, 3])]), None);
        assert_eq!(hearing.quorum(8, ME, 100, &[config(&[1, 2, 3])]), Some(50));
        hearing.note(8, NodeId(3), 45);
        assert_eq!(hearing.last(8, NodeId(3)), Some(50), "answers may overtake each other");
    }
}
