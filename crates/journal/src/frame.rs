//! The frame: what log files and packed files are made of. Drawn in docs/formats/journal.md.
//!
//! Little-endian, 64 bytes of head, then meta, body and zero padding to a multiple of 8:
//!
//! ```text
//!  0  u32  magic "MSF1"
//!  4  u32  CRC32C of the file's id, the frame's position, head bytes 8..64 and the meta
//!  8  u32  meta bytes
//! 12  u32  body bytes
//! 16  u32  CRC32C of the body
//! 20  u32  shard
//! 24  u64  Raft term
//! 32  u64  Raft index
//! 40  u64  Raft index known committed when this was written, at most the frame's own
//! 48  u64  bytes of this file known to be on stable storage when this was written
//! 56  u8   kind
//! 57  u8   format version = 1
//! 58  [u8; 6] zero
//! ```
//!
//! Meta and body have a checksum each: what the machine needs lies in the meta, so a flipped bit in
//! a body damages that body's pieces and nothing else. The file's id and the position are part of
//! the first, so bytes left over from another file, or shifted, are never taken for a frame.

use model::checksum::{crc32c, crc32c_of};
use model::{ShardId, limit};

/// Bytes of the head.
pub const HEAD_BYTES: usize = 64;
/// Frames start at multiples of this.
pub const ALIGNMENT: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"MSF1");
const VERSION: u8 = 1;

/// What a frame holds. Numbers are on disk: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Raft entry with commands and pieces: a [`model::Entry`].
    Entry,
    /// A Raft entry without content: a new leader's first.
    Blank,
    /// A Raft entry that changes the membership; opaque here.
    Membership,
    /// The vote; opaque here. The last one counts.
    Vote,
    /// Pieces of a packed file: a [`model::Entry`] without commands.
    Packed,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Entry => 1,
            Kind::Blank => 2,
            Kind::Membership => 3,
            Kind::Vote => 4,
            Kind::Packed => 5,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Kind::Entry, Kind::Blank, Kind::Membership, Kind::Vote, Kind::Packed]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    /// Whether the frame is part of the Raft log.
    #[must_use]
    pub fn is_entry(self) -> bool {
        matches!(self, Kind::Entry | Kind::Blank | Kind::Membership)
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it holds.
    pub kind: Kind,
    /// Whose it is.
    pub shard: ShardId,
    /// Raft term; zero unless it is an entry.
    pub term: u64,
    /// Raft index; of a vote its number; zero for packed pieces.
    pub index: u64,
    /// Raft index known committed when it was written, at most its own.
    pub committed: u64,
    /// Bytes of the file known to be on stable storage when it was written.
    pub flushed: u64,
    /// Bytes of meta.
    pub meta_bytes: u32,
    /// Bytes of body.
    pub body_bytes: u32,
    /// CRC32C of the body.
    pub body_crc: u32,
}

impl FrameHead {
    /// Bytes of the whole frame, padding included.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.meta_bytes as usize + self.body_bytes as usize)
    }

    /// The head's bytes, for a frame at `position` of the file with id `file` and with this `meta`.
    #[must_use]
    pub fn encode(&self, file: u128, position: u64, meta: &[u8]) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        head[8..12].copy_from_slice(&self.meta_bytes.to_le_bytes());
        head[12..16].copy_from_slice(&self.body_bytes.to_le_bytes());
        head[16..20].copy_from_slice(&self.body_crc.to_le_bytes());
        head[20..24].copy_from_slice(&self.shard.0.to_le_bytes());
        head[24..32].copy_from_slice(&self.term.to_le_bytes());
        head[32..40].copy_from_slice(&self.index.to_le_bytes());
        head[40..48].copy_from_slice(&self.committed.to_le_bytes());
        head[48..56].copy_from_slice(&self.flushed.to_le_bytes());
        head[56] = self.kind.number();
        head[57] = VERSION;
        let crc = crc32c_of(&[&file.to_le_bytes(), &position.to_le_bytes(), &head[8..], meta]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Reads the fields, without believing them: a head is real once [`FrameHead::verify_meta`]
    /// has succeeded. `None` when the bytes cannot be a head.
    #[must_use]
    pub fn decode(head: &[u8; HEAD_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| (u64::from(u32_at(at + 4)) << 32) | u64::from(u32_at(at));
        let plausible = u32_at(0) == MAGIC && head[57] == VERSION && head[58..64] == [0; 6];
        let frame = FrameHead {
            kind: Kind::from_number(head[56])?,
            shard: ShardId(u32_at(20)),
            term: u64_at(24),
            index: u64_at(32),
            committed: u64_at(40),
            flushed: u64_at(48),
            meta_bytes: u32_at(8),
            body_bytes: u32_at(12),
            body_crc: u32_at(16),
        };
        let bytes = frame.meta_bytes as usize + frame.body_bytes as usize;
        (plausible && bytes <= limit::ENTRY_BYTES_MAX).then_some(frame)
    }

    /// Whether `meta` and the head are what was written at this place.
    #[must_use]
    pub fn verify_meta(&self, head: &[u8; HEAD_BYTES], file: u128, position: u64, meta: &[u8]) -> bool {
        let stored = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        stored == crc32c_of(&[&file.to_le_bytes(), &position.to_le_bytes(), &head[8..], meta])
    }

    /// Whether `body` is what was written.
    #[must_use]
    pub fn verify_body(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc32c(body) == self.body_crc
    }
}

/// Bytes of a frame whose meta and body are `content` bytes together.
#[must_use]
pub fn frame_bytes(content: usize) -> u64 {
    (HEAD_BYTES + content).next_multiple_of(ALIGNMENT) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> FrameHead {
        FrameHead {
            kind: Kind::Entry,
            shard: ShardId(3),
            term: 4,
            index: 5,
            committed: 2,
            flushed: 640,
            meta_bytes: 4,
            body_bytes: 3,
            body_crc: crc32c(b"xyz"),
        }
    }

    #[test]
    fn a_frame_is_believed_only_where_it_was_written() {
        let bytes = head().encode(77, 128, b"meta");
        let back = FrameHead::decode(&bytes).unwrap();
        assert_eq!(back, head());
        assert_eq!(back.frame_bytes(), 72);
        assert!(back.verify_meta(&bytes, 77, 128, b"meta"));
        assert!(!back.verify_meta(&bytes, 78, 128, b"meta"), "another file");
        assert!(!back.verify_meta(&bytes, 77, 136, b"meta"), "another position");
        assert!(!back.verify_meta(&bytes, 77, 128, b"mete"));
        assert!(back.verify_body(b"xyz") && !back.verify_body(b"xyy") && !back.verify_body(b"xy"));
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(FrameHead::decode(&[0; HEAD_BYTES]), None);
    }

    proptest! {
        #[test]
        fn every_flipped_bit_of_the_head_is_noticed(bit in 0usize..HEAD_BYTES * 8) {
            let mut bytes = head().encode(77, 128, b"meta");
            bytes[bit / 8] ^= 1 << (bit % 8);
            let believed = FrameHead::decode(&bytes).is_some_and(|h| h.verify_meta(&bytes, 77, 128, b"meta"));
            prop_assert!(!believed);
        }
    }
}
