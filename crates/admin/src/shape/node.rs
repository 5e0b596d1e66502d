//! The node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The node that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Which node of its cluster.
    pub node: u64,
    /// The cluster, as Kafka spells it.
    pub cluster: String,
    /// The version of the program.
    pub version: String,
    /// When it started, in milliseconds since 1970.
    pub started: i64,
    /// For how long it has been running.
    pub uptime_seconds: f64,
    /// Where its data is.
    pub data_folder: String,
    /// The file system that the data is on; null when it cannot be asked.
    pub disk: Option<Disk>,
    /// Where it listens, by protocol.
    pub listeners: BTreeMap<String, String>,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: u32,
    /// Whether asking for a missing topic may make it.
    pub auto_create_topics: bool,
    /// How many topics there are.
    pub topics: u64,
    /// Its shards. Shard 0 is the catalog.
    pub shards: Vec<Shard>,
    /// What keeps the node from serving, a sentence each; empty when it serves.
    pub problems: Vec<String>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Bytes of it.
    pub total_bytes: u64,
    /// Bytes of it that are free for the node.
    pub free_bytes: u64,
}

/// A shard on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which.
    pub shard: u32,
    /// Whether the node leads it.
    pub leads: bool,
    /// The Raft index up to which it has applied entries.
    pub applied: u64,
    /// Streams in it: partitions, of topics.
    pub streams: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes alive in finished files, as last looked for.
    pub live_bytes: u64,
    /// The most that finished files may take.
    pub bound_bytes: u64,
    /// Whether acknowledged records may be missing here.
    pub in_doubt: bool,
    /// Ranges on disk that are known to be damaged.
    pub damaged: u64,
}

/// The states of a node's shards, to compare replicas by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStates {
    /// Which node of its cluster.
    pub node: u64,
    /// Its shards.
    pub shards: Vec<ShardState>,
}

/// The state of a shard on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardState {
    /// Which shard.
    pub shard: u32,
    /// A checksum of the state: the same on every node that has applied the same entries.
    pub checksum: u32,
}
