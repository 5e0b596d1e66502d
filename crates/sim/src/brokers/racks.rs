//! Whether replicas are spread over racks as far as there are racks. Where nodes stand is the simulator's own knowledge.

use super::run::Run;
use model::{NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// Which rack each node stands in; nothing where nodes are in none.
pub(super) type Racks = BTreeMap<NodeId, u64>;

impl Run {
    /// Where the nodes stand that there are.
    pub(super) fn racks(&self) -> Racks {
        let racked = |place| self.shape.rack_of(place);
        self.nodes.iter().filter_map(|node| Some((node.id()?, racked(node.place)?))).collect()
    }
}

/// What is wrong when a shard's replicas could be in more racks than they are.
pub(super) fn complaint(shard: ShardId, replicas: &BTreeSet<NodeId>, racks: &Racks) -> Option<String> {
    let used: BTreeSet<u64> = replicas.iter().filter_map(|node| racks.get(node)).copied().collect();
    let there: BTreeSet<u64> = racks.values().copied().collect();
    let possible = there.len().min(replicas.len());
    (used.len() < possible).then(|| format!("{shard} is in {} racks and could be in {possible}", used.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_in_as_many_racks_as_there_are() {
        let racks: Racks = [(1, 1), (2, 0), (3, 1), (4, 0), (5, 2)].map(|(node, rack)| (NodeId(node), rack)).into();
        let wrong = |nodes: &[u64]| {
            let replicas = nodes.iter().copied().map(NodeId).collect();
            complaint(ShardId(1), &replicas, &racks).is_some()
        };
        assert!(wrong(&[1, 2, 3]) && wrong(&[2, 3, 4]) && wrong(&[1, 3]));
        assert!(!wrong(&[1, 2, 5]) && !wrong(&[1, 2]) && !wrong(&[1]) && !wrong(&[]));
        assert_eq!(complaint(ShardId(1), &[1, 3].map(NodeId).into(), &Racks::new()), None, "nobody stands in a rack");
    }
}
