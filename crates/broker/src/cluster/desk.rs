//! Answers what other nodes ask.

use super::call::{NodeAnswer, NodeCall};
use super::standing::Standing;
use crate::broker::Inner;
use crate::links::Desk;
use crate::older::Wanted;
use crate::shards::Shards;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use machine::catalog::NodeState;
use machine::{Command, Reply};
use model::wire::Wire;
use model::{Incarnation, NodeId, ShardId};
use peer::Rejection;
use shard::{MembershipError, ProposeError, Shard};
use std::sync::{Arc, OnceLock, Weak};

/// Answers what other nodes ask. It exists before the broker does: replicas talk while it starts.
pub struct NodeDesk {
    shards: Arc<Shards>,
    broker: OnceLock<Weak<Inner>>,
}

impl NodeDesk {
    /// The desk of a node that is not open yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(NodeDesk { shards: Arc::default(), broker: OnceLock::new() })
    }

    pub(crate) fn shards(&self) -> Arc<Shards> {
        self.shards.clone()
    }

    /// From now on it answers for `broker`.
    pub(crate) fn open(&self, broker: &Arc<Inner>) {
        let _ = self.broker.set(Arc::downgrade(broker));
    }
}

impl NodeDesk {
    /// The replica of a shard, if this node has one.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<Shard> {
        self.shards.get(shard)
    }

    /// Answers what a node asks as a node.
    pub fn call(&self, from: NodeId, call: &[u8]) -> BoxFuture<'static, Bytes> {
        let (broker, call) = (self.broker.get().and_then(Weak::upgrade), NodeCall::from_wire(call));
        Box::pin(async move {
            let call = match call {
                Ok(call) => call,
                Err(error) => {
                    tracing::warn!(%from, %error, "a node asked what cannot be read");
                    return NodeAnswer::Refused { why: error.to_string() }.to_wire().into();
                }
            };
            let Some(broker) = broker else { return not_now("the node is starting").to_wire().into() };
            let turns = match call {
                NodeCall::Serve { .. } => &broker.service.turns,
                _ => &broker.forwards,
            };
            let Ok(turn) = turns.clone().try_acquire_owned() else {
                return not_now("too much is asked at once").to_wire().into();
            };
            // It goes on when the connection ends: what was proposed is proposed.
            let (done, wait) = oneshot::channel();
            let world = broker.world.clone();
            world.spawn(async move {
                let _turn = turn;
                let _ = done.send(answer(&broker, from, call).await);
            });
            wait.await.unwrap_or_else(|_| NodeAnswer::Unknown.to_wire().into())
        })
    }
}

impl Desk for NodeDesk {
    fn shard(&self, shard: ShardId) -> Option<Shard> {
        self.shard(shard)
    }

