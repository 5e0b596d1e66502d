//! Topics and their partitions.

use super::config::{Configs, TopicConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Some topics, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicList {
    /// They.
    pub topics: Vec<TopicEntry>,
    /// When there are more: what to give as `after` to get them.
    pub next: Option<String>,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicEntry {
    /// Its name.
    pub name: String,
    /// Its identity, as Kafka spells it: another topic of the same name has another one.
    pub id: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Bytes of its records as they are stored, on this node.
    pub bytes: u64,
    /// Offsets between the start and the end of its partitions. Compaction leaves fewer records.
    pub records: u64,
}

/// A topic to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the node's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// How many replicas; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What it is set to.
    #[serde(default)]
    pub configs: Configs,
    /// Only say whether it could be made.
    #[serde(default)]
    pub validate_only: bool,
}

/// A topic that was made, or could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its identity; null when it was not made.
    pub id: Option<String>,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many replicas each has.
    pub replicas: u32,
    /// Whether it was only said that it could be made.
    pub validate_only: bool,
}

/// A topic in detail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its identity, as Kafka spells it.
    pub id: String,
    /// Bytes of its records as they are stored, on this node.
    pub bytes: u64,
    /// Offsets between the start and the end of its partitions.
    pub records: u64,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
    /// Everything that can be set, by name.
    pub configs: Vec<TopicConfig>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Partition {
    /// Its number.
    pub partition: u32,
    /// The node that leads it; null when nobody does.
    pub leader: Option<u64>,
    /// How often its leadership has changed hands.
    pub epoch: u32,
    /// The nodes that have it.
    pub replicas: Vec<u64>,
    /// The shard that it is in.
    pub shard: Option<u32>,
    /// The shard that it came from, while that still has records of it.
    pub older_shard: Option<u32>,
    /// The shard that it is on its way to; null when it stays where it is.
    pub moving_to: Option<u32>,
    /// The first offset; null when its leader cannot be asked.
    pub start: Option<u64>,
    /// One past the last offset; null when its leader cannot be asked.
    pub end: Option<u64>,
    /// Bytes of its records as they are stored; null when it is not on this node.
    pub bytes: Option<u64>,
}

/// Where a partition shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovePartition {
    /// The shard that it goes on in. Its records stay where they are until they expire.
    pub shard: u32,
}

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The shard that it goes on in.
    pub shard: u32,
}

/// What to change about a topic. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlterTopic {
    /// How many partitions it shall have. There are never fewer than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// What to set; `null` takes a configuration back to its default.
    #[serde(default)]
    pub configs: Configs,
    /// Only say whether it could be done.
    #[serde(default)]
    pub validate_only: bool,
}

/// A topic after it was changed, or as it would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlteredTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many of them are new.
    #[serde(default)]
    pub partitions_added: u32,
    /// What is in force of the configurations that were named.
    pub configs: BTreeMap<String, String>,
    /// Whether it was only said that it could be done.
    pub validate_only: bool,
}
