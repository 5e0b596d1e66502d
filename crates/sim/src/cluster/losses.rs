//! Which acknowledgements from memory may be gone: those that two of three nodes held only in
//! memory when they lost power.

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
pub(super) struct Losses(Vec<Loss>);

impl Losses {
    /// `node` loses power now, at `at`; what it wrote until `stable_at` is on stable storage.
    pub(super) fn add(&mut self, node: NodeId, stable_at: Duration, at: Duration) {
        self.0.push(Loss { node, stable_at, at });
    }

    /// Whether a record that a majority had in memory at `told` may be gone by now.
    pub(super) fn may_lose(&self, told: Duration) -> bool {
        let exposed = self.0.iter().filter(|loss| loss.stable_at <= told && told <= loss.at + ON_ITS_WAY);
        exposed.map(|loss| loss.node).collect::<BTreeSet<_>>().len() >= 2
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
}
