//! The states of replicas, compared after every entry: as they run, not only in the end. So whatever a checkpoint of one
//! of them stands for has been compared, and what is made of a checkpoint, at a start or of another's snapshot, is
//! compared, too.

use journal::LogPosition;
use model::NodeId;
use shard::Shard;
use std::collections::BTreeMap;

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
        let (index, whole) = (shard.journal().applied(), shard.applied());
        // What a checkpoint covers may not be in the log any more.
        let term = shard.journal().term_of(index).or((whole.index == index).then_some(whole.term));
        if let Some(term) = term {
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
