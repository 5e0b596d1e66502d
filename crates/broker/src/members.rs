//! Who belongs to the cluster and who leads what, for protocols that tell their clients.

use crate::broker::{Broker, Inner};
use crate::cluster::standing::Standing;
use crate::cluster::{Advertised, plan};
use crate::request::{BrokerError, PartitionRef};
use futures::future;
use machine::catalog::{Endpoint, Node};
use machine::machine::VERSION_MAX;
use machine::{Command, Reply as MachineReply};
use model::{LeaderEpoch, NodeId, ShardId};
use shard::{Membership, Role, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

pub use machine::catalog::NodeState;
pub use shard::Copying;

/// How long handing over may take in all.
const HAND_OVER_TIME: Duration = Duration::from_secs(5);

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// Whether it stays.
    pub state: NodeState,
    /// Where it stands.
    pub rack: Option<String>,
    /// The newest behaviour that it knows.
    pub version: u32,
    /// Where other nodes reach it, host and port, if it listens for them.
    pub peer: Option<(String, u16)>,
    /// Where clients reach it.
    pub endpoints: Vec<Advertised>,
}

impl Member {
    /// Where clients of a protocol reach it.
    #[must_use]
    pub fn endpoint(&self, protocol: &str) -> Option<&Advertised> {
        self.endpoints.iter().find(|endpoint| endpoint.protocol == protocol)
    }
}

/// The nodes of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// This node.
    pub me: NodeId,
    /// The behaviour in force: the newest that all of them know.
    pub version: u32,
    /// The node that leads the catalog, if one is known to.
    pub controller: Option<NodeId>,
    /// Those that have not been removed, by number. This node is among them.
    pub nodes: Vec<Member>,
}

impl Members {
    /// How many replicas a partition of a new topic has of which so many are wanted: one on a node. A node that is to
    /// leave counts, because it goes only when another has what it has; the others would be too few for a moment.
    #[must_use]
    pub fn replicas(&self, wanted: u32) -> u32 {
        wanted.min(self.nodes.len() as u32)
    }

    /// Those that take replicas.
    pub fn active(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|member| member.state == NodeState::Active).map(|member| member.node)
    }
}

/// A shard and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The shard.
    pub shard: ShardId,
    /// Who leads it, if anybody is known to.
    pub leader: Option<NodeId>,
    /// The nodes whose replicas vote.
    pub voters: Vec<NodeId>,
    /// The nodes whose replicas only follow.
    pub learners: Vec<NodeId>,
    /// Whether the voters are being changed.
    pub joint: bool,
    /// How many entries each of the others is behind, as far as is known. Only the leader knows.
    pub lags: BTreeMap<NodeId, u64>,
    /// How far those are that copy a snapshot, as far as is known: the leader and they themselves know.
    pub copying: BTreeMap<NodeId, Copying>,
}

impl ReplicaStatus {
    pub(crate) fn of(
        shard: ShardId,
        leader: Option<NodeId>,
        membership: Membership,
        lags: BTreeMap<NodeId, u64>,
    ) -> Self {
        let voters: BTreeSet<NodeId> = membership.voters.iter().flatten().copied().collect();
        let joint = membership.is_joint();
        let (voters, learners) = (voters.into_iter().collect(), membership.learners.into_iter().collect());
        ReplicaStatus { shard, leader, voters, learners, joint, lags, copying: BTreeMap::new() }
    }
}

impl Broker {
    /// The nodes of the cluster, as far as this one has heard.
    #[must_use]
    pub fn members(&self) -> Members {
        self.inner.members()
    }

    /// The other nodes of the cluster, as far as this one has heard.
    #[must_use]
    pub fn others(&self) -> Vec<NodeId> {
        let machine = self.inner.catalog().machine();
        let there = machine.catalog.nodes().filter(|(_, node)| node.state != NodeState::Removed);
        there.map(|(id, _)| id).filter(|id| *id != self.node()).collect()
    }

    /// The node that leads a partition, if there is such a partition and anybody is known to.
    #[must_use]
    pub fn leader(&self, partition: &PartitionRef) -> Option<NodeId> {
        self.inner.leader_of(self.inner.resolve(partition).ok()?.shard)
    }

