//! Consumer groups as they survive: the last generation and committed offsets.
//!
//! Who is alive is the leader's business and lives in its memory (the group coordinator in
//! `broker`); what follows from it is stored here.

use crate::command::CommittedOffset;
use crate::reply::Refusal;
use crate::table::Table;
use bytes::Bytes;
use model::{Hlc, Offset, StreamId, limit};

model::wire_struct! {
    /// A committed position.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Committed {
        /// The next offset to consume.
        pub offset: Offset,
        /// Leader epoch of the last consumed record, or -1.
        pub leader_epoch: i32,
        /// Whatever the consumer wants to remember.
        pub metadata: String,
        /// When it was committed.
        pub time: Hlc,
    }
}

/// All groups of the shard.
#[derive(Debug)]
pub struct Groups {
    pub(crate) states: Table<String, Bytes>,
    pub(crate) offsets: Table<(String, StreamId), Committed>,
}

impl Groups {
    pub(crate) fn new(states_tag: u8, offsets_tag: u8) -> Self {
        Groups { states: Table::new(states_tag), offsets: Table::new(offsets_tag) }
    }

    /// The stored generation of `group`.
    #[must_use]
    pub fn state(&self, group: &str) -> Option<&Bytes> {
        self.states.get(&group.to_owned())
    }

    /// All stored generations.
    pub fn states(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.states.iter().map(|(group, state)| (group.as_str(), state))
    }

    /// The position of `group` over `stream`.
    #[must_use]
    pub fn offset(&self, group: &str, stream: StreamId) -> Option<&Committed> {
        self.offsets.get(&(group.to_owned(), stream))
    }

    /// All positions of `group`.
    pub fn offsets<'a>(&'a self, group: &str) -> impl Iterator<Item = (StreamId, &'a Committed)> {
        let range = (group.to_owned(), StreamId(0))..=(group.to_owned(), StreamId(u64::MAX));
        self.offsets.range(range).map(|((_, stream), committed)| (*stream, committed))
    }

    pub(crate) fn save(&mut self, group: &str, state: Bytes) -> Result<(), Refusal> {
        if state.len() > limit::GROUP_BYTES_MAX {
            return Err(Refusal::LimitReached("group bytes"));
        }
        self.states.insert(group.to_owned(), state);
        Ok(())
    }

    pub(crate) fn commit(&mut self, group: &str, offsets: Vec<CommittedOffset>, time: Hlc) -> Result<(), Refusal> {
        if offsets.iter().any(|offset| offset.metadata.len() > limit::OFFSET_METADATA_BYTES_MAX) {
            return Err(Refusal::LimitReached("offset metadata"));
        }
        for CommittedOffset { stream, offset, leader_epoch, metadata } in offsets {
            self.offsets.insert((group.to_owned(), stream), Committed { offset, leader_epoch, metadata, time });
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, group: &str) {
        self.states.remove(&group.to_owned());
        let streams: Vec<StreamId> = self.offsets(group).map(|(stream, _)| stream).collect();
        for stream in streams {
            self.offsets.remove(&(group.to_owned(), stream));
        }
    }

    pub(crate) fn forget_stream(&mut self, stream: StreamId) {
        let keys: Vec<_> = self.offsets.iter().map(|(key, _)| key).filter(|key| key.1 == stream).cloned().collect();
        for key in keys {
            self.offsets.remove(&key);
        }
    }
}
