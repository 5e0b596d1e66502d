//! A piece: the unit of storage, accepted or refused as a whole.
//!
//! Two forms share their first 21 bytes, so that whoever walks, sequences or verifies pieces needs
//! to know only those (drawn in docs/formats/piece.md):
//!
//! ```text
//!  0  i64 BE  base offset            written by the leader when it sequences
//!  8  i32 BE  length after this field
//! 12  i32 BE  leader epoch           written by the leader when it sequences
//! 16  u8      form: 2 = Kafka record batch v2, 0x40 = one message, form 1 of ours
//! 17  u32 BE  CRC32C of everything after this field
//! ```
//!
//! What the leader writes lies outside the checksum, so a producer's bytes stay as they were sent.

use crate::checksum::crc32c;
use crate::id::{LeaderEpoch, Offset};
use crate::time::Timestamp;

/// Bytes both forms begin with.
pub const PREFIX_BYTES: usize = 21;
/// Bytes in front of what the length field counts.
pub const LENGTH_END: usize = 12;
/// Bytes of a Kafka batch in front of its records.
pub const BATCH_HEAD_BYTES: usize = 61;
/// Bytes of a message in front of its first optional field.
pub const MESSAGE_HEAD_BYTES: usize = 30;

/// Which of the two forms a piece has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Kafka record batch, magic 2 (KIP-98), exactly as the producer sent it.
    Batch,
    /// One message in our compact form: see [`crate::record`].
    Message,
}

const MAGIC_BATCH: u8 = 2;
pub(crate) const MAGIC_MESSAGE: u8 = 0x40;

/// Why bytes are not a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// Fewer bytes than the form needs or the length field says.
    #[error("a piece of {wanted} bytes in {found}")]
    Truncated {
        /// Bytes needed.
        wanted: usize,
        /// Bytes there are.
        found: usize,
    },
    /// Neither form. Holds the magic byte found.
    #[error("unknown form {0}")]
    Form(u8),
    /// A record count or offset delta that cannot be.
    #[error("{records} records over an offset range of {offsets}")]
    Count {
        /// The records the piece says it holds.
        records: i32,
        /// The offsets it says it takes.
        offsets: i64,
    },
    /// The checksum does not match.
    #[error("checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// In the piece.
        stored: u32,
        /// Of the piece's bytes.
        computed: u32,
    },
}

/// The facts about a piece that storage and sequencing need. Nothing else of a batch is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHead {
    /// Which form.
    pub form: Form,
    /// Offset of its first record, as written in the bytes.
    pub base: Offset,
    /// Leader epoch, as written in the bytes.
    pub epoch: LeaderEpoch,
    /// Bytes of the whole piece.
    pub bytes: usize,
    /// Offsets it takes: one more than its last offset delta.
    pub count: u32,
    /// The greatest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// The producer's numbering, for a batch that has one.
    pub producer: Option<ProducerStamp>,
    /// Kafka's attributes bits; zero for a message.
    pub attributes: u16,
}

/// An idempotent producer's numbering of a batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: u64,
    /// Its epoch.
    pub epoch: i16,
    /// Number of the batch's first record.
    pub first_sequence: i32,
    /// Number of the batch's last record, wrapping after `i32::MAX`.
    pub last_sequence: i32,
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
fn be_u64(bytes: &[u8], at: usize) -> u64 {
    (u64::from(be_u32(bytes, at)) << 32) | u64::from(be_u32(bytes, at + 4))
}

impl PieceHead {
    /// Reads the head of the piece that starts `bytes`; more pieces may follow it. The checksum is
    /// not verified: see [`verify`].
    ///
    /// # Errors
    /// When the bytes do not start with a whole piece.
    pub fn parse(bytes: &[u8]) -> Result<Self, PieceError> {
        let found = bytes.len();
        if found < PREFIX_BYTES {
            return Err(PieceError::Truncated { wanted: PREFIX_BYTES, found });
        }
        let length = usize::try_from(be_u32(bytes, 8) as i32).unwrap_or(0);
        let total = LENGTH_END + length;
        let (form, least) = match bytes[16] {
            MAGIC_BATCH => (Form::Batch, BATCH_HEAD_BYTES),
            MAGIC_MESSAGE => (Form::Message, MESSAGE_HEAD_BYTES),
            other => return Err(PieceError::Form(other)),
        };
        if total < least || total > found {
            return Err(PieceError::Truncated { wanted: total.max(least), found });
        }
        let mut head = PieceHead {
            form,
            base: Offset(be_u64(bytes, 0)),
            epoch: LeaderEpoch(be_u32(bytes, 12)),
            bytes: total,
            count: 1,
            max_timestamp: Timestamp(0),
            producer: None,
            attributes: 0,
        };
        match form {
            Form::Message => head.max_timestamp = Timestamp(be_u64(bytes, 22) as i64),
            Form::Batch => head.read_batch(bytes)?,
        }
        Ok(head)
    }

    fn read_batch(&mut self, bytes: &[u8]) -> Result<(), PieceError> {
        let last_delta = be_u32(bytes, 23) as i32;
        let records = be_u32(bytes, 57) as i32;
        let offsets = i64::from(last_delta) + 1;
        // Compaction leaves holes, so a batch may take more offsets than it has records.
        if last_delta < 0 || records < 0 || i64::from(records) > offsets {
            return Err(PieceError::Count { records, offsets });
        }
        self.count = last_delta as u32 + 1;
        self.attributes = be_u32(bytes, 19) as u16;
        self.max_timestamp = Timestamp(be_u64(bytes, 35) as i64);
        let id = be_u64(bytes, 43) as i64;
        let first_sequence = be_u32(bytes, 53) as i32;
        if id >= 0 {
            self.producer = Some(ProducerStamp {
                id: id as u64,
                epoch: (be_u32(bytes, 49) & 0xffff) as u16 as i16,
                first_sequence,
                last_sequence: sequence_plus(first_sequence, last_delta),
            });
        }
        Ok(())
    }

