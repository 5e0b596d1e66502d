//! Numbered records as clients write them, and their numbers as they are read back.
//!
//! Written by hand, so that a mistake in the broker's own encoders is not made twice.

use journal::Slice;
use model::checksum::crc32c;

/// Bytes of a Kafka batch in front of its records, and of a message in front of its value.
const BATCH_HEAD_BYTES: usize = 61;
const MESSAGE_HEAD_BYTES: usize = 30;

/// An idempotent producer's stamp on a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) producer: u64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

/// One message, number `id`, with a body of about `size` bytes.
pub(crate) fn message(id: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE_HEAD_BYTES];
    bytes[16] = 0x40;
    body(&mut bytes, id, size);
    seal(bytes)
}

/// A batch of `count` records, numbered from `id` on, with `size` bytes for all of them.
pub(crate) fn batch(id: u64, count: u32, size: usize, stamp: Stamp) -> Vec<u8> {
    let mut bytes = vec![0; BATCH_HEAD_BYTES];
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[43..51].copy_from_slice(&stamp.producer.to_be_bytes());
    bytes[51..53].copy_from_slice(&stamp.epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&stamp.sequence.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    body(&mut bytes, id, size);
    seal(bytes)
}

fn body(bytes: &mut Vec<u8>, id: u64, size: usize) {
    bytes.extend(id.to_le_bytes().into_iter().cycle().take(size.next_multiple_of(8).max(8)));
}

pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// What was read: each record's offset and number, and the bytes of their pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) records: Vec<(u64, u64)>,
    pub(crate) bytes: u64,
}

/// Takes apart what was read.
///
/// # Errors
/// What is wrong with it, when it is not what somebody wrote.
pub(crate) fn take(slices: &[Slice]) -> Result<Found, String> {
    let mut found = Found::default();
    for slice in slices {
        let mut rest = &slice.bytes[..];
        while !rest.is_empty() {
            let be = |range: std::ops::Range<usize>| {
                rest.get(range).map(|field| field.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)))
            };
            let (Some(base), Some(length), Some(form)) = (be(0..8), be(8..12), be(16..17)) else {
                return Err(format!("{} bytes that are no piece", rest.len()));
            };
            let Some(piece) = rest.get(..12 + length as usize) else {
                return Err(format!("@{base}: a piece of {length} bytes in {}", rest.len()));
            };
            if u64::from(crc32c(&piece[21..])) != be(17..21).unwrap_or(0) {
                return Err(format!("@{base}: the checksum does not match"));
            }
            let (head, count) =
                if form == 2 { (BATCH_HEAD_BYTES, be(57..61).unwrap_or(0)) } else { (MESSAGE_HEAD_BYTES, 1) };
            let numbers: Vec<u64> =
                piece[head..].as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
            let Some(id) = numbers.first().copied().filter(|id| numbers.iter().all(|number| number == id)) else {
                return Err(format!("@{base}: a body that nobody wrote"));
            };
            found.records.extend((0..count).map(|nth| (base + nth, id + nth)));
            found.bytes += piece.len() as u64;
            rest = &rest[piece.len()..];
        }
    }
    Ok(found)
}