    /// The node that coordinates a group.
    ///
    /// # Errors
    /// `NotLeader` when none is known.
    pub fn coordinator(&self, group: &str) -> Result<NodeId, BrokerError> {
        let shard = self.inner.catalog().machine().catalog.shard_of(group).ok_or(BrokerError::Unavailable)?;
        self.inner.leader_of(shard).ok_or(BrokerError::NotLeader(None))
    }

    /// Who leads a partition, and its leader epoch as known here. `None` when there is no such partition.
    #[must_use]
    pub fn leader_epoch(&self, partition: &PartitionRef) -> Option<(Option<NodeId>, LeaderEpoch)> {
        let place = self.inner.resolve(partition).ok()?;
        Some((self.inner.leader_of(place.shard), self.inner.epoch_of(place)?))
    }

    /// Whether this node has heard of nobody who leads the catalog for a while: other nodes may know better who leads
    /// what.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.inner.reach.is_cut_off(self.inner.world.now())
    }

    /// A replica of a partition in a rack, if this node leads it, is elsewhere, and the replica answers and is not
    /// behind: whoever is there reads it from there (KIP-392).
    #[must_use]
    pub fn nearest_replica(&self, partition: &PartitionRef, rack: &str) -> Option<NodeId> {
        let inner = &self.inner;
        let place = inner.resolve(partition).ok()?;
        let shard = inner.shards.get(place.shard)?;
        if inner.config.cluster.rack.as_deref() == Some(rack) || shard.leading().is_err() {
            return None;
        }
        let mut there = inner.replicas_of(place.shard);
        {
            let machine = inner.catalog().machine();
            there.retain(|node| {
                let row = machine.catalog.node(*node);
                row.is_some_and(|row| row.rack.as_deref() == Some(rack.as_bytes()) && row.state != NodeState::Removed)
            });
        }
        // Most readers are where there is none, and ask for many partitions.
        if there.is_empty() {
            return None;
        }
        let Standing { membership, at_hand, .. } = Standing::of(&shard, inner.me()).ok()?;
        there.into_iter().find(|node| *node != inner.me() && membership.is_voter(*node) && at_hand.contains(node))
    }

    /// How the replicas on this node are.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        let status = |shard: Shard| {
            let leader = self.inner.leader_of(shard.id());
            let status = ReplicaStatus::of(shard.id(), leader, shard.membership(), shard.lags());
            ReplicaStatus { copying: shard.copying(), ..status }
        };
        self.inner.shards.all().into_iter().map(status).collect()
    }

    /// Says what a node of the cluster is for: to be emptied, to be left out for ever, or to take replicas
    /// again.
    ///
    /// # Errors
    /// `UnknownNode`; `NodeInUse` when it is to be left out and has replicas, `Unavailable` when that cannot
    /// be found out; `NodeRemoved` when it has been left out.
    pub async fn set_node_state(&self, node: NodeId, state: NodeState) -> Result<(), BrokerError> {
        if state == NodeState::Removed {
            // The catalog says where replicas shall be; what counts here is where they are.
            self.inner.has_left(node).await?;
        }
        match self.inner.catalog_command(Command::SetNodeState { node, state }).await? {
            MachineReply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// What nodes that are to be emptied keep, because no other node can have it: replicas of shards, and votes in
    /// the catalog.
    #[must_use]
    pub fn kept_replicas(&self) -> BTreeSet<(NodeId, ShardId)> {
        let membership = self.inner.catalog().membership();
        let machine = self.inner.catalog().machine();
        plan::kept(&machine.catalog, self.inner.replication(), &membership)
    }

    /// Waits until every shard of this node has a leader and, where it is among others, the catalog knows
    /// the node.
    pub async fn wait_ready(&self) {
        loop {
            // Watching begins before looking.
            let (role, catalog) =
                (pin!(self.inner.changes.role.notified()), pin!(self.inner.changes.streams.notified()));
            let led = self.inner.shards.all().into_iter().all(|shard| self.inner.leader_of(shard.id()).is_some());
            let known =
                self.inner.network.is_none() || self.inner.catalog().machine().catalog.node(self.node()).is_some();
            if led && known {
                return;
            }
            let _ = self.inner.world.timeout(Duration::from_millis(50), future::select(role, catalog)).await;
        }
    }

    /// Gives away the leadership of every shard that somebody else can lead, and waits until that is so:
    /// a node that stops afterwards is not missed.
    pub async fn hand_over(&self) {
        let world = &self.inner.world;
        let led = self
            .inner
            .shards
            .all()
            .into_iter()
            .filter(|shard| shard.role() == Role::Leader && shard.membership().others_vote(self.node()));
        let handed = led.map(|shard| async move {
            while shard.role() == Role::Leader {
                let changed = self.inner.changes.role.notified();
                if let Err(error) = shard.hand_over(None).await {
                    tracing::debug!(shard = %shard.id(), %error, "nobody takes over yet");
                }
                let _ = world.timeout(Duration::from_millis(50), changed).await;
            }
        });
        if world.timeout(HAND_OVER_TIME, future::join_all(handed)).await.is_none() {
            tracing::warn!("not every shard was taken over by another node");
        }
    }
}

impl Inner {
    pub(crate) fn members(&self) -> Members {
        let machine = self.catalog().machine();
        let known = machine.catalog.nodes().filter(|(_, node)| node.state != NodeState::Removed);
        let mut nodes: Vec<Member> = known.map(|(id, node)| member(id, node)).collect();
        let version = machine.version();
        drop(machine);
        if !nodes.iter().any(|member| member.node == self.me()) {
            let config = &self.config.cluster;
            let (rack, endpoints) = (config.rack.clone(), config.endpoints.clone());
            let (node, state, version) = (self.me(), NodeState::Active, VERSION_MAX);
            nodes.push(Member { node, state, rack, version, peer: None, endpoints });
            nodes.sort_by_key(|member| member.node);
        }
        Members { me: self.me(), version, controller: self.leader_of(ShardId::CATALOG), nodes }
    }

    /// The nodes that shall have a shard's replicas. The first is the one that is preferred to lead, as Kafka's clients
    /// and tools take it.
    pub(crate) fn replicas_of(&self, shard: ShardId) -> Vec<NodeId> {
        let machine = self.catalog().machine();
        let Some(placement) = machine.catalog.placement(shard) else { return vec![self.me()] };
        let mut replicas = placement.replicas.clone();
        // The others stay in their order.
        replicas.sort_by_key(|node| *node != placement.preferred);
        replicas
    }

    /// Those of them that vote, answer and are not far behind, as this node knows if it leads; otherwise those that vote
    /// and are not known to be silent.
    pub(crate) fn in_sync(&self, shard: ShardId, silent: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut replicas = self.replicas_of(shard);
        let standing = match self.shards.get(shard) {
            Some(replica) => {
                let membership = replica.membership();
                replicas.retain(|node| membership.is_voter(*node));
                Standing::of(&replica, self.me()).ok()
            }
            None => None,
        };
        replicas.retain(|node| match &standing {
            Some(standing) => standing.at_hand.contains(node),
            None => !silent.contains(node),
        });
        replicas
    }
}

fn member(node: NodeId, row: &Node) -> Member {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let advertised = |Endpoint { protocol, host, port }: &Endpoint| Advertised {
        protocol: text(protocol),
        host: text(host),
        port: *port,
    };
    Member {
        node,
        state: row.state,
        rack: row.rack.as_deref().map(text),
        version: row.version.into(),
        peer: Some((text(&row.peer.host), row.peer.port)),
        endpoints: row.endpoints.iter().map(advertised).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{CreateTopic, Request, TopicRef};
    use crate::{Config, Settings};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_that_is_alone_leads_everything() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), Config { shards: 2, ..Config::default() }).await.unwrap();
        let (name, settings) = ("a".to_owned(), Settings::default());
        let topic = CreateTopic { name, partitions: Some(1), replicas: Some(1), settings, validate_only: false };
        broker.call(Request::CreateTopics(vec![topic])).await.await;
        let me = broker.node();
        let members = broker.members();
        assert_eq!((members.me, members.controller), (me, Some(me)));
        assert_eq!(members.active().collect::<Vec<_>>(), [me]);
        assert_eq!(broker.coordinator("g"), Ok(me));
        let of = |name: &str| PartitionRef { topic: TopicRef::Name(name.into()), partition: 0 };
        let (leader, _) = broker.leader_epoch(&of("a")).unwrap();
        assert_eq!(leader, Some(me));
        assert_eq!(broker.leader_epoch(&of("b")), None, "there is no such topic");
        broker.stop().await;
    }
}
