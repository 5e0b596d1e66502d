//! Which acknowledgements from memory may be gone: those that two of three nodes held only in
//! memory when they lost power, or the one that decided alone until there were three.

use model::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

/// An answer may be on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// A node lost power.
#[derive(Clone, Copy, Debug)]
struct Loss {
    node: NodeId,
    /// What it had written by then was on stable storage.
    stable_at: Duration,
    at: Duration,
}

/// All times a node lost power.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    all: Vec<Loss>,
    /// Who decided alone, and until when.
    alone: Option<(NodeId, Duration)>,
}

impl Losses {
    /// `node` decides alone from the beginning.
    pub(crate) fn alone(&mut self, node: NodeId) {
        self.alone = Some((node, Duration::MAX));
    }

    /// It does so no longer.
    pub(crate) fn not_alone_any_more(&mut self, at: Duration) {
        self.alone = self.alone.map(|(node, _)| (node, at));
    }

    /// `node` loses power now, at `at`; what it wrote until `stable_at` is on stable storage.
    pub(crate) fn add(&mut self, node: NodeId, stable_at: Duration, at: Duration) {
        self.all.push(Loss { node, stable_at, at });
    }

    /// Whether a record that a majority had in memory at `told` may be gone by now.
    pub(crate) fn may_lose(&self, told: Duration) -> bool {
        let exposed = self.all.iter().filter(|loss| loss.stable_at <= told && told <= loss.at + ON_ITS_WAY);
        let exposed: BTreeSet<NodeId> = exposed.map(|loss| loss.node).collect();
        exposed.len() >= 2 || self.alone.is_some_and(|(node, until)| told <= until && exposed.contains(&node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_have_to_lose_it() {
        let millis = Duration::from_millis;
        let mut losses = Losses::default();
        losses.add(NodeId(1), millis(5_000), millis(5_100));
        losses.add(NodeId(1), millis(5_000), millis(5_150));
        assert!(!losses.may_lose(millis(5_050)), "the other node has it");
        losses.add(NodeId(2), millis(4_900), millis(5_200));
        assert!(losses.may_lose(millis(5_050)));
        assert!(!losses.may_lose(millis(4_950)), "node 1 had synced it");
        assert!(!losses.may_lose(millis(7_000)), "later");
    }

    #[test]
    fn of_one_that_decides_alone_it_is_enough() {
        let millis = Duration::from_millis;
        let mut losses = Losses::default();
        losses.alone(NodeId(1));
        losses.add(NodeId(2), millis(1_000), millis(1_100));
        assert!(!losses.may_lose(millis(1_050)), "nobody counted on it");
        losses.add(NodeId(1), millis(2_000), millis(2_100));
        assert!(losses.may_lose(millis(2_050)));
        losses.not_alone_any_more(millis(3_000));
        losses.add(NodeId(1), millis(4_000), millis(4_100));
        assert!(losses.may_lose(millis(2_050)) && !losses.may_lose(millis(4_050)));
    }
}