    /// One past the offset of the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }

    /// Whether the batch is a control batch: a transaction marker, not data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }
}

/// A producer sequence `delta` further on; sequences wrap from `i32::MAX` to 0.
#[must_use]
pub fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

/// Checks the checksum of the one piece that `bytes` are.
///
/// # Errors
/// When the checksum does not match or the bytes are too few to have one.
pub fn verify(bytes: &[u8]) -> Result<(), PieceError> {
    if bytes.len() < PREFIX_BYTES {
        return Err(PieceError::Truncated { wanted: PREFIX_BYTES, found: bytes.len() });
    }
    let stored = be_u32(bytes, 17);
    let computed = crc32c(&bytes[PREFIX_BYTES..]);
    if stored == computed { Ok(()) } else { Err(PieceError::Checksum { stored, computed }) }
}

/// Writes what the leader assigns into the one piece that `bytes` are.
///
/// # Panics
/// When `bytes` are fewer than a piece's prefix: sequencing parses first.
pub fn assign(bytes: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    bytes[0..8].copy_from_slice(&base.0.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Makes a batch's timestamps the leader's (Kafka's `LogAppendTime`): sets the attribute bit and
/// the greatest timestamp, and computes the checksum again.
///
/// # Panics
/// When `bytes` are fewer than a batch's head: sequencing parses first.
pub fn stamp_append_time(bytes: &mut [u8], time: Timestamp) {
    bytes[22] |= 0x08;
    bytes[35..43].copy_from_slice(&time.0.to_be_bytes());
    let crc = crc32c(&bytes[PREFIX_BYTES..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A batch without records, which takes `count` offsets: stands for what compaction removed. Readers step
/// over it, as over those that Kafka's own compaction leaves.
///
/// # Panics
/// When `count` is 0 or above `i32::MAX`.
#[must_use]
pub fn empty(base: Offset, count: u32, epoch: LeaderEpoch) -> Vec<u8> {
    assert!((1..=i32::MAX as u32).contains(&count), "a batch takes 1 to 2^31 - 1 offsets");
    let mut bytes = vec![0; BATCH_HEAD_BYTES];
    let length = (BATCH_HEAD_BYTES - LENGTH_END) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = MAGIC_BATCH;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    // No greatest timestamp, producer, epoch nor sequence.
    bytes[35..57].fill(0xff);
    let crc = crc32c(&bytes[PREFIX_BYTES..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    assign(&mut bytes, base, epoch);
    bytes
}

/// Splits `bytes` into the pieces they are a concatenation of.
///
/// Yields each piece's head and its byte range; stops after the first error.
pub fn walk(bytes: &[u8]) -> impl Iterator<Item = Result<(PieceHead, std::ops::Range<usize>), PieceError>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        match PieceHead::parse(&bytes[at..]) {
            Ok(head) => {
                let range = at..at + head.bytes;
                at = range.end;
                Some(Ok((head, range)))
            }
            Err(error) => {
                at = bytes.len();
                Some(Err(error))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(records: i32, last_delta: i32) -> Vec<u8> {
        let mut b = vec![0u8; BATCH_HEAD_BYTES + 10];
        let len = (b.len() - LENGTH_END) as i32;
        b[8..12].copy_from_slice(&len.to_be_bytes());
        b[16] = 2;
        b[23..27].copy_from_slice(&last_delta.to_be_bytes());
        b[35..43].copy_from_slice(&77i64.to_be_bytes());
        b[43..51].copy_from_slice(&9i64.to_be_bytes());
        b[51..53].copy_from_slice(&3i16.to_be_bytes());
        b[53..57].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        b[57..61].copy_from_slice(&records.to_be_bytes());
        let crc = crc32c(&b[21..]);
        b[17..21].copy_from_slice(&crc.to_be_bytes());
        b
    }

    #[test]
    fn a_batch_tells_what_storage_needs() {
        let mut bytes = batch(3, 2);
        assign(&mut bytes, Offset(100), LeaderEpoch(4));
        verify(&bytes).unwrap();
        let head = PieceHead::parse(&bytes).unwrap();
        assert_eq!((head.base, head.epoch, head.count), (Offset(100), LeaderEpoch(4), 3));
        assert_eq!(head.end(), Offset(103));
        assert_eq!(head.max_timestamp, Timestamp(77));
        let stamp = head.producer.unwrap();
        assert_eq!((stamp.id, stamp.epoch), (9, 3));
        assert_eq!(stamp.last_sequence, 0, "sequences wrap to zero");
    }

    #[test]
    fn append_time_keeps_the_checksum_right() {
        let mut bytes = batch(1, 0);
        stamp_append_time(&mut bytes, Timestamp(1234));
        verify(&bytes).unwrap();
        let head = PieceHead::parse(&bytes).unwrap();
        assert_eq!(head.max_timestamp, Timestamp(1234));
        assert_eq!(head.attributes & 8, 8);
    }

    #[test]
    fn more_records_than_offsets_is_refused() {
        assert!(matches!(PieceHead::parse(&batch(4, 2)), Err(PieceError::Count { .. })));
        assert!(matches!(PieceHead::parse(&batch(1, -1)), Err(PieceError::Count { .. })));
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut bytes = batch(1, 0);
        bytes[65] ^= 1;
        assert!(matches!(verify(&bytes), Err(PieceError::Checksum { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0usize..3) {
            if bytes.len() > 16 { bytes[16] = [2, 0x40, 7][magic]; }
            for piece in walk(&bytes) { let _ = piece; }
            let _ = verify(&bytes);
        }
    }
}
