//! Keyed records, written and taken apart by hand, so that a mistake in the broker's own code is not made
//! twice.
//!
//! Each says itself what it is: the key is a number, and a header of a record or the value of a message has
//! the record's own number.

use crate::cluster::record::{Stamp, seal};

/// Bytes of a Kafka batch in front of its records, and of a message in front of its first field.
const BATCH_HEAD_BYTES: usize = 61;
const MESSAGE_HEAD_BYTES: usize = 30;
/// Flag of a message that has a key and nothing else.
const HAS_KEY: u8 = 1;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Keyed {
    /// Its number: no other has it.
    pub(in crate::cluster) id: u64,
    pub(in crate::cluster) key: u64,
    /// It removes its key.
    pub(in crate::cluster) removes: bool,
    /// When it was made, in milliseconds since 1970.
    pub(in crate::cluster) millis: i64,
}

/// A batch of records, whose values have `size` bytes each.
pub(in crate::cluster) fn batch(records: &[Keyed], size: usize, stamp: Stamp) -> Vec<u8> {
    let count = records.len() as u32;
    let base = records.first().map_or(0, |record| record.millis);
    let latest = records.iter().map(|record| record.millis).max().unwrap_or(0);
    let mut bytes = vec![0; BATCH_HEAD_BYTES];
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&base.to_be_bytes());
    bytes[35..43].copy_from_slice(&latest.to_be_bytes());
    bytes[43..51].copy_from_slice(&stamp.producer.to_be_bytes());
    bytes[51..53].copy_from_slice(&stamp.epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&stamp.sequence.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    for (nth, record) in records.iter().enumerate() {
        let mut body = vec![0];
        put_signed(&mut body, record.millis - base);
        put_signed(&mut body, nth as i64);
        put_bytes(&mut body, &record.key.to_be_bytes());
        if record.removes {
            put_signed(&mut body, -1);
        } else {
            put_bytes(&mut body, &value(record.id, size));
        }
        put_signed(&mut body, 1);
        put_bytes(&mut body, b"n");
        put_bytes(&mut body, &record.id.to_be_bytes());
        put_signed(&mut bytes, body.len() as i64);
        bytes.extend_from_slice(&body);
    }
    seal(bytes)
}

/// A message in the broker's own form, which cannot remove its key.
pub(in crate::cluster) fn message(record: Keyed, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE_HEAD_BYTES];
    bytes[16] = 0x40;
    bytes[21] = HAS_KEY;
    bytes[22..30].copy_from_slice(&record.millis.to_be_bytes());
    bytes.push(8);
    bytes.extend_from_slice(&record.key.to_be_bytes());
    bytes.extend_from_slice(&value(record.id, size));
    seal(bytes)
}

fn value(id: u64, size: usize) -> Vec<u8> {
    id.to_be_bytes().into_iter().cycle().take(size.next_multiple_of(8).max(8)).collect()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_signed(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Kafka's zigzag numbers.
fn put_signed(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// What a piece turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Piece {
    pub(in crate::cluster) base: u64,
    /// One past its last offset, by its own words.
    pub(in crate::cluster) end: u64,
    /// By offset.
    pub(in crate::cluster) records: Vec<(u64, Keyed)>,
}

/// Takes apart the piece that `bytes` are, whose checksum is verified.
///
/// # Errors
/// What is wrong with it, when nobody wrote that.
pub(in crate::cluster) fn take(bytes: &[u8]) -> Result<Piece, String> {
    let mut input = Input(bytes);
    let base = input.be(8)?;
    let mut input = Input(bytes.get(16..).unwrap_or_default());
    if input.be(1)? == 0x40 {
        return take_message(bytes, base);
    }
    let mut input = Input(bytes.get(23..).unwrap_or_default());
    let (last_delta, base_millis) = (input.be(4)?, input.be(8)? as i64);
    let mut input = Input(bytes.get(57..).unwrap_or_default());
    let count = input.be(4)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let length = input.signed()?;
        let mut body = Input(input.bytes(length)?);
        body.be(1)?;
        let millis = base_millis + body.signed()?;
        let delta = body.signed()? as u64;
        let key = body.counted()?.and_then(as_number).ok_or("a record whose key nobody wrote")?;
        let content = body.counted()?;
        let (headers, name, id) = (body.signed()?, body.counted()?, body.counted()?);
        let id = id.and_then(as_number).filter(|_| headers == 1 && name == Some(b"n") && body.0.is_empty());
        let id = id.ok_or("a record whose headers nobody wrote")?;
        if content.is_some_and(|content| content.is_empty() || value(id, content.len()) != content) {
            return Err(format!("record {id} has a value that nobody wrote"));
        }
        if delta > last_delta {
            return Err(format!("record {id} is {delta} offsets after its batch's first of {last_delta} more"));
        }
        records.push((base + delta, Keyed { id, key, removes: content.is_none(), millis }));
    }
    if !input.0.is_empty() {
        return Err(format!("@{base}: {} bytes behind the records", input.0.len()));
    }
    Ok(Piece { base, end: base + last_delta + 1, records })
}

fn take_message(bytes: &[u8], base: u64) -> Result<Piece, String> {
    let mut input = Input(&bytes[21..]);
    let (flags, millis, length) = (input.be(1)?, input.be(8)? as i64, input.be(1)?);
    let (key, id) = (input.be(8)?, Input(input.0).be(8)?);
    if flags != u64::from(HAS_KEY) || length != 8 || value(id, input.0.len()) != input.0 {
        return Err(format!("@{base}: a message that nobody wrote"));
    }
    Ok(Piece { base, end: base + 1, records: vec![(base, Keyed { id, key, removes: false, millis })] })
}

fn as_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Bytes being taken apart.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: i64) -> Result<&'a [u8], String> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len());
        let (taken, rest) = self.0.split_at(count.ok_or("fewer bytes than it says")?);
        self.0 = rest;
        Ok(taken)
    }

    fn be(&mut self, bytes: i64) -> Result<u64, String> {
        Ok(self.bytes(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed(&mut self) -> Result<i64, String> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.be(1)?;
            number |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
            shift += 7;
            if shift > 63 {
                return Err("a number without an end".into());
            }
        }
    }

    /// Bytes with their length before them; `None` for null.
    fn counted(&mut self) -> Result<Option<&'a [u8]>, String> {
        match self.signed()? {
            -1 => Ok(None),
            length => self.bytes(length).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let made = |id, key, removes, millis| Keyed { id, key, removes, millis };
        let records = [made(70, 3, false, 1000), made(71, 4, true, 1300), made(72, 3, false, 900)];
        let stamp = Stamp { producer: 1, epoch: 0, sequence: 0 };
        let mut bytes = batch(&records, 20, stamp);
        bytes[..8].copy_from_slice(&40u64.to_be_bytes());
        let expected: Vec<_> = (40..).zip(records).collect();
        assert_eq!(take(&bytes), Ok(Piece { base: 40, end: 43, records: expected }));
        bytes.pop();
        assert!(take(&bytes).is_err());
        let single = made(9, 5, false, 77);
        assert_eq!(take(&message(single, 30)), Ok(Piece { base: 0, end: 1, records: vec![(0, single)] }));
    }
}
