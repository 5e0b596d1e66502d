//! The cluster's nodes as Kafka's clients see them.

use super::Context;
use crate::codec::text::Text;
use broker::Members;
use broker::members::Member;
use model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The protocol, as nodes advertise it.
const PROTOCOL: &str = "kafka";

/// A node, and where clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) host: Text,
    pub(super) port: i32,
    pub(super) rack: Option<Text>,
}

/// All of them.
pub(super) struct Nodes {
    me: Node,
    reachable: BTreeMap<NodeId, Node>,
    /// Those that take replicas.
    active: BTreeSet<NodeId>,
    members: Members,
}

/// A node's id, as Kafka says it.
pub(super) fn id(node: NodeId) -> i32 {
    node.0 as i32
}

/// Nodes' ids.
pub(super) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().copied().map(id).collect()
}

impl Nodes {
    /// The cluster of the node that the client has reached.
    pub(super) fn of(context: &Context) -> Self {
        let members = context.directory.members();
        let alone = members.nodes.len() <= 1;
        let rack = |member: &Member| member.rack.as_deref().map(Text::from);
        let advertised = |member: &Member| {
            let endpoint = member.endpoints.iter().find(|endpoint| endpoint.protocol == PROTOCOL)?;
            let (host, port) = (endpoint.host.as_str().into(), i32::from(endpoint.port));
            Some((member.node, Node { id: id(member.node), host, port, rack: rack(member) }))
        };
        let mut reachable: BTreeMap<NodeId, Node> = members.nodes.iter().filter_map(advertised).collect();
        let registered = reachable.get(&context.node).filter(|_| !alone).cloned();
        // While there is nobody who could tell otherwise, the way that the client came is the best of all.
        let me = registered.unwrap_or_else(|| {
            let own = members.nodes.iter().find(|member| member.node == context.node);
            let (host, port) = (context.host.as_str().into(), i32::from(context.port));
            Node { id: id(context.node), host, port, rack: own.and_then(rack) }
        });
        reachable.insert(context.node, me.clone());
        let active = members.active().collect();
        Nodes { me, reachable, active, members }
    }

    /// The node that the client has reached.
    pub(super) fn me(&self) -> &Node {
        &self.me
    }

    /// Those that clients can reach, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.reachable.values()
    }

    /// A node, if clients can reach it.
    pub(super) fn get(&self, node: NodeId) -> Option<&Node> {
        self.reachable.get(&node)
    }

    /// The node that clients shall ask what a controller does. Any does it, and this one answers: who leads the
    /// catalog would do it with one hop less, but may have died, and librdkafka does not look for another
    /// controller as long as it has not reached the first.
    pub(super) fn controller(&self) -> i32 {
        self.me.id
    }

    /// Whether a replica has more than one node that it could be on.
    pub(super) fn is_choice(&self) -> bool {
        self.active.len() > 1
    }

    /// How many replicas a partition has of which so many are wanted.
    pub(super) fn replicas(&self, wanted: u32) -> u32 {
        self.members.replicas(wanted)
    }

    /// Whether these nodes could each have a replica.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check_replicas(&self, replicas: &[i32]) -> Result<(), &'static str> {
        let distinct: BTreeSet<i32> = replicas.iter().copied().collect();
        if replicas.is_empty() {
            return Err("a partition has no replica");
        }
        if distinct.len() < replicas.len() {
            return Err("a partition has two replicas on one node");
        }
        let takes = |replica: &i32| u64::try_from(*replica).is_ok_and(|node| self.active.contains(&NodeId(node)));
        match replicas.iter().all(takes) {
            true => Ok(()),
            false => Err("a replica is on a node that is not there or takes none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use broker::members::NodeState;

    fn places(nodes: &Nodes) -> Vec<(i32, String)> {
        nodes.iter().map(|node| (node.id, format!("{}:{}", node.host, node.port))).collect()
    }

    #[test]
    fn a_node_that_is_alone_is_where_its_client_found_it() {
        let nodes = Nodes::of(&Fake::alone().context());
        assert_eq!(places(&nodes), [(1, "reached:1".to_owned())]);
        let mut fake = Fake::three();
        fake.members.nodes.truncate(1);
        assert_eq!(places(&Nodes::of(&fake.context())), [(1, "reached:1".to_owned())], "though it has registered");
    }

    #[test]
    fn every_node_is_where_it_registered() {
        let nodes = Nodes::of(&Fake::three().context());
        let expected = [(1, "node-1:9091"), (2, "node-2:9092"), (3, "node-3:9093")];
        assert_eq!(places(&nodes), expected.map(|(id, place)| (id, place.to_owned())));
        assert_eq!((nodes.me().id, nodes.controller()), (1, 1), "though another leads the catalog");
        assert_eq!(nodes.get(NodeId(3)).and_then(|node| node.rack.clone()), Some("rack-3".into()));
    }

    #[test]
    fn a_node_without_kafka_is_left_out_unless_it_is_the_one_reached() {
        let mut fake = Fake::three();
        fake.node(1).endpoints.clear();
        fake.node(2).endpoints.truncate(1);
        let nodes = Nodes::of(&fake.context());
        assert_eq!(places(&nodes), [(1, "reached:1".to_owned()), (3, "node-3:9093".to_owned())]);
        assert_eq!(nodes.get(NodeId(2)), None);
    }

    #[test]
    fn replicas_are_on_nodes_that_take_them() {
        let mut fake = Fake::three();
        fake.node(2).state = NodeState::Draining;
        let nodes = Nodes::of(&fake.context());
        assert_eq!([1, 3, 5].map(|wanted| nodes.replicas(wanted)), [1, 3, 3], "the one that leaves keeps its own yet");
        assert_eq!(nodes.check_replicas(&[3, 1]), Ok(()));
        for refused in [&[][..], &[1, 1], &[1, 2], &[4], &[-1]] {
            assert!(nodes.check_replicas(refused).is_err(), "{refused:?}");
        }
    }
}
