//! What was written to compacted streams and what clients were told, and from that what a read has to show.
//! Shares nothing with the broker.
//!
//! The rule, for each key: its last record at or above where the read began is there. A record that removes
//! its key may be gone once its time is over, and then nothing of the key may be there. Whatever is there is
//! what was written, at the offset it always had.

use super::record::Keyed;
use crate::cluster::losses::Losses;
use model::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A record that somebody asked to append.
#[derive(Clone, Copy, Debug)]
struct Asked {
    record: Keyed,
    at: Duration,
    /// Every answer said that it was not appended.
    denied: bool,
}

/// Somebody was told that a record is at an offset.
#[derive(Clone, Copy, Debug)]
struct Told {
    id: u64,
    at: Duration,
}

/// A compacted stream.
#[derive(Debug)]
struct Known {
    /// How long a record that removes its key stays at least.
    removals_stay: Duration,
    /// What is acknowledged survives power loss.
    durable: bool,
    asked: BTreeMap<u64, Asked>,
    /// By offset.
    told: BTreeMap<u64, Told>,
    /// Offsets by the number of what is there.
    places: BTreeMap<u64, u64>,
}

/// What a read shows of compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Compacted {
    /// Records that had been there and are not.
    pub(in crate::cluster) records: u64,
    /// Keys of which the removal is gone, too.
    pub(in crate::cluster) removals: u64,
}

/// A read to be judged.
pub(in crate::cluster) struct Read<'a> {
    pub(in crate::cluster) stream: StreamId,
    pub(in crate::cluster) from: u64,
    /// Where the replica's stream ended.
    pub(in crate::cluster) end: u64,
    pub(in crate::cluster) found: &'a BTreeMap<u64, Keyed>,
    pub(in crate::cluster) at: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Keys {
    streams: BTreeMap<StreamId, Known>,
    /// A wall clock was wrong, so a removal may have gone before its time.
    pub(in crate::cluster) clocks_jumped: bool,
}

impl Keys {
    pub(in crate::cluster) fn add_stream(&mut self, stream: StreamId, durable: bool, removals_stay: Duration) {
        let (asked, told, places) = Default::default();
        self.streams.insert(stream, Known { removals_stay, durable, asked, told, places });
    }

    /// Somebody asks to append these.
    pub(in crate::cluster) fn asked(&mut self, stream: StreamId, records: &[Keyed], at: Duration) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        known.asked.extend(records.iter().map(|record| (record.id, Asked { record: *record, at, denied: false })));
    }

    /// They were not appended, and never will be.
    pub(in crate::cluster) fn denied(&mut self, stream: StreamId, records: &[Keyed]) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        for record in records {
            known.asked.entry(record.id).and_modify(|asked| asked.denied = true);
        }
    }

    /// They are at `base` and following.
    pub(in crate::cluster) fn acknowledged(
        &mut self,
        stream: StreamId,
        records: &[Keyed],
        base: u64,
        at: Duration,
        losses: &Losses,
    ) -> Result<(), String> {
        let Some(known) = self.streams.get_mut(&stream) else { return Ok(()) };
        (base..).zip(records).try_for_each(|(offset, record)| known.tell(offset, record.id, at, losses))
    }

    /// Judges what was read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::cluster) fn read(&mut self, read: &Read<'_>, losses: &Losses) -> Result<Compacted, String> {
        let jumped = self.clocks_jumped;
        let known = self.streams.get_mut(&read.stream).ok_or("a stream that nobody made")?;
        known.take_records(read, losses)?;
        known.judge_keys(read, losses, jumped)
    }
}

impl Known {
    /// Notes where a record is. It never was elsewhere, nor another one there.
    fn tell(&mut self, offset: u64, id: u64, at: Duration, losses: &Losses) -> Result<(), String> {
        let told = *self.told.entry(offset).or_insert(Told { id, at });
        if told.id != id {
            if !self.may_be_lost(&told, losses) {
                return Err(format!("@{offset} holds {id}, and held {} at {:?}", told.id, told.at));
            }
            self.places.remove(&told.id);
            self.told.insert(offset, Told { id, at });
        }
        match self.places.insert(id, offset) {
            Some(before) if before != offset => {
                let lost = self.told.get(&before).is_some_and(|told| self.may_be_lost(told, losses));
                if lost { Ok(()) } else { Err(format!("record {id} moved from @{before} to @{offset}")) }
            }
            _ => Ok(()),
        }
    }

    fn may_be_lost(&self, told: &Told, losses: &Losses) -> bool {
        !self.durable && losses.may_lose(told.at)
    }

    /// Everything found was written, was not refused, and is what and where it was.
    fn take_records(&mut self, read: &Read<'_>, losses: &Losses) -> Result<(), String> {
        for (offset, record) in read.found {
            match self.asked.get(&record.id) {
                None => return Err(format!("@{offset} holds {}, which nobody wrote", record.id)),
                Some(asked) if asked.denied => return Err(format!("@{offset} holds {}, which was refused", record.id)),
                Some(asked) if asked.record != *record => {
                    return Err(format!("@{offset} holds {record:?}, written as {:?}", asked.record));
                }
                Some(_) => self.tell(*offset, record.id, read.at, losses)?,
            }
            if *offset >= read.end {
                return Err(format!("@{offset} is above the stream's end {}", read.end));
            }
        }
        Ok(())
    }

