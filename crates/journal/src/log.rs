//! The Raft log as the journal remembers it: for every entry above the floor, where it is.

use crate::frame::Kind;
use crate::manifest::LogPosition;
use bytes::Bytes;
use std::collections::VecDeque;

/// A Raft entry to append or as read back.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its place.
    pub at: LogPosition,
    /// What it is: one of the kinds that are entries.
    pub kind: Kind,
    /// Meta, then body.
    pub payload: Bytes,
    /// How many of the payload's first bytes are meta.
    pub meta_bytes: u32,
}

/// Where a written entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log file.
    pub sequence: u64,
    /// Where its frame starts.
    pub position: u64,
}

/// What is remembered of an entry.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its term.
    pub term: u64,
    /// What it is.
    pub kind: Kind,
    /// Bytes of meta.
    pub meta_bytes: u32,
    /// Bytes of body.
    pub body_bytes: u32,
    /// Where it is, once written.
    pub place: Option<Place>,
    /// Its bytes, while they are in memory.
    pub cached: Option<Bytes>,
    /// Tells it from an earlier entry with the same index that it replaced.
    pub ticket: u64,
    /// Whether it is on stable storage.
    pub flushed: bool,
}

impl Slot {
    /// Stands for an entry that damage took and that nobody asks for: it is in no file. Up to the floor
    /// its term is a guess; above it, the entry is skipped.
    #[must_use]
    pub fn lost(term: u64, ticket: u64) -> Self {
        let (kind, meta_bytes, body_bytes) = (Kind::Blank, 0, 0);
        Slot { term, kind, meta_bytes, body_bytes, place: None, cached: None, ticket, flushed: true }
    }

    /// Whether damage took the entry.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.place.is_none() && self.flushed
    }
}

/// The slots of consecutive entries.
#[derive(Debug, Default)]
pub struct EntryLog {
    /// The entry before the first slot.
    before: LogPosition,
    slots: VecDeque<Slot>,
    /// No slot below this index has cached bytes.
    cached_from: u64,
}

impl EntryLog {
    /// An empty log whose first entry will follow `before`.
    #[must_use]
    pub fn new(before: LogPosition) -> Self {
        EntryLog { before, slots: VecDeque::new(), cached_from: before.index + 1 }
    }

    /// Whether there is no slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Index of the first slot, or of the one to come.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.before.index + 1
    }

    /// The last entry; the one before the first slot when there is none.
    #[must_use]
    pub fn last(&self) -> LogPosition {
        match self.slots.back() {
            Some(slot) => LogPosition { term: slot.term, index: self.before.index + self.slots.len() as u64 },
            None => self.before,
        }
    }

    /// The slot of entry `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first_index())?).ok()?)
    }

    /// The slot of entry `index`.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let nth = usize::try_from(index.checked_sub(self.first_index())?).ok()?;
        self.slots.get_mut(nth)
    }

    /// Of the entries from `first` to `last`, the last of each term.
    #[must_use]
    pub fn term_ends(&self, first: u64, last: u64) -> Vec<LogPosition> {
        let mut ends: Vec<LogPosition> = Vec::new();
        for index in first..=last {
            let Some(slot) = self.get(index) else { continue };
            let position = LogPosition { term: slot.term, index };
            match ends.last_mut().filter(|end| end.term == slot.term) {
                Some(end) => *end = position,
                None => ends.push(position),
            }
        }
        ends
    }

    /// Adds the entry that follows the last.
    ///
    /// # Panics
    /// When `index` does not follow: Raft appends without holes.
    pub fn push(&mut self, index: u64, slot: Slot) {
        assert_eq!(index, self.last().index + 1, "entries are appended without holes");
        self.slots.push_back(slot);
    }

    /// Forgets entries above `index`; returns bytes no longer cached.
    pub fn truncate_after(&mut self, index: u64) -> usize {
        let keep = index.saturating_sub(self.before.index) as usize;
        self.cached_from = self.cached_from.min(index + 1);
        let mut freed = 0;
        while self.slots.len() > keep {
            freed += self.slots.pop_back().and_then(|slot| slot.cached).map_or(0, |bytes| bytes.len());
        }
        freed
    }

    /// Takes away the entries above `index`.
    pub fn take_after(&mut self, index: u64) -> VecDeque<Slot> {
        let keep = index.saturating_sub(self.before.index) as usize;
        self.cached_from = self.cached_from.min(index + 1);
        self.slots.split_off(keep.min(self.slots.len()))
    }

    /// Forgets entries up to `index`; returns bytes no longer cached.
    pub fn drop_to(&mut self, index: u64) -> usize {
        let mut freed = 0;
        while self.before.index < index
            && let Some(slot) = self.slots.pop_front()
        {
            self.before = LogPosition { term: slot.term, index: self.before.index + 1 };
            freed += slot.cached.map_or(0, |bytes| bytes.len());
        }
        freed
    }

    /// Drops cached bytes of the oldest entries that `evictable` allows, until `enough` of them are
    /// freed; stops at the first entry that must stay. Returns bytes freed.
    pub fn evict(&mut self, enough: usize, evictable: impl Fn(u64, &Slot) -> bool) -> usize {
        let mut freed = 0;
        let mut index = self.cached_from.max(self.first_index());
        while freed < enough {
            let Some(slot) = self.get_mut(index) else { break };
            if slot.cached.is_some() {
                if !evictable(index, slot) {
                    break;
                }
                freed += slot.cached.take().map_or(0, |bytes| bytes.len());
            }
            index += 1;
        }
        self.cached_from = index;
        freed
    }

    /// Bytes the slots take in memory, cached bytes not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(term: u64) -> Slot {
        Slot {
            term,
            kind: Kind::Entry,
            meta_bytes: 0,
            body_bytes: 10,
            place: None,
            cached: Some(Bytes::from_static(b"0123456789")),
            ticket: 0,
            flushed: true,
        }
    }

    #[test]
    fn entries_come_and_go_at_both_ends() {
        let mut log = EntryLog::new(LogPosition { term: 1, index: 10 });
        assert_eq!(log.last(), LogPosition { term: 1, index: 10 });
        for index in 11..=20 {
            log.push(index, slot(2));
        }
        assert_eq!(log.truncate_after(18), 20);
        assert_eq!(log.drop_to(12), 20);
        assert_eq!((log.first_index(), log.last().index), (13, 18));
        assert!(log.get(12).is_none() && log.get(13).is_some() && log.get(19).is_none());
        assert_eq!(log.drop_to(30), 60);
        assert_eq!(log.last(), LogPosition { term: 2, index: 18 }, "what was dropped is still the last");
    }

    #[test]
    fn eviction_stops_at_the_first_entry_that_must_stay() {
        let mut log = EntryLog::new(LogPosition::default());
        for index in 1..=5 {
            log.push(index, slot(1));
        }
        assert_eq!(log.evict(usize::MAX, |index, _| index != 3), 20);
        assert_eq!(log.evict(usize::MAX, |_, _| true), 30);
        assert_eq!(log.evict(usize::MAX, |_, _| true), 0);
    }
}
