//! The nodes of the cluster.

use super::error::{Subject, refusal};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::body;
use crate::refusal::Refusal;
use crate::shape::{AlterNode, ClusterNode, Copying, NodeList, NodeState, Replica, RestartSafety};
use broker::members::{Member, Members, NodeState as State, ReplicaStatus};
use model::{NodeId, ShardId};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) async fn list(api: Arc<Inner>, _: Call) -> Result<Answer, Refusal> {
    describe(&api).await
}

async fn describe(api: &Inner) -> Result<Answer, Refusal> {
    let shards = api.broker.all_replicas().await;
    Answer::json(200, &node_list(api.broker.members(), &shards, &api.broker.kept_replicas()))
}

/// Says what a node is for.
pub(crate) async fn alter(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let AlterNode { state } = body::read(&call.body)?;
    let state = match state {
        NodeState::Active => State::Active,
        NodeState::Draining => State::Draining,
        NodeState::Removed => State::Removed,
    };
    // It was checked to be a number.
    let id = call.name(0).parse().unwrap_or(0);
    let altered = api.broker.set_node_state(NodeId(id), state).await;
    altered.map_err(|error| refusal(&error, Subject::Node(id)))?;
    describe(&api).await
}

/// Tells whether this node can be stopped.
pub(crate) async fn restart_safety(api: Arc<Inner>, _: Call) -> Result<Answer, Refusal> {
    let hindrances = api.broker.restart_hindrances().await;
    Answer::json(200, &RestartSafety { node: api.broker.node().0, safe: hindrances.is_empty(), hindrances })
}

fn node_list(members: Members, shards: &[ReplicaStatus], kept: &BTreeSet<(NodeId, ShardId)>) -> NodeList {
    NodeList {
        node: members.me.0,
        cluster_version: members.version,
        controller: members.controller.map(|node| node.0),
        nodes: members.nodes.into_iter().map(|member| node(member, shards, kept)).collect(),
    }
}

fn node(member: Member, shards: &[ReplicaStatus], kept: &BTreeSet<(NodeId, ShardId)>) -> ClusterNode {
    let Member { node, state, rack, version, peer, endpoints } = member;
    let leads = shards.iter().filter(|shard| shard.leader == Some(node)).map(|shard| shard.shard.0);
    let endpoints = endpoints.into_iter().map(|told| (told.protocol, address(&told.host, told.port)));
    ClusterNode {
        node: node.0,
        state: match state {
            State::Active => NodeState::Active,
            State::Draining => NodeState::Draining,
            State::Removed => NodeState::Removed,
        },
        rack,
        cluster_version_max: version,
        peer: peer.map(|(host, port)| address(&host, port)),
        endpoints: endpoints.collect(),
        leads: leads.collect(),
        replicas: shards.iter().filter_map(|shard| replica(node, shard)).collect(),
        keeps: kept.iter().filter(|(by, _)| *by == node).map(|(_, shard)| shard.0).collect(),
    }
}

fn replica(node: NodeId, shard: &ReplicaStatus) -> Option<Replica> {
    let voter = shard.voters.contains(&node);
    let behind = if shard.leader == Some(node) { Some(0) } else { shard.lags.get(&node).copied() };
    let copying =
        shard.copying.get(&node).map(|copying| Copying { copied_bytes: copying.pulled, total_bytes: copying.of });
    // A new replica does not know yet that it is one, but it knows that it copies.
    let is_there = voter || shard.learners.contains(&node) || copying.is_some();
    is_there.then_some(Replica { shard: shard.shard.0, voter, behind, copying })
}

/// An IPv6 address has brackets around it.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::cluster::Advertised;

    fn shard(shard: u32, leader: Option<u64>, voters: &[u64], learners: &[u64], lags: &[(u64, u64)]) -> ReplicaStatus {
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
        ReplicaStatus {
            shard: ShardId(shard),
            leader: leader.map(NodeId),
            voters: nodes(voters),
            learners: nodes(learners),
            joint: false,
            lags: lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect(),
            copying: lags.iter().filter(|(_, lag)| *lag == 40).map(|(node, _)| (NodeId(*node), COPYING)).collect(),
        }
    }

    const COPYING: broker::members::Copying = broker::members::Copying { pulled: 5, of: 9 };

    fn member(node: u64) -> Member {
        let kafka = Advertised { protocol: "kafka".into(), host: "10.0.0.1".into(), port: 9092 };
        let http = Advertised { protocol: "http".into(), host: "fd00::1".into(), port: 8080 };
        Member {
            node: NodeId(node),
            state: State::Active,
            rack: Some("r1".into()),
            version: 3,
            peer: Some(("a.example".into(), 9190)),
            endpoints: vec![kafka, http],
        }
    }

    #[test]
    fn a_node_has_what_its_shards_say_of_it() {
        let shards = [
            shard(0, Some(1), &[1], &[2], &[(1, 7), (2, 40)]),
            shard(1, Some(2), &[1, 2, 3], &[], &[]),
            shard(2, None, &[2, 3], &[], &[]),
            ReplicaStatus { copying: [(NodeId(1), COPYING)].into(), ..shard(3, None, &[], &[], &[]) },
        ];
        let members = Members {
            me: NodeId(1),
            version: 2,
            controller: Some(NodeId(1)),
            nodes: vec![member(1), Member { rack: None, peer: None, endpoints: Vec::new(), ..member(2) }],
        };
        let kept = [(2, 1), (2, 3), (3, 1)].map(|(node, shard)| (NodeId(node), ShardId(shard))).into();
        let list = node_list(members, &shards, &kept);
        assert_eq!((list.node, list.controller, list.cluster_version), (1, Some(1), 2));
        let [first, second] = &list.nodes[..] else { panic!("two nodes") };
        assert_eq!((first.node, first.state, first.rack.as_deref()), (1, NodeState::Active, Some("r1")));
        assert_eq!(first.cluster_version_max, 3);
        assert_eq!(first.peer.as_deref(), Some("a.example:9190"));
        let endpoints: Vec<_> = first.endpoints.iter().map(|(name, address)| format!("{name}={address}")).collect();
        assert_eq!(endpoints, ["http=[fd00::1]:8080", "kafka=10.0.0.1:9092"]);
        assert_eq!((&first.leads[..], &second.leads[..]), (&[0][..], &[1][..]));
        let replica = |shard, voter, behind| Replica { shard, voter, behind, copying: None };
        let copying = Some(Copying { copied_bytes: 5, total_bytes: 9 });
        let copies = |shard, behind| Replica { copying, ..replica(shard, false, behind) };
        // Who leads lacks nothing, whatever is counted.
        assert_eq!(first.replicas, [replica(0, true, Some(0)), replica(1, true, None), copies(3, None)]);
        assert_eq!(second.replicas, [copies(0, Some(40)), replica(1, true, Some(0)), replica(2, true, None)]);
        assert_eq!((&second.rack, &second.peer, second.endpoints.len()), (&None, &None, 0));
        assert_eq!((&first.keeps[..], &second.keeps[..]), (&[][..], &[1, 3][..]));
    }
}
