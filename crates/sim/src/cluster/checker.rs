//! What clients were told, against what is there in the end. Shares nothing with the broker: it
//! knows only numbers, offsets and times.

use super::keyed::ledger::{Compacted, Keys, Read};
use super::keyed::record::Keyed;
use super::losses::Losses;
use model::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

/// What a stream promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// What is acknowledged survives power loss.
    pub(crate) durable: bool,
    /// Records are settled one by one.
    pub(crate) queue: bool,
}

/// What may have become of a record that somebody asked to append.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// It was asked to be acknowledged from memory, or its stream does that for all.
    memory: bool,
    /// Every answer said that it was not appended.
    denied: bool,
    /// It was given up without an answer, so it may be appended at any time after.
    given_up: bool,
    /// It was asked for again after its id may have been forgotten.
    may_repeat: bool,
}

/// Somebody was told that a record is at an offset: by an acknowledgement or by reading it.
#[derive(Clone, Copy, Debug)]
struct Told {
    offset: u64,
    id: u64,
    at: Duration,
    read: bool,
}

#[derive(Debug)]
struct Known {
    promise: Promise,
    records: BTreeMap<u64, Record>,
    told: Vec<Told>,
    acknowledged: BTreeSet<u64>,
    read: BTreeSet<(u64, u64)>,
    /// Nobody has ever asked to trim beyond this.
    trimmed_to: u64,
    /// What somebody asked to settle, and what was acknowledged of it.
    settling: BTreeSet<u64>,
    settled: BTreeSet<u64>,
}

/// What a replica has of a stream.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Record number by offset.
    pub(crate) found: BTreeMap<u64, u64>,
    /// The settled offsets above the start.
    pub(crate) settled: BTreeSet<u64>,
}

