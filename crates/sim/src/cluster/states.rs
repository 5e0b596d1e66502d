//! The states of replicas, compared after the same entry: as they run, not only in the end.

use journal::LogPosition;
use model::NodeId;
use shard::Shard;
use std::collections::BTreeMap;

/// Each so many entries the states are compared: a difference stays, so none is missed.
const EVERY: u64 = 4;

/// Digests by the entry they were taken after. An entry is known by its term and index: when a
/// majority forgot an index, another entry may stand there.
#[derive(Debug, Default)]
pub(crate) struct States {
    digests: BTreeMap<(u64, u64), (NodeId, u32)>,
    pub(crate) compared: u64,
    pub(crate) violation: Option<String>,
}

impl States {
    /// Compares the state that the replica on `node` has just come to with the others'.
    pub(crate) fn compare(&mut self, shard: &Shard, node: NodeId) {
        let index = shard.journal().applied();
        if index.is_multiple_of(EVERY)
            && let Some(term) = shard.journal().term_of(index)
        {
            self.add(node, LogPosition { term, index }, shard.machine().digest());
        }
    }

    /// `node` has this state after the entry at `at`.
    fn add(&mut self, node: NodeId, at: LogPosition, digest: u32) {
        let (other, before) = *self.digests.entry((at.index, at.term)).or_insert((node, digest));
        self.compared += u64::from(other != node);
        if before != digest && self.violation.is_none() {
            let LogPosition { term, index } = at;
            self.violation =
                Some(format!("the states of {other} and {node} differ after entry {index} of term {term}"));
        }
    }
}
