//! Who leads shards of which this node has no replica: what was last heard, to be asked first.

use crate::broker::Inner;
use model::{NodeId, ShardId};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Who was last heard to lead. As many as there are shards, at most.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    heard: Mutex<BTreeMap<ShardId, NodeId>>,
}

impl Leaders {
    /// Remembers who leads.
    pub(crate) fn hear(&self, shard: ShardId, leader: NodeId) {
        self.heard.lock().insert(shard, leader);
    }

    /// Forgets it: who was asked does not lead, and does not know who does.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.heard.lock().remove(&shard);
    }

    fn get(&self, shard: ShardId) -> Option<NodeId> {
        self.heard.lock().get(&shard).copied()
    }
}

impl Inner {
    /// Whom to ask about what only a shard's leader can do: who leads or did when last heard of, or else one
    /// after the other of those that have a replica and may know.
    pub(crate) fn whom_to_ask(&self, shard: ShardId, attempt: usize) -> Option<NodeId> {
        self.leader_of(shard).or_else(|| self.leaders.get(shard).filter(|leader| *leader != self.me())).or_else(|| {
            let known = match self.shards.get(shard) {
                Some(shard) => shard.membership().nodes(),
                None => self.replicas_of(shard).into_iter().collect(),
            };
            let others: Vec<NodeId> = known.into_iter().filter(|node| *node != self.me()).collect();
            others.get(attempt.checked_rem(others.len())?).copied()
        })
    }

    /// Who leads a shard, as far as is known here.
    pub(crate) fn leader_of(&self, shard: ShardId) -> Option<NodeId> {
        // One that is not ready yet would send everybody away again.
        match self.shards.get(shard).map(|shard| shard.leading()) {
            Some(Ok(_)) => Some(self.me()),
            Some(Err(leader)) => leader,
            None => self.leaders.get(shard).or_else(|| {
                let machine = self.catalog().machine();
                machine.catalog.placement(shard).map(|placement| placement.preferred)
            }),
        }
    }
}
