//! Reading a compacted stream as a client does: what it asks for next follows from the bytes it got, not
//! from what the broker knows beside them.

use super::record::{self, Keyed};
use model::checksum::crc32c;
use model::{Offset, StreamId};
use shard::Shard;
use std::collections::BTreeMap;

/// Why there is nothing to judge.
#[derive(Debug)]
pub(in crate::cluster) enum Trouble {
    /// The replica says that it cannot read it, which it may while a disk fails.
    Refused(String),
    /// It showed what is wrong by itself.
    Wrong(String),
}

/// What was read.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Found {
    pub(in crate::cluster) records: BTreeMap<u64, Keyed>,
    /// Bytes of pieces.
    pub(in crate::cluster) bytes: u64,
}

/// Reads all of `stream` from `from` up to `end`, in steps of `bytes_max`.
///
/// # Errors
/// See [`Trouble`].
pub(in crate::cluster) fn read(
    shard: &Shard,
    stream: StreamId,
    from: u64,
    end: u64,
    bytes_max: usize,
) -> Result<Found, Trouble> {
    let mut found = Found::default();
    let mut next = from;
    while next < end {
        let slices = shard.journal().read(stream, Offset(next), Offset(end), bytes_max);
        let slices = slices.map_err(|error| Trouble::Refused(error.to_string()))?;
        let mut reached = next;
        for slice in &slices {
            reached = take(&slice.bytes, reached, &mut found).map_err(Trouble::Wrong)?;
        }
        if reached == next {
            return Err(Trouble::Wrong(format!("a reader stalls at @{next} of {end}")));
        }
        next = reached;
    }
    found.records = found.records.split_off(&from);
    Ok(found)
}

/// Adds the pieces that `bytes` are, each above the one before; the first may begin below `next`. Returns
/// where a client goes on.
fn take(bytes: &[u8], mut next: u64, found: &mut Found) -> Result<u64, String> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = rest.get(8..12).and_then(|length| length.try_into().ok()).map_or(0, u32::from_be_bytes);
        let Some(bytes) = rest.get(..12 + length as usize).filter(|bytes| bytes.len() > 21) else {
            return Err(format!("{} bytes that are no piece", rest.len()));
        };
        if bytes[17..21] != crc32c(&bytes[21..]).to_be_bytes() {
            return Err("the checksum of a piece does not match".into());
        }
        let piece = record::take(bytes)?;
        if piece.end <= next {
            return Err(format!("a piece of {}..{} after {next}", piece.base, piece.end));
        }
        for (offset, record) in piece.records {
            if found.records.last_key_value().is_some_and(|(last, _)| *last >= offset) {
                return Err(format!("@{offset} comes after a greater offset"));
            }
            found.records.insert(offset, record);
        }
        found.bytes += bytes.len() as u64;
        next = piece.end;
        rest = &rest[bytes.len()..];
    }
    Ok(next)
}