/// Everything that clients were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    streams: BTreeMap<StreamId, Known>,
    /// The compacted streams.
    pub(super) keys: Keys,
    pub(crate) losses: Losses,
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    pub(crate) fn add_stream(&mut self, stream: StreamId, promise: Promise) {
        let known = Known {
            promise,
            records: BTreeMap::new(),
            told: Vec::new(),
            acknowledged: BTreeSet::new(),
            read: BTreeSet::new(),
            trimmed_to: 0,
            settling: BTreeSet::new(),
            settled: BTreeSet::new(),
        };
        self.streams.insert(stream, known);
    }

    /// Keyed records are at `base` and following.
    pub(super) fn keys_acknowledged(
        &mut self,
        stream: StreamId,
        records: &[Keyed],
        base: u64,
        at: Duration,
    ) -> Result<(), String> {
        self.keys.acknowledged(stream, records, base, at, &self.losses)
    }

    /// Judges what was read of a compacted stream.
    pub(super) fn read_keys(&mut self, read: &Read<'_>) -> Result<Compacted, String> {
        self.keys.read(read, &self.losses)
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    fn stream(&mut self, stream: StreamId) -> &mut Known {
        self.streams.get_mut(&stream).expect("clients use the streams there are")
    }

    fn record(&mut self, stream: StreamId, id: u64) -> &mut Record {
        self.stream(stream).records.entry(id).or_default()
    }

    /// Somebody asks to append records `id` and following.
    pub(crate) fn asked(&mut self, stream: StreamId, id: u64, count: u64, from_memory: bool) {
        let memory = from_memory || !self.stream(stream).promise.durable;
        (id..id + count).for_each(|id| self.record(stream, id).memory = memory);
    }

    /// They were not appended, and never will be.
    pub(crate) fn denied(&mut self, stream: StreamId, id: u64, count: u64) {
        (id..id + count).for_each(|id| self.record(stream, id).denied = true);
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn given_up(&mut self, stream: StreamId, id: u64, count: u64) {
        (id..id + count).for_each(|id| self.record(stream, id).given_up = true);
    }

    /// A second copy of it is nobody's fault.
    pub(super) fn may_repeat(&mut self, stream: StreamId, id: u64) {
        self.record(stream, id).may_repeat = true;
    }

    pub(crate) fn acknowledged(&mut self, stream: StreamId, id: u64, count: u64, base: u64, at: Duration) {
        let known = self.stream(stream);
        for nth in 0..count {
            known.acknowledged.insert(base + nth);
            known.told.push(Told { offset: base + nth, id: id + nth, at, read: false });
        }
    }

    pub(crate) fn read(&mut self, stream: StreamId, offset: u64, id: u64, at: Duration) {
        let known = self.stream(stream);
        if known.read.insert((offset, id)) {
            known.told.push(Told { offset, id, at, read: true });
        }
    }

    pub(crate) fn may_trim(&mut self, stream: StreamId, to: u64) {
        let known = self.stream(stream);
        known.trimmed_to = known.trimmed_to.max(to);
    }

    pub(super) fn may_settle(&mut self, stream: StreamId, offsets: impl Iterator<Item = u64>) {
        self.stream(stream).settling.extend(offsets);
    }

    pub(super) fn settled(&mut self, stream: StreamId, offsets: impl Iterator<Item = u64>) {
        self.stream(stream).settled.extend(offsets);
    }

    /// The furthest that anybody has asked to trim.
    pub(crate) fn trimmed_to(&self, stream: StreamId) -> u64 {
        self.streams.get(&stream).map_or(0, |known| known.trimmed_to)
    }

    /// First and last offset acknowledged.
    pub(crate) fn acknowledged_span(&self, stream: StreamId) -> Option<(u64, u64)> {
        let known = self.streams.get(&stream)?;
        Some((*known.acknowledged.first()?, *known.acknowledged.last()?))
    }

    /// Whether one of these offsets was acknowledged from memory and may be gone with the power.
    pub(super) fn may_be_gone(&self, stream: StreamId, offsets: Range<u64>) -> bool {
        let Some(known) = self.streams.get(&stream) else { return false };
        let told = known.told.iter().filter(|told| offsets.contains(&told.offset));
        told.filter(|told| known.records.get(&told.id).is_some_and(|record| record.memory))
            .any(|told| self.losses.may_lose(told.at))
    }

    /// Whether a reader of this stream may miss `offset`: somebody gave it up. A replica that has
    /// just installed a snapshot may not know that yet, and the snapshot's files may.
    pub(super) fn may_miss(&self, stream: StreamId, offset: u64) -> bool {
        let given_up = |known: &Known| offset < known.trimmed_to || known.settling.contains(&offset);
        self.streams.get(&stream).is_some_and(given_up)
    }

    /// Compares what was told with what `who` has in the end.
    pub(crate) fn compare(&self, who: &str, stream: StreamId, content: &Content) -> Vec<String> {
        let Some(known) = self.streams.get(&stream) else { return Vec::new() };
        let mut wrong = Vec::new();
        known.check_span(content, &mut wrong);
        known.check_records(content, &mut wrong);
        known.check_order(content, &mut wrong);
        known.check_told(content, &self.losses, &mut wrong);
        known.check_settled(content, &mut wrong);
        wrong.into_iter().map(|what| format!("{who} {stream}: {what}")).collect()
    }
}

impl Known {
    /// Nothing is missing that nobody gave up.
    fn check_span(&self, content: &Content, wrong: &mut Vec<String>) {
        let mut start = self.trimmed_to;
        while self.settling.contains(&start) {
            start += 1;
        }
        if content.start > start {
            wrong.push(format!("starts at {}, nobody went beyond {start}", content.start));
        }
        for offset in content.start..content.end {
            if !content.found.contains_key(&offset) && !self.settling.contains(&offset) {
                wrong.push(format!("gap at {offset} of {}..{}", content.start, content.end));
            }
        }
    }

    /// Every record was asked for, was not refused, and is there once.
    fn check_records(&self, content: &Content, wrong: &mut Vec<String>) {
        let mut offsets = BTreeMap::new();
        for (offset, id) in &content.found {
            match self.records.get(id) {
                None => wrong.push(format!("@{offset} holds {id}, which nobody asked for")),
                Some(record) if record.denied => wrong.push(format!("@{offset} holds {id}, which was refused")),
                Some(_) => {}
            }
            let before = offsets.insert(id, offset);
            if let Some(before) = before.filter(|_| !self.records.get(id).is_some_and(|record| record.may_repeat)) {
                wrong.push(format!("duplicate: {id} at @{before} and at @{offset}"));
            }
        }
    }

    /// A client's records stand in the order it sent them.
    fn check_order(&self, content: &Content, wrong: &mut Vec<String>) {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, id) in &content.found {
            // One that its client gave up on may come whenever it wants, and one that was taken
            // twice comes again.
            if self.records.get(id).is_some_and(|record| record.given_up || record.may_repeat) {
                continue;
            }
            let client = id / super::client::NUMBERS;
            if let Some(before) = last.insert(client, *id).filter(|before| before > id) {
                wrong.push(format!("reordered: {before} stands before {id} at @{offset}"));
            }
        }
    }

    /// What was acknowledged or read is there, unless it may have been lost with the power.
    fn check_told(&self, content: &Content, losses: &Losses, wrong: &mut Vec<String>) {
        let mut by_offset: BTreeMap<u64, Told> = BTreeMap::new();
        for told in &self.told {
            let Told { offset, id, at, read } = *told;
            let how = if read { "read" } else { "acknowledged" };
            let memory = self.records.get(&id).is_some_and(|record| record.memory);
            let excused = memory && losses.may_lose(at);
            if let Some(before) = by_offset.insert(offset, *told)
                && before.id != id
            {
                let memory = self.records.get(&before.id).is_some_and(|record| record.memory);
                if !(excused || memory && losses.may_lose(before.at)) {
                    wrong.push(format!("two at @{offset}: {how} {id} at {at:?}, and {} at {:?}", before.id, before.at));
                }
            }
            if offset < content.start || content.found.get(&offset) == Some(&id) || excused {
                continue;
            }
            match content.found.get(&offset) {
                Some(there) => wrong.push(format!("lost: {how} {id} at @{offset} at {at:?}, there is {there}")),
                None if self.settling.contains(&offset) => {}
                None => {
                    wrong.push(format!("lost: {how} {id} at @{offset} at {at:?}; the stream ends at {}", content.end));
                }
            }
        }
    }

    /// What is settled was asked for, and what was acknowledged as settled is.
    fn check_settled(&self, content: &Content, wrong: &mut Vec<String>) {
        if !self.promise.queue {
            return;
        }
        for offset in self.settled.range(content.start..).filter(|offset| !content.settled.contains(offset)) {
            wrong.push(format!("@{offset} is not settled any more"));
        }
        for offset in content.settled.iter().filter(|offset| !self.settling.contains(offset)) {
            wrong.push(format!("@{offset} is settled, and nobody asked for it"));
        }
    }
}
