//! Consumer groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Some groups, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupList {
    /// They.
    pub groups: Vec<GroupEntry>,
    /// When there are more: what to give as `after` to get them.
    pub next: Option<String>,
    /// Shards whose groups are not among them, because nobody who leads them answers. Empty when nothing is missing.
    #[serde(default)]
    pub shards_left_out: Vec<u32>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupEntry {
    /// Its name.
    pub group: String,
    /// How it divides work.
    #[serde(rename = "type")]
    pub kind: GroupType,
    /// Where it stands.
    pub state: GroupState,
    /// What its members say it is, `consumer` for example; empty when it never had any.
    pub protocol_type: String,
}

/// How a group divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupType {
    /// Its members do it, as Kafka's groups always did.
    Classic,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// No members.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// Members wait for the leader's assignment.
    CompletingRebalance,
    /// Members have their assignment.
    Stable,
    /// Being deleted.
    Dead,
}

/// A group in detail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its name.
    pub group: String,
    /// How it divides work.
    #[serde(rename = "type")]
    pub kind: GroupType,
    /// Where it stands.
    pub state: GroupState,
    /// What its members say it is, `consumer` for example; empty when it never had any.
    pub protocol_type: String,
    /// The assignor, `range` for example; empty unless the group is stable.
    pub protocol: String,
    /// The node that coordinates it.
    pub coordinator: u64,
    /// Its members.
    pub members: Vec<Member>,
    /// Its positions, by topic and partition, and the partitions that members have without one.
    pub offsets: Vec<GroupOffset>,
    /// How many more positions there are than an answer holds.
    #[serde(default)]
    pub offsets_left_out: u64,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its id.
    pub member: String,
    /// Its static id, if it has one.
    pub instance: Option<String>,
    /// The name its client gives itself.
    pub client_id: String,
    /// Where its client is.
    pub client_host: String,
    /// What it was assigned; null when that is not known, or not in the form of Kafka's consumers.
    pub assignment: Option<Vec<Assignment>>,
}

/// Partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// The topic.
    pub topic: String,
    /// The partitions.
    pub partitions: Vec<u32>,
}

/// A position of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset to consume; null when nothing was committed.
    pub committed: Option<u64>,
    /// When that was committed, in milliseconds since 1970.
    pub committed_at: Option<i64>,
    /// What the consumer wanted to remember with it.
    pub metadata: String,
    /// The partition's first offset; null when its leader cannot be asked.
    pub start: Option<u64>,
    /// One past the partition's last offset; null when its leader cannot be asked.
    pub end: Option<u64>,
    /// Records left to consume; null when unknown.
    pub lag: Option<u64>,
    /// The age of the next record to be consumed, by the greatest timestamp of its batch, or of the small
    /// batches that the index has it in one place with: 0 when there is none, null when unknown.
    pub lag_seconds: Option<f64>,
    /// The member that the partition is assigned to.
    pub member: Option<String>,
}
