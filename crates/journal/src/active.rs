//! The index of pieces in log files that are not finished yet.
//!
//! It speaks of Raft entries, not of positions in files: an entry is applied before it is written
//! here, and may be written again elsewhere when a sync fails.

use crate::table::Extent;
use model::{LeaderEpoch, Offset, PieceDesc, StreamId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// A committed piece of an unfinished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveExtent {
    /// Offset of its first record.
    pub base: Offset,
    /// Greatest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// The Raft entry it is in.
    pub index: u64,
    /// Where its bytes start in that entry.
    pub position: u32,
    /// How many bytes.
    pub length: u32,
    /// Offsets it takes.
    pub count: u32,
    /// Leader epoch.
    pub epoch: LeaderEpoch,
}

impl ActiveExtent {
    /// One past the last offset.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }

    /// As an extent of `stream` whose bytes start at `position` of a file.
    #[must_use]
    pub fn placed(&self, stream: StreamId, position: u64) -> Extent {
        Extent {
            stream,
            base: self.base,
            max_timestamp: self.max_timestamp,
            position,
            length: self.length,
            count: self.count,
            epoch: self.epoch,
            pieces: 1,
        }
    }
}

/// The index, by stream.
#[derive(Debug, Default)]
pub struct ActiveIndex {
    streams: BTreeMap<StreamId, VecDeque<ActiveExtent>>,
    extents: usize,
}

impl ActiveIndex {
    /// Extents in the index.
    #[must_use]
    pub fn len(&self) -> usize {
        self.extents
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents == 0
    }

    /// Adds a piece of entry `index` that the machine accepted.
    pub fn push(&mut self, index: u64, piece: &PieceDesc) {
        let extents = self.streams.entry(piece.stream).or_default();
        let extent = ActiveExtent {
            base: piece.base,
            max_timestamp: piece.max_timestamp,
            index,
            position: piece.position,
            length: piece.length,
            count: piece.count,
            epoch: piece.epoch,
        };
        debug_assert!(extents.back().is_none_or(|last| last.end() <= extent.base), "offsets ascend");
        extents.push_back(extent);
        self.extents += 1;
    }

    /// One past the last offset of `stream` in the index.
    #[must_use]
    pub fn end(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream)?.back().map(ActiveExtent::end)
    }

    /// The extents of `stream` that end above `from`, ascending.
    pub fn extents_from(&self, stream: StreamId, from: Offset) -> impl Iterator<Item = &ActiveExtent> {
        let extents = self.streams.get(&stream);
        let skip = extents.map_or(0, |extents| extents.partition_point(|extent| extent.end() <= from));
        extents.into_iter().flat_map(move |extents| extents.range(skip..))
    }

    /// Takes out everything that lies in entries up to `index`, ascending by stream and offset.
    pub fn take_to(&mut self, index: u64) -> Vec<(StreamId, ActiveExtent)> {
        let mut taken = Vec::new();
        self.streams.retain(|stream, extents| {
            while let Some(first) = extents.front().filter(|first| first.index <= index) {
                taken.push((*stream, *first));
                extents.pop_front();
            }
            !extents.is_empty()
        });
        self.extents -= taken.len();
        taken
    }

    /// The extents that lie in entries up to `index`, ascending by stream and offset.
    pub fn up_to(&self, index: u64) -> impl Iterator<Item = (StreamId, &ActiveExtent)> {
        self.streams.iter().flat_map(move |(stream, extents)| {
            extents.iter().take_while(move |extent| extent.index <= index).map(move |extent| (*stream, extent))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: u64, base: u64, count: u32) -> PieceDesc {
        PieceDesc {
            stream: StreamId(stream),
            base: Offset(base),
            max_timestamp: Timestamp(0),
            epoch: LeaderEpoch(0),
            count,
            position: 0,
            length: 1,
        }
    }

    #[test]
    fn look_ups_and_finishing_a_file() {
        let mut index = ActiveIndex::default();
        for (entry, stream, base) in [(1, 1, 0), (1, 2, 0), (2, 1, 3), (3, 1, 6), (3, 2, 3)] {
            index.push(entry, &piece(stream, base, 3));
        }
        let bases = |index: &ActiveIndex, stream, from| {
            index.extents_from(StreamId(stream), Offset(from)).map(|e| e.base.0).collect::<Vec<_>>()
        };
        assert_eq!(bases(&index, 1, 3), [3, 6]);
        assert_eq!(bases(&index, 1, 5), [3, 6]);
        assert_eq!(bases(&index, 1, 9), [0; 0]);
        assert_eq!(bases(&index, 9, 0), [0; 0]);
        assert_eq!(index.up_to(2).count(), 3);
        let taken: Vec<_> = index.take_to(2).into_iter().map(|(s, e)| (s.0, e.base.0)).collect();
        assert_eq!(taken, [(1, 0), (1, 3), (2, 0)]);
        assert_eq!((index.len(), index.end(StreamId(1))), (2, Some(Offset(9))));
    }
}
