//! What a replica sends through: the other replicas of its shard are at places with their nodes' numbers.

use crate::net::{Answer, Passage, in_one, not_sent};
use bytes::Bytes;
use model::{NodeId, ShardId};
use shard::{Lane, Shard, Transport};

/// The network between replicas.
pub(super) type Net = crate::net::Net<Shard>;

/// What the replica on `node` sends through, in its start number `start`.
pub(super) struct Port {
    pub(super) net: Net,
    pub(super) node: NodeId,
    pub(super) start: u64,
}

impl Transport for Port {
    fn call(&self, to: NodeId, _shard: ShardId, lane: Lane, request: Vec<Bytes>) -> Answer {
        let from = self.node;
        // A replica sends while it starts, too, before the network knows of it.
        if self.net.start(from.0).is_some_and(|running| running != self.start) {
            return not_sent("the sender is dead");
        }
        let whole = Bytes::from(request.concat());
        let carry = || {
            let whole = whole.clone();
            self.net.carry(from.0, to.0, lane, Passage::of_lane(lane), move |replica| {
                let answer = replica.handle(from, whole.clone());
                // A process keeps its replica while it answers.
                Box::pin(async move {
                    let answer = answer.await;
                    drop(replica);
                    answer.map(in_one)
                })
            })
        };
        if self.net.doubles() {
            drop(carry());
        }
        carry()
    }
}
