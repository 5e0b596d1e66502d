//! The bytes of messages: made from a number, so that what is read back can be made again.

use crate::rng::Rng;
use model::checksum::crc32c;
use model::record::Message;
use model::{PieceHead, Timestamp};

/// Bytes of a Kafka batch in front of its records.
const BATCH_HEAD_BYTES: u64 = 61;

/// What a body is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) number: u64,
    /// Bytes of content.
    pub(super) size: u32,
    /// Records in it; a batch in Kafka's form when there are several.
    pub(super) count: u32,
    pub(super) time: Timestamp,
}

impl Recipe {
    pub(super) fn draw(rng: &mut Rng, number: u64, batch: bool, time: Timestamp) -> Self {
        let size = match rng.below(1000) {
            0..100 => rng.between(8, 60),
            100..850 => rng.between(60, 600),
            850..996 => rng.between(600, 4000),
            _ => rng.between(20_000, 60_000),
        };
        let count = if batch { rng.between(2, 20) } else { 1 };
        Recipe { number, size: size as u32, count: count as u32, time }
    }

    /// The piece, not yet sequenced.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let word = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let content: Vec<u8> = word.into_iter().cycle().take(self.size as usize).collect();
        if self.count == 1 {
            let message = Message { timestamp: self.time, value: &content, ..Message::default() };
            return message.encode().expect("no message here is large");
        }
        batch(self.count, self.time, &content)
    }

    /// Whether `piece` is this, wherever it was put.
    pub(super) fn is(&self, piece: &[u8]) -> bool {
        // Offset and epoch are the leader's; all after them came with the body.
        let made = self.bytes();
        piece.len() == made.len() && piece[16..] == made[16..]
    }
}

/// A Kafka batch whose records nobody looks into.
fn batch(count: u32, time: Timestamp, records: &[u8]) -> Vec<u8> {
    let mut tail = Vec::with_capacity(BATCH_HEAD_BYTES as usize + records.len());
    tail.extend_from_slice(&0u16.to_be_bytes());
    tail.extend_from_slice(&(count - 1).to_be_bytes());
    tail.extend_from_slice(&time.0.to_be_bytes());
    tail.extend_from_slice(&time.0.to_be_bytes());
    tail.extend_from_slice(&(-1i64).to_be_bytes());
    tail.extend_from_slice(&(-1i16).to_be_bytes());
    tail.extend_from_slice(&(-1i32).to_be_bytes());
    tail.extend_from_slice(&count.to_be_bytes());
    tail.extend_from_slice(records);
    let mut out = vec![0; 8];
    out.extend_from_slice(&(9 + tail.len() as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(2);
    out.extend_from_slice(&crc32c(&tail).to_be_bytes());
    out.extend_from_slice(&tail);
    debug_assert_eq!(PieceHead::parse(&out).map(|head| head.count), Ok(count));
    out
}
