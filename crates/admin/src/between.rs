//! What nodes ask one another when a request is about what several of them lead: drawn in docs/formats/errand.md. In
//! JSON, but for batches.

use crate::refusal::Refusal;
use crate::shape::{Code, GroupEntry, Problem};
use bytes::Bytes;
use model::Wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A topic and a partition.
pub type Place = (String, u32);

/// What is asked about where partitions begin and end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedBounds {
    /// The partitions.
    pub places: Vec<Place>,
    /// The first record that is not older is looked for, too: milliseconds since 1970.
    pub time: Option<i64>,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Its first offset.
    pub start: u64,
    /// One past its last offset.
    pub end: u64,
    /// Where the first record is that is not older than what was asked for; the end when there is none.
    pub at: u64,
}

/// Where somebody is in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub place: Place,
    /// The next offset to consume.
    pub next: u64,
}

/// How far somebody is behind in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The partition's first offset.
    pub start: u64,
    /// One past its last offset.
    pub end: u64,
    /// Records left to consume.
    pub records: u64,
    /// The age of the next one, if it is known.
    pub millis: Option<u64>,
}

/// Groups of the shards that one node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedGroups {
    /// Those shards.
    pub shards: BTreeSet<u32>,
    /// As many of the groups as were asked for, by name.
    pub groups: Vec<GroupEntry>,
    /// Whether there are more behind them.
    pub more: bool,
}

model::wire_struct! {
    /// Batches for partitions that one node leads.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Share {
        /// Of this topic.
        pub topic: String,
        /// Whether it is enough that a majority has them in memory.
        pub in_memory: bool,
        /// Each with its partition, those of a partition in order.
        pub batches: Vec<(u32, Bytes)>,
    }
}

/// What became of a batch: the offset of its first record, or why there is none.
pub type Outcome = Result<u64, Refused>;

/// Why a batch was not written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What went wrong.
    pub problem: Problem,
    /// The record of the batch that is at fault, if one is.
    pub nth: Option<u32>,
}

impl From<Refusal> for Refused {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Refused { problem: Problem { code, message }, nth: None }
    }
}

impl Share {
    /// As it is sent.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        self.to_wire()
    }

    /// Reads what [`Share::write`] made.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Share::from_wire(bytes).map_err(|error| Refusal::new(Code::InvalidBody, error.to_string()))
    }
}

/// Reads what is in JSON.
///
/// # Errors
/// When it is something else.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::new(Code::InvalidBody, error.to_string()))
}
