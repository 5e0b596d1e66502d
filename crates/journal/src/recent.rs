//! The older part of the tail cache: entries of finished files that are still in memory.
//!
//! When a log file is finished, its index becomes a table on disk. Readers who keep up are a file or
//! two behind at times, and a shard that is alone needs no log below its checkpoint. So index and bytes
//! stay here, by stream and offset, until the budget wants them back: the oldest go first.

use crate::active::ActiveExtent;
use crate::journal::Journal;
use crate::log::EntryLog;
use crate::read::Slice;
use bytes::Bytes;
use model::{Offset, StreamId, Timestamp, limit};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

/// Entries of one file, by Raft index, and where their pieces are. The index is as large as its file's
/// was when that was unfinished, and goes with the last entry.
#[derive(Debug, Default)]
struct RecentFile {
    entries: BTreeMap<u64, Bytes>,
    streams: BTreeMap<StreamId, Vec<ActiveExtent>>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The oldest file first.
    files: VecDeque<RecentFile>,
}

impl Recent {
    /// Keeps what `log` has in memory of entries up to `last`, whose file is finished. It leaves the log's
    /// slots for here. `extents` are their pieces, ascending by stream and offset.
    pub(crate) fn keep(&mut self, extents: Vec<(StreamId, ActiveExtent)>, last: u64, log: &mut EntryLog) {
        let mut file = RecentFile::default();
        for (stream, extent) in extents {
            if let Entry::Vacant(vacant) = file.entries.entry(extent.index) {
                let Some(bytes) = log.get_mut(extent.index).and_then(|slot| slot.cached.take()) else { continue };
                debug_assert!(extent.index <= last, "only what is finished");
                vacant.insert(bytes);
            }
            file.streams.entry(stream).or_default().push(extent);
        }
        if !file.entries.is_empty() {
            self.files.push_back(file);
        }
    }

    /// The bytes of entry `index`.
    pub(crate) fn entry(&self, index: u64) -> Option<&Bytes> {
        self.files.iter().rev().find_map(|file| file.entries.get(&index))
    }

    /// Drops the oldest entries until `enough` bytes are freed or nothing is left. Returns bytes freed.
    pub(crate) fn evict(&mut self, enough: usize) -> usize {
        let mut freed = 0;
        while freed < enough
            && let Some(file) = self.files.front_mut()
        {
            match file.entries.pop_first() {
                Some((_, bytes)) => freed += bytes.len(),
                None => drop(self.files.pop_front()),
            }
        }
        freed
    }

    /// Answers nothing about `stream` any more.
    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.files.iter_mut().for_each(|file| drop(file.streams.remove(&stream)));
    }

    /// Whether the piece of `stream` that holds `from` is here.
    pub(crate) fn covers(&self, stream: StreamId, from: Offset) -> bool {
        self.run(stream, from).next().is_some()
    }

    /// The greatest timestamp of the piece of `stream` that holds `from`, if it is here.
    pub(crate) fn timestamp(&self, stream: StreamId, from: Offset) -> Option<Timestamp> {
        self.run(stream, from).next().map(|(extent, _)| extent.max_timestamp)
    }

    /// The pieces of one file from the one that holds `from` on, each where the one before ends.
    fn run(&self, stream: StreamId, from: Offset) -> impl Iterator<Item = (&ActiveExtent, Bytes)> {
        let found = self.files.iter().rev().find_map(|file| {
            let extents = file.streams.get(&stream)?;
            let at = extents.partition_point(|extent| extent.end() <= from);
            extents.get(at).filter(|extent| extent.base <= from)?;
            Some((file, &extents[at..]))
        });
        let mut next = None;
        found.into_iter().flat_map(|(file, extents)| extents.iter().map(move |extent| (file, extent))).map_while(
            move |(file, extent)| {
                if next.replace(extent.end()).is_some_and(|next| next != extent.base) {
                    return None;
                }
                let start = extent.position as usize;
                let entry = file.entries.get(&extent.index)?;
                Some((extent, entry.slice(start..start + extent.length as usize)))
            },
        )
    }

    /// Bytes the index takes.
    pub(crate) fn index_bytes(&self) -> usize {
        let extents: usize = self.files.iter().flat_map(|file| file.streams.values()).map(Vec::len).sum();
        extents * size_of::<ActiveExtent>()
    }
}

impl Journal {
    /// Reads from memory what [`Journal::read`] would find in finished files: `None` when the piece that
    /// holds `from` is not here, nothing when it does not fit.
    pub(crate) fn read_recent(
        &self,
        stream: StreamId,
        from: Offset,
        to: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Option<Vec<Slice>> {
        let (mut slices, mut left, mut here) = (Vec::new(), bytes_max, false);
        {
            let state = self.state.lock();
            for (extent, bytes) in state.recent.run(stream, from) {
                here = true;
                let must = at_least_one && slices.is_empty();
                if extent.base >= to || (!must && bytes.len() > left) {
                    break;
                }
                left = left.saturating_sub(bytes.len());
                let ActiveExtent { base, count, epoch, max_timestamp, .. } = *extent;
                slices.push(Slice { base, count, epoch, max_timestamp, bytes });
            }
        }
        self.counters.cache_hits.fetch_add(slices.len() as u64, Relaxed);
        for slice in &mut slices {
            if slice.bytes.len() < limit::PIN_BYTES_MIN {
                slice.bytes = Bytes::copy_from_slice(&slice.bytes);
            }
        }
        here.then_some(slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;
    use crate::log::Slot;
    use crate::manifest::LogPosition;
    use model::{LeaderEpoch, Timestamp};

    /// A file with entries `first` to `last`, each with one piece of ten bytes in stream 1, at its index.
    fn keep(recent: &mut Recent, log: &mut EntryLog, first: u64, last: u64) {
        let mut extents = Vec::new();
        for index in first..=last {
            let cached = Some(Bytes::from(vec![index as u8; 10]));
            let (term, ticket) = (1, 0);
            let kind = Kind::Entry;
            let slot = Slot { term, kind, meta_bytes: 0, body_bytes: 10, place: None, cached, ticket, flushed: true };
            log.push(index, slot);
            let (base, epoch, max_timestamp) = (Offset(index), LeaderEpoch(0), Timestamp(0));
            let extent = ActiveExtent { base, max_timestamp, index, position: 0, length: 10, count: 1, epoch };
            extents.push((StreamId(1), extent));
        }
        recent.keep(extents, last, log);
    }

    fn bases(recent: &Recent, from: u64) -> Vec<u64> {
        recent.run(StreamId(1), Offset(from)).map(|(extent, _)| extent.base.0).collect()
    }

    #[test]
    fn pieces_are_found_by_offset_until_they_are_evicted_oldest_first() {
        let (mut recent, mut log) = (Recent::default(), EntryLog::new(LogPosition::default()));
        keep(&mut recent, &mut log, 1, 3);
        keep(&mut recent, &mut log, 4, 6);
        assert!(log.get(2).unwrap().cached.is_none(), "bytes are here or there");
        assert_eq!(bases(&recent, 2), [2, 3]);
        assert_eq!(bases(&recent, 4), [4, 5, 6]);
        assert_eq!(recent.entry(5).unwrap()[..], [5; 10]);
        assert!(!recent.covers(StreamId(1), Offset(7)) && !recent.covers(StreamId(2), Offset(1)));
        assert_eq!(recent.evict(15), 20);
        assert_eq!((bases(&recent, 2), bases(&recent, 3)), (vec![], vec![3]));
        assert_eq!(recent.evict(usize::MAX), 40);
        assert_eq!((recent.index_bytes(), recent.evict(1)), (0, 0));
    }
}
