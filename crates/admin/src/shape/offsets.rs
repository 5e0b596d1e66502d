//! Moving and forgetting a group's positions.

use super::bounded;
use super::time::Time;
use model::limit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where to move a group's positions. The group must have no members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveOffsets {
    /// Which; all that the group has positions over when absent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_objects::<{ limit::ADMIN_TOPICS_NAMED_MAX }, _, _>"
    )]
    #[schemars(length(max = 1_000))]
    pub topics: Option<Vec<TopicPartitions>>,
    /// Where to.
    pub to: Target,
    /// Make the group if there is none; `topics` says what of, then.
    #[serde(default)]
    pub create: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: String,
    /// The partitions; all of the topic's when absent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_list::<{ limit::TOPIC_PARTITIONS_MAX as usize }, _, _>"
    )]
    #[schemars(length(max = 10_000))]
    pub partitions: Option<Vec<u32>>,
}

/// Where to move a position. What lies outside the partition becomes its start or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// To the partition's first record.
    Earliest,
    /// Behind the partition's last record.
    Latest,
    /// Where it is, but inside of the partition.
    Current,
    /// To an offset.
    Offset(u64),
    /// To the first record at or after a time; behind the last one when there is none.
    Timestamp(Time),
    /// So many records on, or back when negative.
    ShiftBy(i64),
}

/// What became of positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedOffsets {
    /// The group.
    pub group: String,
    /// Whether it was only said what would be done.
    pub dry_run: bool,
    /// Each, by topic and partition.
    pub offsets: Vec<MovedOffset>,
}

/// What became of a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Where it was; null when there was none.
    pub old: Option<u64>,
    /// Where it is.
    pub new: u64,
    /// The partition's first offset.
    pub start: u64,
    /// One past the partition's last offset.
    pub end: u64,
}

/// Positions that were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedOffsets {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partitions.
    pub partitions: Vec<u32>,
}
