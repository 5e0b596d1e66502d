//! Who leads shards of which this node has no replica: what was last heard, to be asked first.

use crate::broker::Inner;
use model::{NodeId, ShardId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// Who was last heard to lead. As many as there are shards, at most.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    heard: Mutex<BTreeMap<ShardId, Heard>>,
    /// How often in a row nobody was found to lead a shard: the next one is asked then.
    misses: Mutex<BTreeMap<ShardId, usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    leader: NodeId,
    /// The newest term in which anybody said to lead.
    term: u64,
}

impl Leaders {
    /// Remembers who leads, as others say.
    pub(crate) fn hear(&self, shard: ShardId, leader: NodeId) {
        let mut heard = self.heard.lock();
        let term = heard.get(&shard).map_or(0, |known| known.term);
        heard.insert(shard, Heard { leader, term });
        self.misses.lock().remove(&shard);
    }

    /// Remembers who leads, as the leader itself says: one of a newer term knows better.
    pub(crate) fn hear_from(&self, shard: ShardId, leader: NodeId, term: u64) {
        let mut heard = self.heard.lock();
        if heard.get(&shard).is_none_or(|known| term >= known.term) {
            heard.insert(shard, Heard { leader, term });
            self.misses.lock().remove(&shard);
        }
    }

    /// Forgets it: who was asked does not lead, and does not know who does.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.heard.lock().remove(&shard);
        *self.misses.lock().entry(shard).or_default() += 1;
    }

    fn misses(&self, shard: ShardId) -> usize {
        self.misses.lock().get(&shard).copied().unwrap_or(0)
    }

    /// The newest term in which anybody said to lead; 0 when nobody has.
    pub(crate) fn term(&self, shard: ShardId) -> u64 {
        self.heard.lock().get(&shard).map_or(0, |heard| heard.term)
    }

    fn get(&self, shard: ShardId) -> Option<NodeId> {
        self.heard.lock().get(&shard).map(|heard| heard.leader)
    }
}

/// Who was asked to do something, and who was named to lead instead: that one is asked at once, but nobody twice before
/// a pause, for two that each take the other for the leader would be asked without end.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    nodes: BTreeSet<NodeId>,
    named: Option<NodeId>,
}

impl Asked {
    /// Who is asked next: whoever was named, or else who `otherwise` is.
    pub(crate) fn next(&mut self, otherwise: impl FnOnce() -> Option<NodeId>) -> Option<NodeId> {
        let whom = self.named.take().or_else(otherwise);
        self.nodes.extend(whom);
        whom
    }

    /// Whoever was asked does not lead. Returns whether it named somebody who is to be asked at once.
    pub(crate) fn follow(&mut self, named: Option<NodeId>) -> bool {
        self.named = named.filter(|node| !self.nodes.contains(node));
        self.named.is_some()
    }

    /// There is a pause.
    pub(crate) fn pause(&mut self) {
        self.nodes.clear();
    }
}

impl Inner {
    /// Whom to ask about what only a shard's leader can do: who leads or did when last heard of, or else one
    /// after the other of those that have a replica and may know.
    pub(crate) fn whom_to_ask(&self, shard: ShardId, attempt: usize) -> Option<NodeId> {
        let replica = self.shards.get(shard);
        let heard = || self.leaders.get(shard).filter(|leader| *leader != self.me());
        if let Some(leader) = replica.as_ref().and_then(|_| self.leader_of(shard)).or_else(heard) {
            return Some(leader);
        }
        let known = match replica {
            Some(replica) => replica.membership().nodes().into_iter().collect(),
            None => self.replicas_of(shard),
        };
        // Whoever is to lead comes first.
        let preferred = self.leader_of(shard);
        let mut others: Vec<NodeId> = known.into_iter().filter(|node| *node != self.me()).collect();
        others.sort_by_key(|node| Some(*node) != preferred);
        others.get(attempt.max(self.leaders.misses(shard)).checked_rem(others.len())?).copied()
    }

    /// Who leads a shard, as far as is known here.
    pub(crate) fn leader_of(&self, shard: ShardId) -> Option<NodeId> {
        // One that is not ready yet would send everybody away again.
        match self.shards.get(shard).map(|shard| shard.leading()) {
            Some(Ok(_)) => Some(self.me()),
            Some(Err(leader)) => leader,
            // Without a replica this node does not lead it, whatever was heard before it had none.
            None => self.leaders.get(shard).filter(|leader| *leader != self.me()).or_else(|| {
                let machine = self.catalog().machine();
                machine.catalog.placement(shard).map(|placement| placement.preferred)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_of_newer_terms_know_better() {
        let (leaders, shard) = (Leaders::default(), ShardId(1));
        leaders.hear_from(shard, NodeId(2), 7);
        leaders.hear_from(shard, NodeId(1), 6);
        assert_eq!(leaders.get(shard), Some(NodeId(2)), "it has not heard yet that it leads no longer");
        leaders.hear(shard, NodeId(3));
        assert_eq!(leaders.get(shard), Some(NodeId(3)));
        leaders.hear_from(shard, NodeId(1), 6);
        assert_eq!(leaders.get(shard), Some(NodeId(3)));
        leaders.hear_from(shard, NodeId(2), 7);
        assert_eq!(leaders.get(shard), Some(NodeId(2)), "what others say may be older");
        leaders.forget(shard);
        assert_eq!(leaders.get(shard), None);
    }

    #[test]
    fn whoever_is_named_is_asked_at_once_and_nobody_twice_before_a_pause() {
        let (mut asked, node) = (Asked::default(), |number| Some(NodeId(number)));
        assert_eq!(asked.next(|| node(1)), node(1));
        assert!(asked.follow(node(2)));
        assert_eq!(asked.next(|| node(1)), node(2), "whatever else is believed");
        assert!(asked.follow(node(3)));
        assert_eq!(asked.next(|| node(1)), node(3));
        assert!(!asked.follow(node(1)), "they send one another around");
        asked.pause();
        assert_eq!(asked.next(|| node(2)), node(2));
        assert!(!asked.follow(None) && !asked.follow(node(2)));
        assert!(asked.follow(node(1)), "it may know better by now");
    }
}
