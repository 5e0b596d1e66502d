//! What is true whatever happens to this replica: the entries the cluster has committed, and what
//! follows from them.

use super::made::{Ends, Made};
use bytes::Bytes;
use model::{LeaderEpoch, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Objects of the machine, by key.
pub(super) type Objects = BTreeMap<Vec<u8>, Vec<u8>>;

/// A committed piece that the machine accepted.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) base: u64,
    pub(super) count: u32,
    pub(super) epoch: LeaderEpoch,
    pub(super) max_timestamp: Timestamp,
    pub(super) bytes: Bytes,
    /// The entry it came in.
    pub(super) index: u64,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }
}

/// The committed log and its streams.
#[derive(Debug, Default)]
pub(super) struct Truth {
    chosen: Vec<Arc<Made>>,
    streams: BTreeMap<u64, Vec<Piece>>,
}

impl Truth {
    /// Index of the last committed entry.
    pub(super) fn last(&self) -> u64 {
        self.chosen.len() as u64
    }

    /// The committed entry at `index`.
    pub(super) fn get(&self, index: u64) -> Option<&Arc<Made>> {
        self.chosen.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// The next entry is committed.
    pub(super) fn choose(&mut self, made: &Arc<Made>) {
        assert_eq!(made.index, self.last() + 1, "the cluster commits in order");
        for desc in made.accepted() {
            let piece = Piece {
                base: desc.base.0,
                count: desc.count,
                epoch: desc.epoch,
                max_timestamp: desc.max_timestamp,
                bytes: made.bytes_of(desc),
                index: made.index,
            };
            let pieces = self.streams.entry(desc.stream.0).or_default();
            assert_eq!(pieces.last().map_or(0, Piece::end), piece.base, "the run sequences without holes");
            pieces.push(piece);
        }
        self.chosen.push(made.clone());
    }

    /// The pieces of `stream` in entries up to `index`.
    pub(super) fn pieces(&self, stream: u64, index: u64) -> &[Piece] {
        let pieces = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        &pieces[..pieces.partition_point(|piece| piece.index <= index)]
    }

    /// Where the streams end.
    pub(super) fn ends(&self) -> Ends {
        self.streams.iter().map(|(stream, pieces)| (*stream, pieces.last().map_or(0, Piece::end))).collect()
    }

    /// The machine after entry `index`, from nothing.
    pub(super) fn objects_at(&self, index: u64) -> Objects {
        let mut objects = Objects::new();
        for made in self.chosen.iter().take(index as usize) {
            apply(made, &mut objects, &mut BTreeSet::new());
        }
        objects
    }
}

/// What a machine does with an entry: changes `objects` and notes which.
pub(super) fn apply(made: &Made, objects: &mut Objects, touched: &mut BTreeSet<Vec<u8>>) {
    let mut set = |key: String, value: Option<Vec<u8>>| {
        let key = key.into_bytes();
        touched.insert(key.clone());
        match value {
            Some(value) => objects.insert(key, value),
            None => objects.remove(&key),
        };
    };
    for piece in made.accepted() {
        set(format!("end/{}", piece.stream.0), Some(piece.end().0.to_le_bytes().to_vec()));
    }
    let fill = format!("{}/{};", made.term, made.index).into_bytes();
    let length = (made.index * 37 % 900) as usize;
    set(format!("slot/{}", made.index % 11), Some(fill.into_iter().cycle().take(length).collect()));
    if made.index.is_multiple_of(3) {
        set(format!("slot/{}", made.index % 7), None);
    }
}