    fn call(&self, from: NodeId, call: Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>> {
        let answer = self.call(from, &call);
        Box::pin(async move { Ok(answer.await) })
    }
}

fn not_now(why: impl Into<String>) -> NodeAnswer {
    NodeAnswer::NotNow { why: why.into() }
}

async fn answer(broker: &Inner, from: NodeId, call: NodeCall) -> Bytes {
    let answer = match call {
        NodeCall::Join { incarnation, wanted, peer, endpoints, rack, version } => {
            let incarnation = Incarnation(incarnation);
            let command = Command::AllocateNode { incarnation, wanted, peer, endpoints, rack, version };
            admit(broker, version, command).await
        }
        NodeCall::Propose { shard, command } => propose(broker, shard, &command).await,
        NodeCall::Deliver { from, to, items } => match broker.shards.get(to) {
            Some(target) if from != to => match target.leading() {
                Ok(_) => NodeAnswer::Delivered { items: crate::delivery::log(&target, from, items).await },
                Err(leader) => NodeAnswer::NotLeader { leader },
            },
            _ => NodeAnswer::NotLeader { leader: None },
        },
        NodeCall::Standing { shard } => match broker.shards.get(shard) {
            Some(shard) => match Standing::of(&shard, broker.me()) {
                Ok(standing) => standing.answer(),
                Err(leader) => NodeAnswer::NotLeader { leader },
            },
            None => NodeAnswer::NotLeader { leader: None },
        },
        NodeCall::HandOver { shard, to } => match broker.shards.get(shard) {
            Some(shard) => match broker.hand_over_to(&shard, to).await {
                Ok(leader) => NodeAnswer::HandedOver { leader },
                Err(MembershipError::NotLeader(leader)) => NodeAnswer::NotLeader { leader },
                Err(error) => not_now(error.to_string()),
            },
            None => NodeAnswer::NotLeader { leader: None },
        },
        NodeCall::ReadOlder { shard, stream, from, to, since, bytes_max } => {
            let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            return broker.read_for_another(shard, Wanted { stream, from, to, since, bytes_max }).await;
        }
        NodeCall::Serve { errand } => return broker.serve(errand).await,
        NodeCall::Load => broker.own_load().answer(),
        NodeCall::Leading { shards } => {
            let machine = broker.catalog().machine();
            let known = shards.into_iter().filter(|(shard, _)| machine.catalog.placement(*shard).is_some());
            known.for_each(|(shard, term)| broker.leaders.hear_from(shard, from, term));
            NodeAnswer::Heard
        }
        NodeCall::Epochs { shard, streams } => broker.own_epochs(shard, &streams),
        NodeCall::Unfit => NodeAnswer::Unfit { shards: broker.unfit().into_iter().collect() },
    };
    answer.to_wire().into()
}

/// Lets a node into the cluster.
async fn admit(broker: &Inner, version: u16, command: Command) -> NodeAnswer {
    let in_force = broker.catalog().machine().version();
    if u32::from(version) < in_force {
        let why = format!("the cluster works in version {in_force}, and this node knows versions up to {version}");
        return NodeAnswer::Refused { why };
    }
    let is_ready = {
        let machine = broker.catalog().machine();
        // Until it is written down where the first shards are, nobody else may think they are nowhere.
        let mut shards = machine.catalog.shards();
        machine.catalog.node(broker.me()).is_some() && shards.all(|shard| machine.catalog.placement(shard).is_some())
    };
    if !is_ready {
        return not_now("the node that was asked is starting");
    }
    match broker.command(ShardId::CATALOG, command).await {
        Ok(Reply::Node(node)) => {
            let machine = broker.catalog().machine();
            let there = machine.catalog.nodes().filter(|(_, node)| node.state != NodeState::Removed);
            let nodes = there.map(|(id, node)| (id, node.peer.clone())).collect();
            NodeAnswer::Joined { node, nodes }
        }
        Ok(Reply::Refused(refusal)) => NodeAnswer::Refused { why: refusal.to_string() },
        Ok(_) => NodeAnswer::Unknown,
        Err(error) => not_now(error.to_string()),
    }
}

/// Proposes for another node, which has been told that this one leads. It is not handed on: a node
/// that is wrong about the leader is told.
async fn propose(broker: &Inner, shard: ShardId, command: &[u8]) -> NodeAnswer {
    let command = match Command::from_wire(command) {
        Ok(command) if may_be_asked_for(&command) && command.is_for(shard) => command,
        Ok(_) => return NodeAnswer::Refused { why: "not a command that another node asks for".into() },
        Err(error) => return NodeAnswer::Refused { why: error.to_string() },
    };
    let Some(replica) = broker.shards.get(shard) else { return NodeAnswer::NotLeader { leader: None } };
    match replica.command(command).await {
        Ok(reply) => NodeAnswer::Proposed { reply, applied: replica.applied().index },
        Err(ProposeError::NotLeader(leader)) => NodeAnswer::NotLeader { leader },
        Err(ProposeError::Unknown) => NodeAnswer::Unknown,
        Err(error @ (ProposeError::DiskFull | ProposeError::Stopped)) => not_now(error.to_string()),
    }
}

/// What clients write goes to the leader by itself, and what a shard does for itself is its leader's: what remains is
/// what only the catalog takes.
fn may_be_asked_for(command: &Command) -> bool {
    match command {
        // One that this build does not know would stop the shard.
        Command::Barrier { version } => *version <= machine::machine::VERSION_MAX,
        command => command.is_for(ShardId::CATALOG) && !command.is_for(ShardId(1)),
    }
}
