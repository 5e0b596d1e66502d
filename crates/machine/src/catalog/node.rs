//! A node of the cluster, and all that there are or were.

use crate::refusal::{Fault, Limit, Refusal};
use crate::table::Table;
use bytes::Bytes;
use model::{Incarnation, NodeId, limit};

model::wire_enum! {
    /// What a node is for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum NodeState {
        /// It takes replicas.
        1 = Active,
        /// It keeps what it has until that is elsewhere. Whoever places replicas gives it no new ones.
        2 = Draining,
        /// It is none any more, for ever. It is remembered for its id not to be given again.
        3 = Removed,
    }
}

model::wire_struct! {
    /// Where a node is reached by one protocol. Both texts are visible ASCII of 1 to
    /// [`limit::NODE_NAME_BYTES_MAX`] bytes, which the catalog has checked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Endpoint {
        /// Which protocol: `kafka`, `http`, or `peer` for other nodes.
        pub protocol: Bytes,
        /// A host's name or address, as clients are told.
        pub host: Bytes,
        /// The port, never 0.
        pub port: u16,
    }
}

impl Endpoint {
    fn is_sound(&self) -> bool {
        let is_name = |text: &[u8]| {
            (1..=limit::NODE_NAME_BYTES_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
        };
        is_name(&self.protocol) && is_name(&self.host) && self.port != 0
    }
}

model::wire_struct! {
    /// A node as it described itself.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Node {
        /// The data folder that the id was given to.
        pub incarnation: Incarnation,
        /// What it is for.
        pub state: NodeState,
        /// Where other nodes reach it.
        pub peer: Endpoint,
        /// Where clients reach it. Nothing when it was removed.
        pub endpoints: Vec<Endpoint>,
        /// Where it stands: text of 1 to [`limit::NODE_NAME_BYTES_MAX`] bytes. Nothing when it was removed.
        pub rack: Option<Bytes>,
        /// The newest behaviour it knows: see [`VERSION_MAX`](crate::machine::VERSION_MAX).
        pub version: u16,
    }
}

impl Node {
    /// Looks at what it says of itself; `version` is the behaviour in force.
    fn check(&self, version: u32) -> Result<(), Refusal> {
        if u32::from(self.version) < version {
            return Err(Refusal::TooOld);
        }
        if self.endpoints.len() > limit::ENDPOINTS_MAX {
            return Err(Refusal::LimitReached(Limit::Endpoints));
        }
        if !self.peer.is_sound() || !self.endpoints.iter().all(Endpoint::is_sound) {
            return Err(Refusal::Invalid(Fault::Endpoint));
        }
        if self.rack.as_ref().is_some_and(|rack| !is_text(rack)) {
            return Err(Refusal::Invalid(Fault::Rack));
        }
        Ok(())
    }
}

fn is_text(bytes: &[u8]) -> bool {
    (1..=limit::NODE_NAME_BYTES_MAX).contains(&bytes.len())
        && std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control))
}

/// All nodes that there are or were, by id. A row is never taken out: so no id is given twice.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) rows: Table<NodeId, Node>,
}

impl Nodes {
    pub(super) fn new(tag: u8) -> Self {
        Nodes { rows: Table::new(tag) }
    }

    /// The id of a new node, or of one that asks again because it did not get the answer, and may be elsewhere by
    /// now.
    pub(super) fn allocate(&mut self, node: Node, wanted: Option<NodeId>, version: u32) -> Result<NodeId, Refusal> {
        let known = self.rows.iter().find(|(_, known)| known.incarnation == node.incarnation).map(|(id, _)| *id);
        if let Some(id) = known {
            return self.update(id, node, version).map(|()| id);
        }
        node.check(version)?;
        if self.rows.len() >= limit::NODE_ROWS_MAX {
            return Err(Refusal::LimitReached(Limit::NodeRows));
        }
        if self.rows.iter().filter(|(_, node)| node.state != NodeState::Removed).count() >= limit::NODES_MAX {
            return Err(Refusal::LimitReached(Limit::Nodes));
        }
        let id = wanted.unwrap_or_else(|| self.next());
        if !(1..=limit::NODE_ID_MAX).contains(&id.0) || self.rows.get(&id).is_some() {
            return Err(Refusal::NodeIdTaken);
        }
        self.rows.insert(id, node);
        Ok(id)
    }

    /// The id after the last one. Where somebody wanted the greatest that there is, the first that is free: one
    /// is, since there are more ids than rows.
    fn next(&self) -> NodeId {
        let last = self.rows.iter().next_back().map_or(0, |(last, _)| last.0);
        let free = |id: &NodeId| self.rows.get(id).is_none();
        (last + 1..=limit::NODE_ID_MAX).chain(1..=limit::NODE_ID_MAX).map(NodeId).find(free).unwrap_or(NodeId(0))
    }

    /// Puts down what a node says of itself now.
    pub(super) fn update(&mut self, id: NodeId, node: Node, version: u32) -> Result<(), Refusal> {
        let known = self.rows.get(&id).ok_or(Refusal::UnknownNode)?;
        if known.incarnation != node.incarnation {
            return Err(Refusal::OtherIncarnation);
        }
        if known.state == NodeState::Removed {
            return Err(Refusal::NodeRemoved);
        }
        node.check(version)?;
        let state = known.state;
        self.rows.insert(id, Node { state, ..node });
        Ok(())
    }

    pub(super) fn set_state(&mut self, id: NodeId, state: NodeState) -> Result<(), Refusal> {
        let known = self.rows.get(&id).ok_or(Refusal::UnknownNode)?.state;
        if known == NodeState::Removed && state != NodeState::Removed {
            return Err(Refusal::NodeRemoved);
        }
        if let Some(node) = self.rows.get_mut(&id) {
            node.state = state;
            if state == NodeState::Removed {
                // There may be thousands of these rows, and nobody connects to them.
                node.endpoints = Vec::new();
                node.rack = None;
            }
        }
        Ok(())
    }

    /// Whether the node can have a replica.
    pub(super) fn check_replica(&self, id: NodeId) -> Result<(), Refusal> {
        match self.rows.get(&id) {
            None => Err(Refusal::UnknownNode),
            Some(node) if node.state == NodeState::Removed => Err(Refusal::NodeRemoved),
            Some(_) => Ok(()),
        }
    }
}
