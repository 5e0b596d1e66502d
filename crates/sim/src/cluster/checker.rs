//! What clients were told, against what is there in the end. Shares nothing with the broker but the
//! form of a record.

use journal::Slice;
use model::record::Message;
use model::{Offset, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one stream.
#[derive(Debug, Default)]
struct Known {
    asked: BTreeSet<u64>,
    denied: BTreeSet<u64>,
    /// Record number by the offset that was acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    /// Record number by the offset at which somebody read it.
    seen: BTreeMap<u64, u64>,
    /// Nobody has ever asked to trim beyond this.
    trimmed_to: u64,
}

/// Everything that clients were told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: BTreeMap<StreamId, Known>,
    violations: Vec<String>,
}

impl Ledger {
    pub(super) fn asked(&mut self, stream: StreamId, id: u64) {
        self.streams.entry(stream).or_default().asked.insert(id);
    }

    pub(super) fn denied(&mut self, stream: StreamId, id: u64) {
        self.streams.entry(stream).or_default().denied.insert(id);
    }

    pub(super) fn acknowledged(&mut self, stream: StreamId, id: u64, base: Offset) {
        let before = self.streams.entry(stream).or_default().acknowledged.insert(base.0, id);
        if let Some(before) = before {
            self.violations.push(format!("{stream} {base}: acknowledged for {before} and for {id}"));
        }
    }

    pub(super) fn seen(&mut self, stream: StreamId, offset: u64, id: u64) {
        let before = self.streams.entry(stream).or_default().seen.insert(offset, id);
        if let Some(before) = before.filter(|before| *before != id) {
            self.violations.push(format!("{stream} @{offset}: read as {before} and as {id}"));
        }
    }

    pub(super) fn may_trim(&mut self, stream: StreamId, to: Offset) {
        let known = self.streams.entry(stream).or_default();
        known.trimmed_to = known.trimmed_to.max(to.0);
    }

    pub(super) fn acknowledged_span(&self, stream: StreamId) -> Option<(u64, u64)> {
        let known = self.streams.get(&stream)?;
        Some((*known.acknowledged.first_key_value()?.0, *known.acknowledged.last_key_value()?.0))
    }

    pub(super) fn count(&self) -> u64 {
        self.streams.values().map(|known| known.acknowledged.len() as u64).sum()
    }

    /// Compares with what a replica has in the end. `may_lose` when enough replicas lost power at
    /// once that records acknowledged from memory may be gone.
    pub(super) fn compare(
        &self,
        who: &str,
        stream: StreamId,
        start: u64,
        end: u64,
        found: &BTreeMap<u64, u64>,
        may_lose: bool,
    ) -> Vec<String> {
        let mut wrong = self.violations.clone();
        let mut say = |what: String| wrong.push(format!("{who} {stream}: {what}"));
        let nothing = Known::default();
        let known = self.streams.get(&stream).unwrap_or(&nothing);
        if start > known.trimmed_to {
            say(format!("starts at {start}, nobody trimmed beyond {}", known.trimmed_to));
        }
        for offset in start..end {
            if !found.contains_key(&offset) {
                say(format!("gap at {offset} of {start}..{end}"));
            }
        }
        let mut ids = BTreeMap::new();
        for (offset, id) in found {
            if !known.asked.contains(id) {
                say(format!("@{offset} holds {id}, which nobody asked for"));
            }
            if known.denied.contains(id) {
                say(format!("@{offset} holds {id}, which was refused"));
            }
            if let Some(before) = ids.insert(id, offset) {
                say(format!("{id} at @{before} and at @{offset}"));
            }
        }
        // A client has one request in flight: its records stand in the order of their numbers.
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, id) in found {
            let client = id / 1_000_000;
            if let Some(before) = last.insert(client, *id).filter(|before| before > id) {
                say(format!("{before} stands before {id} at @{offset}"));
            }
        }
        if may_lose {
            return wrong;
        }
        for (offset, id) in known.acknowledged.range(start..) {
            match found.get(offset) {
                Some(there) if there == id => {}
                Some(there) => say(format!("acknowledged {id} at @{offset}, there is {there}")),
                None => say(format!("acknowledged {id} at @{offset} is lost; the stream ends at {end}")),
            }
        }
        for (offset, id) in known.seen.range(start..) {
            if found.get(offset) != Some(id) {
                say(format!("read {id} at @{offset}, there is {:?}", found.get(offset)));
            }
        }
        wrong
    }
}

/// Offset and number of each record in what was read.
pub(super) fn records(slices: &[Slice]) -> Vec<(u64, u64)> {
    let mut records = Vec::new();
    for slice in slices {
        for (head, range) in model::piece::walk(&slice.bytes).flatten() {
            let id = Message::decode(&slice.bytes[range]).ok().and_then(|m| m.value.first_chunk::<8>().copied());
            records.push((head.base.0, id.map_or(u64::MAX, u64::from_le_bytes)));
        }
    }
    records
}
