//! Asking to be let into a cluster, until that is answered.

use super::net::{Sender, endpoint};
use crate::rng::Rng;
use broker::cluster::call::{NodeAnswer, NodeCall};
use broker::identity::Identity;
use bytes::Bytes;
use machine::catalog::Endpoint;
use machine::machine::VERSION_MAX;
use model::NodeId;
use model::wire::Wire;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::collections::BTreeMap;
use std::time::Duration;

/// The least and the longest wait between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks.
pub(super) struct Joiner {
    pub(super) from: Sender,
    pub(super) wanted: Option<NodeId>,
    pub(super) rack: Option<String>,
    /// Whom it may ask: the places before its own.
    pub(super) rng: Rng,
}

/// It is in.
pub(super) struct Joined {
    pub(super) cluster: u128,
    pub(super) node: NodeId,
    pub(super) nodes: BTreeMap<NodeId, Endpoint>,
}

impl Joiner {
    /// Asks until it is answered.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn join(mut self, identity: &Identity) -> Result<Joined, String> {
        let call = NodeCall::Join {
            incarnation: identity.incarnation,
            wanted: self.wanted,
            peer: endpoint(self.from.place),
            endpoints: vec![kafka(self.from.place)],
            rack: self.rack.clone().map(Bytes::from),
            version: VERSION_MAX as u16,
        };
        let call = Bytes::from(call.to_wire());
        let mut pause = PAUSE.0;
        loop {
            let to = self.rng.between(1, self.from.place - 1);
            if let Ok((cluster, answer)) = self.from.ask_stranger(to, call.clone(), PATIENCE).await {
                match NodeAnswer::from_wire(&answer) {
                    Ok(NodeAnswer::Joined { node, nodes }) => {
                        return Ok(Joined { cluster, node, nodes: nodes.into_iter().collect() });
                    }
                    Ok(NodeAnswer::Refused { why }) => return Err(why),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
            SimRuntime::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// Where the node at a place says that clients reach it.
pub(super) fn kafka(place: u64) -> Endpoint {
    Endpoint { protocol: Bytes::from_static(b"kafka"), port: 9092, ..endpoint(place) }
}
