//! The nodes of a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The nodes of a cluster, as the node that answers knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// The node that answers.
    pub node: u64,
    /// The version of what nodes write for one another that is in force: the newest that all of them know.
    pub cluster_version: u32,
    /// The node that leads the catalog; null while that is not known.
    pub controller: Option<u64>,
    /// They, by number.
    pub nodes: Vec<ClusterNode>,
}

/// A node of a cluster. Of shards that are not on the node that answers, and whose leaders do not answer it, there is
/// nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterNode {
    /// Which.
    pub node: u64,
    /// What it is good for.
    pub state: NodeState,
    /// What it shares with nodes that are likely to fail together with it; null when nobody has said.
    pub rack: Option<String>,
    /// The newest such version that it knows.
    pub cluster_version_max: u32,
    /// Where other nodes connect, HOST:PORT; null when it is alone.
    pub peer: Option<String>,
    /// Where clients connect, HOST:PORT, by protocol.
    pub endpoints: BTreeMap<String, String>,
    /// The shards that it leads. Shard 0 is the catalog.
    pub leads: Vec<u32>,
    /// Its replicas, by shard.
    pub replicas: Vec<Replica>,
    /// While it drains, the shards in which it keeps its part because no other node can have it: it is not emptied
    /// before another node joins.
    #[serde(default)]
    pub keeps: Vec<u32>,
}

/// What to change about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlterNode {
    /// What it shall be good for: active, draining, or removed for ever.
    pub state: NodeState,
}

/// Whether a node can be stopped without anybody noticing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestartSafety {
    /// The node that answers, about itself.
    pub node: u64,
    /// Whether it can.
    pub safe: bool,
    /// What speaks against it, a sentence each; empty when nothing does.
    pub hindrances: Vec<String>,
}

/// What a node is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has replicas, and gets more.
    Active,
    /// It gives its replicas away.
    Draining,
    /// It has left the cluster.
    Removed,
}

/// A replica of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    /// Which shard.
    pub shard: u32,
    /// Whether it counts for the majority that every write needs. One that does not follows, and may be on its way
    /// to be counted.
    pub voter: bool,
    /// Entries of the shard that it lacks; null where that is not known: only the shard's leader does.
    pub behind: Option<u64>,
    /// Where it copies from the leader what that has forgotten the log of: how far it is. Null when it does not, and
    /// where that is not known: the shard's leader knows, and the node itself.
    pub copying: Option<Copying>,
}

/// How far a replica is with what it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Copying {
    /// Bytes that it has.
    pub copied_bytes: u64,
    /// Bytes that there are.
    pub total_bytes: u64,
}
