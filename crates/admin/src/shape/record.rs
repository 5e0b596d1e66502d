//! Records, as they are written and read.

use super::bounded;
use super::data::Data;
use super::error::Problem;
use super::time::Time;
use model::limit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Records to write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecords {
    /// They, at most 10,000.
    #[serde(deserialize_with = "bounded::objects::<{ limit::ADMIN_RECORDS_WRITTEN_MAX }, _, _>")]
    #[schemars(length(min = 1, max = 10_000))]
    pub records: Vec<NewRecord>,
    /// How they are compressed; not at all when absent. The topic may have its own compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// When to answer; `all` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,
}

/// A record to write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// To which partition. When absent: by the key, as Kafka's clients do it, or any when there is no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The key, or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Data>,
    /// The value, or null. Null with a key removes the key from a compacted topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Data>,
    /// The headers, in order, at most 1,000.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::objects::<{ limit::ADMIN_HEADERS_MAX }, _, _>"
    )]
    #[schemars(length(max = 1_000))]
    pub headers: Vec<Header>,
    /// When it was; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
}

/// A header of a record. Names may repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The name. Read back, what is not UTF-8 in it is replaced by U+FFFD.
    pub name: String,
    /// The value, or null.
    #[serde(default)]
    pub value: Option<Data>,
}

/// A compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// When to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Acks {
    /// When the records are as durable as the topic promises: by default, a majority has them on stable
    /// storage.
    #[default]
    #[serde(rename = "all")]
    All,
    /// When a majority has them in memory; they become durable within a bounded time.
    #[serde(rename = "1")]
    One,
}

/// What became of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Of each, in the order in which they were given.
    pub records: Vec<WrittenRecord>,
    /// How many were not written.
    pub failed: u32,
}

/// What became of a record: it has an offset, or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrittenRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Why it was not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// How keys and values are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As text what is UTF-8 without control characters other than tab and the ends of lines, in base64
    /// what is not.
    #[default]
    Auto,
    /// Always as text; what is not UTF-8 is replaced by U+FFFD.
    Text,
    /// Always in base64.
    Base64,
}

/// Records read from a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Records {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The records, by offset. Offsets may have gaps.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: u64,
    /// The partition's first offset.
    pub start: u64,
    /// One past the partition's last offset.
    pub end: u64,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Its offset.
    pub offset: u64,
    /// When it was, in milliseconds since 1970; -1 when nobody said.
    pub timestamp: i64,
    /// Whose clock that was.
    pub timestamp_type: TimestampType,
    /// The key, or null.
    pub key: Option<Data>,
    /// The value, or null.
    pub value: Option<Data>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Whose clock a timestamp shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampType {
    /// The producer's.
    Create,
    /// The broker's.
    Append,
}

/// A partition whose first records were removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trimmed {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first offset that is left.
    pub start: u64,
}