    /// Of every key the last record is there, or it removed the key, long enough ago.
    fn judge_keys(&self, read: &Read<'_>, losses: &Losses, clocks_jumped: bool) -> Result<Compacted, String> {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        seen.extend(read.found.iter().map(|(offset, record)| (record.key, *offset)));
        let mut compacted = Compacted::default();
        let mut last: BTreeMap<u64, (u64, Asked)> = BTreeMap::new();
        for (offset, told) in self.told.range(read.from..read.end).filter(|(_, told)| !self.may_be_lost(told, losses)) {
            let Some(asked) = self.asked.get(&told.id) else { continue };
            compacted.records += u64::from(!read.found.contains_key(offset));
            last.insert(asked.record.key, (*offset, *asked));
        }
        let over = |asked: &Asked| asked.record.removes && (clocks_jumped || asked.at + self.removals_stay <= read.at);
        // Nobody may have been told of a removal that is there, or was; or it may be lost, and need not.
        let is_sure = |asked: &Asked| {
            let told = self.places.get(&asked.record.id).and_then(|offset| self.told.get(offset));
            told.is_some_and(|told| !self.may_be_lost(told, losses))
        };
        let silent: BTreeSet<u64> = (self.asked.values())
            .filter(|asked| !asked.denied && over(asked) && !is_sure(asked))
            .map(|asked| asked.record.key)
            .collect();
        for (key, (offset, asked)) in last {
            match seen.get(&key) {
                Some(found) if *found >= offset => {}
                Some(found) => {
                    let what = if asked.record.removes { "removes" } else { "replaces" };
                    return Err(format!(
                        "key {key} comes back: @{found} is there, and @{offset} that {what} it is not"
                    ));
                }
                None if over(&asked) || silent.contains(&key) => compacted.removals += 1,
                None if asked.record.removes => {
                    return Err(format!("the removal of key {key} at @{offset} went before its time"));
                }
                None => return Err(format!("the last value of key {key} is missing, @{offset}")),
            }
        }
        Ok(compacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(9);

    /// Keys 1 to 3, written at offsets 0 to 4: 1, 2, 1, 3, and the removal of 2.
    fn written() -> (Keys, Vec<Keyed>) {
        let mut keys = Keys::default();
        keys.add_stream(STREAM, true, Duration::from_secs(5));
        let made = |(id, (key, removes)): (u64, (u64, bool))| Keyed { id, key, removes, millis: 0 };
        let records: Vec<_> =
            (100..).zip([(1, false), (2, false), (1, false), (3, false), (2, true)]).map(made).collect();
        keys.asked(STREAM, &records, Duration::ZERO);
        keys.acknowledged(STREAM, &records, 0, Duration::ZERO, &Losses::default()).unwrap();
        (keys, records)
    }

    fn judge(offsets: &[u64], from: u64, seconds: u64) -> Result<Compacted, String> {
        let (mut keys, records) = written();
        let found = offsets.iter().map(|offset| (*offset, records[*offset as usize])).collect();
        let at = Duration::from_secs(seconds);
        keys.read(&Read { stream: STREAM, from, end: 5, found: &found, at }, &Losses::default())
    }

    #[test]
    fn the_last_of_each_key_has_to_be_there() {
        assert_eq!(judge(&[0, 1, 2, 3, 4], 0, 1), Ok(Compacted::default()));
        assert_eq!(judge(&[2, 3, 4], 0, 1), Ok(Compacted { records: 2, removals: 0 }));
        assert_eq!(judge(&[3, 4], 3, 1), Ok(Compacted::default()), "what is below was not asked for");
        assert!(judge(&[0, 3, 4], 0, 1).unwrap_err().contains("key 1 comes back"));
        assert!(judge(&[2, 4], 0, 1).unwrap_err().contains("last value of key 3"));
        assert!(judge(&[2, 3], 0, 1).unwrap_err().contains("before its time"));
        assert_eq!(judge(&[2, 3], 0, 5), Ok(Compacted { records: 3, removals: 1 }));
        assert!(judge(&[1, 2, 3], 0, 5).unwrap_err().contains("key 2 comes back"));
    }

    #[test]
    fn nothing_else_may_be_there() {
        let (mut keys, records) = written();
        let mut read = |offset, record| {
            let found = (0..).zip(records.iter().copied()).chain([(offset, record)]).collect();
            let at = Duration::from_secs(1);
            keys.read(&Read { stream: STREAM, from: 0, end: 9, found: &found, at }, &Losses::default())
        };
        let stranger = Keyed { id: 999, ..records[0] };
        assert!(read(5, stranger).unwrap_err().contains("nobody wrote"));
        assert!(read(5, records[3]).unwrap_err().contains("moved from @3 to @5"));
        assert!(read(2, records[3]).unwrap_err().contains("held 102"));
        assert!(read(0, Keyed { millis: 7, ..records[0] }).unwrap_err().contains("written as"));
    }
}
