//! Entries as the run makes them, with everything that is known about them.

use crate::rng::Rng;
use bytes::Bytes;
use journal::frame::Kind;
use journal::{LogEntry, LogPosition};
use model::checksum::crc32c;
use model::record::Message;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceDesc, PieceHead, StreamId, Timestamp};
use std::collections::BTreeMap;

/// Where each stream ends.
pub(super) type Ends = BTreeMap<u64, u64>;

/// Streams a run writes to.
pub(super) const STREAMS: u64 = 6;
/// Those of them that are compacted in a run with compaction, and how many keys each has.
pub(super) const COMPACTED: [u64; 2] = [4, 5];
pub(super) const KEYS: u64 = 5;

/// An entry and what the machine will say about it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) term: u64,
    pub(super) index: u64,
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
    pub(super) meta_bytes: u32,
    pub(super) pieces: Vec<PieceDesc>,
    /// Numbers of the pieces that the machine will refuse.
    pub(super) refused: Vec<u32>,
}

impl Made {
    pub(super) fn log_entry(&self) -> LogEntry {
        let at = LogPosition { term: self.term, index: self.index };
        LogEntry { at, kind: self.kind, payload: self.payload.clone(), meta_bytes: self.meta_bytes }
    }

    /// Whether this is what was read back.
    pub(super) fn is(&self, found: &LogEntry) -> bool {
        found.at == LogPosition { term: self.term, index: self.index }
            && found.kind == self.kind
            && found.meta_bytes == self.meta_bytes
            && found.payload == self.payload
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = &PieceDesc> {
        let refused = &self.refused;
        self.pieces.iter().enumerate().filter(|(nth, _)| !refused.contains(&(*nth as u32))).map(|(_, piece)| piece)
    }

    pub(super) fn bytes_of(&self, piece: &PieceDesc) -> Bytes {
        let from = piece.position as usize;
        self.payload.slice(from..from + piece.length as usize)
    }
}

/// A random entry; `ends` is where streams end before it and is moved on.
pub(super) fn make(rng: &mut Rng, term: u64, index: u64, ends: &mut Ends) -> Made {
    match rng.below(20) {
        0 => return bare(term, index, Kind::Blank, Bytes::new()),
        1 => {
            let membership = format!("members of {term}/{index}").into_bytes();
            return bare(term, index, Kind::Membership, Bytes::from(membership));
        }
        _ => {}
    }
    let mut builder = EntryBuilder::new();
    let (mut refused, mut count) = (Vec::new(), 0);
    for nth in 0..rng.below(5) as u32 {
        let stream = rng.below(STREAMS);
        let end = ends.entry(stream).or_default();
        // Sometimes the leader was wrong about the offset, and the machine refuses the piece.
        let refuse = rng.percent(6);
        let base = if refuse { *end + 1 + rng.below(9) } else { *end };
        let epoch = LeaderEpoch(term as u32);
        let number = if nth > 0 && rng.percent(15) {
            builder.share_piece(nth - 1, StreamId(stream), Offset(base), epoch)
        } else {
            let bytes = if rng.percent(30) { batch(rng, index) } else { message(rng, stream, base, term) };
            let head = PieceHead::parse(&bytes).expect("a piece was made");
            count = head.count;
            builder.add_piece(StreamId(stream), Offset(base), epoch, &head, bytes.clone().into(), None)
        };
        if refuse {
            refused.push(number);
        } else {
            *end += u64::from(count);
        }
        builder.add_command(&(index << 8 | u64::from(nth)));
    }
    let entry = Entry::parse(builder.finish(Hlc(index))).expect("an entry was made");
    Made {
        term,
        index,
        kind: Kind::Entry,
        payload: entry.bytes().clone(),
        meta_bytes: entry.meta_bytes() as u32,
        pieces: entry.pieces().collect(),
        refused,
    }
}

fn bare(term: u64, index: u64, kind: Kind, payload: Bytes) -> Made {
    let meta_bytes = payload.len() as u32;
    Made { term, index, kind, payload, meta_bytes, pieces: Vec::new(), refused: Vec::new() }
}

/// A message whose value says where it belongs.
fn message(rng: &mut Rng, stream: u64, base: u64, term: u64) -> Vec<u8> {
    let length = if rng.percent(10) { rng.below(6000) } else { rng.below(400) } as usize;
    let value: Vec<u8> = format!("{stream}/{base}/{term};").into_bytes().into_iter().cycle().take(length).collect();
    let key = rng.percent(30).then_some(&b"key"[..]);
    let message = Message { key, timestamp: Timestamp(rng.below(1000) as i64), value: &value, ..Message::default() };
    message.encode().expect("no message here is large")
}

/// A Kafka batch of several records, whose bytes nobody but a client looks into.
fn batch(rng: &mut Rng, index: u64) -> Vec<u8> {
    let count = rng.between(1, 20) as u32;
    let records: Vec<u8> = (0..rng.below(900)).map(|_| rng.number() as u8).collect();
    let mut tail = Vec::new();
    tail.extend_from_slice(&0u16.to_be_bytes());
    tail.extend_from_slice(&(count - 1).to_be_bytes());
    tail.extend_from_slice(&index.to_be_bytes());
    tail.extend_from_slice(&(index + rng.below(50)).to_be_bytes());
    tail.extend_from_slice(&(-1i64).to_be_bytes());
    tail.extend_from_slice(&(-1i16).to_be_bytes());
    tail.extend_from_slice(&(-1i32).to_be_bytes());
    tail.extend_from_slice(&count.to_be_bytes());
    tail.extend_from_slice(&records);
    let mut out = vec![0; 8];
    out.extend_from_slice(&(9 + tail.len() as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(2);
    out.extend_from_slice(&crc32c(&tail).to_be_bytes());
    out.extend_from_slice(&tail);
    out
}
