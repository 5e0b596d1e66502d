//! Deduplication by message id within a window of time.

use crate::table::Table;
use bytes::Bytes;
use model::{Hlc, Offset, StreamId, Timestamp, limit};
use std::collections::{BTreeMap, BTreeSet};

model::wire_struct! {
    /// Where a message id was seen, and until when that counts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seen {
        /// Offset of the message.
        pub base: Offset,
        /// From when on the id is free again.
        pub until: Timestamp,
    }
}

/// The message ids of all streams.
#[derive(Debug)]
pub struct Dedup {
    pub(crate) ids: Table<(StreamId, Bytes), Seen>,
    /// The same by the time they expire; made from the table.
    expiry: BTreeSet<(Timestamp, StreamId, Bytes)>,
    /// Ids by stream; made from the table.
    counts: BTreeMap<StreamId, usize>,
}

impl Dedup {
    pub(crate) fn new(tag: u8) -> Self {
        Dedup { ids: Table::new(tag), expiry: BTreeSet::new(), counts: BTreeMap::new() }
    }

    /// Where `id` was seen on `stream`, if that still counts at `now`.
    #[must_use]
    pub fn find(&self, stream: StreamId, id: &Bytes, now: Hlc) -> Option<Offset> {
        let seen = self.ids.get(&(stream, id.clone()))?;
        (seen.until > now.timestamp()).then_some(seen.base)
    }

    /// Whether one more id of `stream` can be remembered.
    #[must_use]
    pub fn has_room(&self, stream: StreamId) -> bool {
        self.counts.get(&stream).is_none_or(|count| *count < limit::DEDUP_IDS_MAX)
    }

    pub(crate) fn remember(&mut self, stream: StreamId, id: &Bytes, base: Offset, until: Timestamp) {
        self.forget(stream, id);
        self.ids.insert((stream, id.clone()), Seen { base, until });
        self.index(stream, id.clone(), until);
    }

    fn index(&mut self, stream: StreamId, id: Bytes, until: Timestamp) {
        self.expiry.insert((until, stream, id));
        *self.counts.entry(stream).or_default() += 1;
    }

    fn forget(&mut self, stream: StreamId, id: &Bytes) {
        let key = (stream, id.clone());
        let Some(until) = self.ids.get(&key).map(|seen| seen.until) else { return };
        self.ids.remove(&key);
        self.expiry.remove(&(until, key.0, key.1));
        if let Some(count) = self.counts.get_mut(&stream) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&stream);
            }
        }
    }

    /// Forgets ids whose window is over.
    pub(crate) fn expire(&mut self, now: Hlc) {
        while let Some((until, stream, id)) = self.expiry.first().cloned() {
            if until > now.timestamp() {
                break;
            }
            self.forget(stream, &id);
        }
    }

    /// When the next id's window is over.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(until, _, _)| *until)
    }

    pub(crate) fn forget_stream(&mut self, stream: StreamId) {
        let range = (stream, Bytes::new())..(StreamId(stream.0 + 1), Bytes::new());
        let ids: Vec<Bytes> = self.ids.range(range).map(|((_, id), _)| id.clone()).collect();
        for id in ids {
            self.forget(stream, &id);
        }
    }

    /// Makes what is derived from the table.
    pub(crate) fn rebuild(&mut self) {
        self.expiry.clear();
        self.counts.clear();
        let rows: Vec<_> = self.ids.iter().map(|((stream, id), seen)| (*stream, id.clone(), seen.until)).collect();
        for (stream, id, until) in rows {
            self.index(stream, id, until);
        }
    }
}
