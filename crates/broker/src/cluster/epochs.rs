//! Leader epochs of streams of which this node has no replica. Clients that are told of a leader without its epoch
//! may take that for no leader at all. A stream's epoch stays as it is while the leader's term does, so the leader is
//! asked once in a term.

use super::call::{NodeAnswer, NodeCall};
use crate::broker::Inner;
use futures::future::join_all;
use machine::catalog::topic::Partition;
use model::{LeaderEpoch, NodeId, ShardId, StreamId, limit};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long leaders are asked while a client waits. One that says nothing by then may have gone.
const PATIENCE: Duration = Duration::from_millis(250);

/// What leaders have told. As many as are remembered at most; beyond that they are asked again.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    told: Mutex<BTreeMap<(ShardId, StreamId), Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    term: u64,
    epoch: LeaderEpoch,
}

impl Epochs {
    fn note(&self, shard: ShardId, term: u64, epochs: Vec<(StreamId, LeaderEpoch)>) {
        let mut told = self.told.lock();
        for (stream, epoch) in epochs {
            let known = told.get(&(shard, stream)).copied();
            if known.is_none() && told.len() >= limit::EPOCHS_KNOWN_MAX {
                told.clear();
            }
            if known.is_none_or(|known| known.term <= term) {
                told.insert((shard, stream), Told { term, epoch });
            }
        }
    }

    fn get(&self, place: Partition, term: u64) -> Option<LeaderEpoch> {
        let told = self.told.lock().get(&(place.shard, place.stream)).copied();
        told.filter(|told| told.term == term).map(|told| told.epoch)
    }
}

impl Inner {
    /// A stream's leader epoch as known here; `None` when it is not known.
    pub(crate) fn epoch_of(&self, place: Partition) -> Option<LeaderEpoch> {
        match self.shards.get(place.shard) {
            Some(shard) => {
                let machine = shard.machine();
                machine.messaging.stream(place.stream).map(|stream| stream.epoch_in(shard.term()))
            }
            None => self.epochs.get(place, self.leaders.term(place.shard)),
        }
    }

    /// Those of these partitions whose leader epochs only others know.
    pub(crate) fn without_epochs(&self, places: impl Iterator<Item = Partition>) -> Vec<Partition> {
        if self.network.is_none() {
            return Vec::new();
        }
        let is_unknown = |place: &Partition| self.shards.get(place.shard).is_none() && self.epoch_of(*place).is_none();
        places.filter(is_unknown).take(limit::EPOCHS_ASKED_MAX).collect()
    }

    /// Asks leaders for the epochs of these partitions.
    pub(crate) async fn learn_epochs(&self, places: Vec<Partition>) {
        let Some(network) = &self.network else { return };
        let mut unknown: BTreeMap<(NodeId, ShardId), BTreeSet<StreamId>> = BTreeMap::new();
        for place in places {
            if let Some(leader) = self.leader_of(place.shard) {
                unknown.entry((leader, place.shard)).or_default().insert(place.stream);
            }
        }
        let deadline = self.world.now() + PATIENCE;
        let asked = unknown.into_iter().map(|((leader, shard), streams)| async move {
            let call = NodeCall::Epochs { shard, streams: streams.into_iter().collect() };
            if let Ok(NodeAnswer::Epochs { term, epochs }) = self.ask(&**network, leader, &call, deadline).await {
                self.leaders.hear_from(shard, leader, term);
                self.epochs.note(shard, term, epochs);
            }
        });
        join_all(asked).await;
    }

    /// The epochs of streams of a shard that this node leads, for a node that has no replica of it.
    pub(crate) fn own_epochs(&self, shard: ShardId, streams: &[StreamId]) -> NodeAnswer {
        let Some(shard) = self.shards.get(shard) else { return NodeAnswer::NotLeader { leader: None } };
        match shard.leading() {
            Err(leader) => NodeAnswer::NotLeader { leader },
            Ok(term) => {
                let machine = shard.machine();
                let known = streams.iter().take(limit::EPOCHS_ASKED_MAX);
                let epoch = |stream: &StreamId| Some((*stream, machine.messaging.stream(*stream)?.epoch_in(term)));
                NodeAnswer::Epochs { term, epochs: known.filter_map(epoch).collect() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_known_for_the_term_that_it_was_told_in() {
        let (epochs, place) = (Epochs::default(), |stream| Partition { shard: ShardId(2), stream: StreamId(stream) });
        epochs.note(ShardId(2), 7, vec![(StreamId(1), LeaderEpoch(3))]);
        assert_eq!(epochs.get(place(1), 7), Some(LeaderEpoch(3)));
        assert_eq!(epochs.get(place(1), 8), None, "whoever leads since has another");
        assert_eq!(epochs.get(place(2), 7), None);
        epochs.note(ShardId(2), 8, vec![(StreamId(1), LeaderEpoch(4))]);
        epochs.note(ShardId(2), 7, vec![(StreamId(1), LeaderEpoch(3))]);
        assert_eq!(epochs.get(place(1), 8), Some(LeaderEpoch(4)), "an answer that comes late changes nothing");
        epochs.note(
            ShardId(1),
            7,
            (0..limit::EPOCHS_KNOWN_MAX as u64).map(|n| (StreamId(n), LeaderEpoch(0))).collect(),
        );
        assert!(epochs.told.lock().len() <= limit::EPOCHS_KNOWN_MAX);
    }
}
