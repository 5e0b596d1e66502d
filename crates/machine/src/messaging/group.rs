//! Consumer groups as they survive: the last generation and committed offsets.
//!
//! Who is alive is the leader's business and lives in its memory (the group coordinator in
//! `broker`); what follows from it is stored here.

use crate::command::CommittedOffset;
use crate::refusal::{Limit, Refusal};
use crate::table::Table;
use bytes::Bytes;
use model::{Hlc, Offset, StreamId, Timestamp, limit};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Every group, with its number of positions; made from the tables.
    positions: BTreeMap<String, usize>,
    /// The groups with a position over a stream; made from the table.
    by_stream: BTreeMap<StreamId, BTreeSet<String>>,
}

impl Groups {
    pub(crate) fn new(states_tag: u8, offsets_tag: u8) -> Self {
        Groups {
            states: Table::new(states_tag),
            offsets: Table::new(offsets_tag),
            positions: BTreeMap::new(),
            by_stream: BTreeMap::new(),
        }
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
        self.offsets_from(group, StreamId(0))
    }

    /// Its positions over `first` and the streams after it.
    pub fn offsets_from<'a>(&'a self, group: &str, first: StreamId) -> impl Iterator<Item = (StreamId, &'a Committed)> {
        let range = (group.to_owned(), first)..=(group.to_owned(), StreamId(u64::MAX));
        self.offsets.range(range).map(|((_, stream), committed)| (*stream, committed))
    }

    /// How many positions `group` has.
    #[must_use]
    pub fn position_count(&self, group: &str) -> usize {
        self.positions.get(group).copied().unwrap_or(0)
    }

    /// The groups that have positions, ascending.
    pub fn with_offsets(&self) -> impl Iterator<Item = &str> {
        self.positions.iter().filter(|(_, positions)| **positions > 0).map(|(group, _)| group.as_str())
    }

    pub(crate) fn save(&mut self, group: &str, state: Bytes) -> Result<(), Refusal> {
        if state.len() > limit::GROUP_BYTES_MAX {
            return Err(Refusal::LimitReached(Limit::GroupBytes));
        }
        self.check_group(group)?;
        self.positions.entry(group.to_owned()).or_default();
        self.states.insert(group.to_owned(), state);
        Ok(())
    }

    /// Commits all of `offsets` or none.
    pub(crate) fn commit(&mut self, group: &str, offsets: Vec<CommittedOffset>, time: Hlc) -> Result<(), Refusal> {
        if offsets.is_empty() {
            return Ok(());
        }
        if offsets.iter().any(|offset| offset.metadata.len() > limit::OFFSET_METADATA_BYTES_MAX) {
            return Err(Refusal::LimitReached(Limit::OffsetMetadata));
        }
        self.check_group(group)?;
        let new = offsets.iter().map(|offset| offset.stream).filter(|stream| self.offset(group, *stream).is_none());
        let new: BTreeSet<StreamId> = new.collect();
        let positions = self.positions.get(group).copied().unwrap_or(0) + new.len();
        if positions > limit::GROUP_POSITIONS_MAX {
            return Err(Refusal::LimitReached(Limit::GroupPositions));
        }
        self.positions.insert(group.to_owned(), positions);
        for stream in new {
            self.by_stream.entry(stream).or_default().insert(group.to_owned());
        }
        for CommittedOffset { stream, offset, leader_epoch, metadata } in offsets {
            self.offsets.insert((group.to_owned(), stream), Committed { offset, leader_epoch, metadata, time });
        }
        Ok(())
    }

    /// Whether there is such a group, or may be one.
    fn check_group(&self, group: &str) -> Result<(), Refusal> {
        if group.len() > limit::GROUP_NAME_BYTES_MAX {
            return Err(Refusal::LimitReached(Limit::GroupNameBytes));
        }
        if self.positions.len() >= limit::GROUPS_MAX && !self.positions.contains_key(group) {
            return Err(Refusal::LimitReached(Limit::Groups));
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, group: &str) {
        let streams: Vec<StreamId> = self.offsets(group).map(|(stream, _)| stream).collect();
        for stream in streams {
            self.delete_offset(group, stream);
        }
        self.states.remove(&group.to_owned());
        self.positions.remove(group);
    }

    /// Forgets the positions over `streams`, those that there are and that were not committed after
    /// `until`.
    pub(crate) fn delete_offsets(&mut self, group: &str, streams: &[StreamId], until: Option<Timestamp>) {
        for stream in streams {
            let Some(committed) = self.offset(group, *stream) else { continue };
            if until.is_none_or(|until| committed.time.timestamp() <= until) {
                self.delete_offset(group, *stream);
                self.count_down(group);
            }
        }
    }

    fn delete_offset(&mut self, group: &str, stream: StreamId) {
        self.offsets.remove(&(group.to_owned(), stream));
        if let Some(groups) = self.by_stream.get_mut(&stream) {
            groups.remove(group);
            if groups.is_empty() {
                self.by_stream.remove(&stream);
            }
        }
    }

    /// One position less. A group is its generation and its positions: without either there is none.
    fn count_down(&mut self, group: &str) {
        if let Some(positions) = self.positions.get_mut(group) {
            *positions -= 1;
            if *positions == 0 && self.state(group).is_none() {
                self.positions.remove(group);
            }
        }
    }

    /// Forgets positions over `stream`, at most `left` of them, which it counts down. Returns
    /// whether none is left.
    pub(crate) fn forget_stream(&mut self, stream: StreamId, left: &mut usize) -> bool {
        while *left > 0
            && let Some(group) = self.by_stream.get(&stream).and_then(|groups| groups.first()).cloned()
        {
            *left -= 1;
            self.delete_offset(&group, stream);
            self.count_down(&group);
        }
        !self.by_stream.contains_key(&stream)
    }

    /// Makes what is derived from the tables.
    pub(crate) fn rebuild(&mut self) {
        self.positions = self.states.iter().map(|(group, _)| (group.clone(), 0)).collect();
        self.by_stream.clear();
        for ((group, stream), _) in self.offsets.iter() {
            *self.positions.entry(group.clone()).or_default() += 1;
            self.by_stream.entry(*stream).or_default().insert(group.clone());
        }
    }
}
