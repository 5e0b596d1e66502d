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
    /// Each stream's ids by the time they expire; made from the table.
    by_expiry: BTreeMap<StreamId, BTreeSet<(Timestamp, Bytes)>>,
    /// The streams by the time their first id expires; made from the table.
    firsts: BTreeSet<(Timestamp, StreamId)>,
    /// A known fault: see [`Dedup::expire_as_a_hash_map_says`].
    #[cfg(feature = "canary")]
    pub(crate) iterates_over_hash_map: bool,
}

impl Dedup {
    pub(crate) fn new(tag: u8) -> Self {
        Dedup {
            ids: Table::new(tag),
            by_expiry: BTreeMap::new(),
            firsts: BTreeSet::new(),
            #[cfg(feature = "canary")]
            iterates_over_hash_map: false,
        }
    }

    /// Where `id` was seen on `stream`, if that still counts at `now`.
    #[must_use]
    pub fn find(&self, stream: StreamId, id: &Bytes, now: Hlc) -> Option<Offset> {
        let seen = self.ids.get(&(stream, id.clone()))?;
        (seen.until > now.timestamp()).then_some(seen.base)
    }

    /// Where `id` was seen on `stream`, whether or not that still counts.
    #[must_use]
    pub(crate) fn last_seen(&self, stream: StreamId, id: &Bytes) -> Option<Offset> {
        self.ids.get(&(stream, id.clone())).map(|seen| seen.base)
    }

    /// The ids of `stream`, ascending.
    pub(crate) fn of_stream(&self, stream: StreamId) -> impl Iterator<Item = (&Bytes, &Seen)> {
        let of_it = self.ids.range((stream, Bytes::new())..).take_while(move |((of, _), _)| *of == stream);
        of_it.map(|((_, id), seen)| (id, seen))
    }

    /// Whether one more id of `stream` can be remembered at `now`, behind `ahead` others. Expired
    /// ones take no room: they go when theirs is needed.
    #[must_use]
    pub fn has_room(&self, stream: StreamId, ahead: usize, now: Hlc) -> bool {
        let Some(ids) = self.by_expiry.get(&stream) else { return ahead < limit::DEDUP_IDS_MAX };
        let Some(over) = (ids.len() + ahead).checked_sub(limit::DEDUP_IDS_MAX) else { return true };
        ids.iter().nth(over).is_some_and(|(until, _)| *until <= now.timestamp())
    }

    /// Remembers `id`, for which there is room.
    pub(crate) fn remember(&mut self, stream: StreamId, id: &Bytes, base: Offset, until: Timestamp) {
        self.forget(stream, id);
        if let Some(ids) = self.by_expiry.get(&stream)
            && ids.len() >= limit::DEDUP_IDS_MAX
            && let Some((_, oldest)) = ids.first().cloned()
        {
            self.forget(stream, &oldest);
        }
        self.ids.insert((stream, id.clone()), Seen { base, until });
        self.index(stream, |ids| ids.insert((until, id.clone())));
    }

    fn forget(&mut self, stream: StreamId, id: &Bytes) {
        let key = (stream, id.clone());
        let Some(until) = self.ids.get(&key).map(|seen| seen.until) else { return };
        self.ids.remove(&key);
        self.index(stream, |ids| ids.remove(&(until, key.1)));
    }

    /// Changes a stream's ids by expiry, and its place among the streams with them.
    fn index(&mut self, stream: StreamId, change: impl FnOnce(&mut BTreeSet<(Timestamp, Bytes)>) -> bool) {
        let ids = self.by_expiry.entry(stream).or_default();
        let before = ids.first().map(|(until, _)| *until);
        change(ids);
        let after = ids.first().map(|(until, _)| *until);
        if after.is_none() {
            self.by_expiry.remove(&stream);
        }
        if before == after {
            return;
        }
        if let Some(until) = before {
            self.firsts.remove(&(until, stream));
        }
        if let Some(until) = after {
            self.firsts.insert((until, stream));
        }
    }

    /// Forgets ids whose window is over, at most `left` of them, which it counts down.
    pub(crate) fn expire(&mut self, now: Hlc, left: &mut usize) {
        #[cfg(feature = "canary")]
        if self.iterates_over_hash_map {
            return self.expire_as_a_hash_map_says(now);
        }
        while *left > 0
            && let Some((until, stream)) = self.firsts.first().copied()
            && until <= now.timestamp()
            && self.forget_first(stream)
        {
            *left -= 1;
        }
    }

    /// Forgets one id whose window is over: the first that iterating over a hash map shows. Each
    /// replica sees another one first.
    #[cfg(feature = "canary")]
    #[expect(clippy::disallowed_types, reason = "the fault that the simulator has to find")]
    fn expire_as_a_hash_map_says(&mut self, now: Hlc) {
        let expired = self.ids.iter().filter(|(_, seen)| seen.until <= now.timestamp());
        let expired: std::collections::HashMap<_, ()> = expired.map(|(key, _)| (key.clone(), ())).collect();
        if let Some(((stream, id), ())) = expired.into_iter().next() {
            self.forget(stream, &id);
        }
    }

    /// When the next id's window is over.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.firsts.first().map(|(until, _)| *until)
    }

    /// Forgets ids of `stream`, at most `left` of them, which it counts down. Returns whether none
    /// is left.
    pub(crate) fn forget_stream(&mut self, stream: StreamId, left: &mut usize) -> bool {
        while *left > 0 && self.forget_first(stream) {
            *left -= 1;
        }
        !self.by_expiry.contains_key(&stream)
    }

    /// Forgets the stream's id that expires first; returns whether there was one.
    fn forget_first(&mut self, stream: StreamId) -> bool {
        let first = self.by_expiry.get(&stream).and_then(|ids| ids.first()).map(|(_, id)| id.clone());
        if let Some(id) = &first {
            self.forget(stream, id);
        }
        first.is_some()
    }

    /// Makes what is derived from the table.
    pub(crate) fn rebuild(&mut self) {
        self.by_expiry.clear();
        for ((stream, id), seen) in self.ids.iter() {
            self.by_expiry.entry(*stream).or_default().insert((seen.until, id.clone()));
        }
        let first = |(stream, ids): (&StreamId, &BTreeSet<(Timestamp, Bytes)>)| Some((ids.first()?.0, *stream));
        self.firsts = self.by_expiry.iter().filter_map(first).collect();
    }
}
