//! The records inside of a batch.
//!
//! | field | |
//! |---|---|
//! | varint length | bytes after this field |
//! | i8 attributes | unused |
//! | varlong timestamp delta | milliseconds, added to the base timestamp of the batch |
//! | varint offset delta | added to the base offset of the batch |
//! | varint length, key | -1 for null |
//! | varint length, value | -1 for null |
//! | varint count, headers | each a varint length and key, a varint length (-1 for null) and value |

use bytes::{Buf, Bytes};

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The compressed bytes are not what their compression code says.
    #[error("the records do not decompress")]
    Compressed,
    /// Decompressed, the records would take more than the caller has room for.
    #[error("the records are more than {limit} bytes decompressed")]
    TooLarge {
        /// Bytes there is room for.
        limit: usize,
    },
    /// A record's parts do not fill it, or it has more than there is.
    #[error("the records are malformed")]
    Shape,
    /// Of a batch that is looked through, the record that is malformed.
    #[error("record {nth} is malformed")]
    Malformed {
        /// Its place in the batch.
        nth: i32,
    },
    /// A record that is not numbered as the next.
    #[error("record {nth} has the offset delta {found}")]
    Numbering {
        /// Its place in the batch.
        nth: i32,
        /// Its offset delta.
        found: i32,
    },
    /// More than as many records as the head says.
    #[error("there are more bytes than records")]
    Trailing,
}

/// A header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The key, by convention UTF-8, which Kafka does not check.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

/// One record. Shares the memory of its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds after the base timestamp of the batch.
    pub timestamp_delta: i64,
    /// Offsets after the base offset of the batch.
    pub offset_delta: i32,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order; keys may repeat.
    pub headers: Vec<Header>,
}

/// The records of a batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records {
    rest: Bytes,
    left: i32,
}

impl Records {
    pub(crate) fn new(bytes: Bytes, count: i32) -> Self {
        Records { rest: bytes, left: count }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut record = Record::read(&mut self.rest);
        if self.left == 0 && record.is_ok() && !self.rest.is_empty() {
            record = Err(RecordError::Trailing);
        }
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

impl Record {
    fn read(rest: &mut Bytes) -> Result<Self, RecordError> {
        let mut fields = optional(rest)?.ok_or(RecordError::Shape)?;
        take(&mut fields, 1)?;
        let (timestamp_delta, offset_delta) = (varlong(&mut fields)?, varint(&mut fields)?);
        Record::of(timestamp_delta, offset_delta, fields)
    }

    /// The record whose fields from the key on are these.
    pub(crate) fn of(timestamp_delta: i64, offset_delta: i32, mut fields: Bytes) -> Result<Self, RecordError> {
        let record = Record {
            timestamp_delta,
            offset_delta,
            key: optional(&mut fields)?,
            value: optional(&mut fields)?,
            headers: headers(&mut fields)?,
        };
        if fields.is_empty() { Ok(record) } else { Err(RecordError::Shape) }
    }

    /// Writes the record with the length before it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut fields = vec![0];
        put_varint(self.timestamp_delta, &mut fields);
        put_varint(self.offset_delta.into(), &mut fields);
        put_optional(self.key.as_deref(), &mut fields);
        put_optional(self.value.as_deref(), &mut fields);
        put_varint(self.headers.len() as i64, &mut fields);
        for header in &self.headers {
            put_optional(Some(&header.key), &mut fields);
            put_optional(header.value.as_deref(), &mut fields);
        }
        put_optional(Some(&fields), out);
    }
}

fn take(rest: &mut Bytes, count: usize) -> Result<Bytes, RecordError> {
    if count > rest.len() { Err(RecordError::Shape) } else { Ok(rest.split_to(count)) }
}

/// Bytes after their length as a varint; null for a negative one.
fn optional(rest: &mut Bytes) -> Result<Option<Bytes>, RecordError> {
    match usize::try_from(varint(rest)?) {
        Ok(length) => take(rest, length).map(Some),
        Err(_) => Ok(None),
    }
}

fn varint(rest: &mut Bytes) -> Result<i32, RecordError> {
    i32::try_from(zigzag(rest, 5)?).map_err(|_| RecordError::Shape)
}

fn varlong(rest: &mut Bytes) -> Result<i64, RecordError> {
    zigzag(rest, 10)
}

/// LEB128 of a zigzag. Zero groups may pad it within `bytes_max`, as in Kafka.
fn zigzag(rest: &mut Bytes, bytes_max: u32) -> Result<i64, RecordError> {
    let mut value = 0u64;
    for nth in 0..bytes_max {
        let byte = *rest.first().ok_or(RecordError::Shape)?;
        rest.advance(1);
        value |= group(byte, nth)?;
        if byte & 0x80 == 0 {
            return Ok(signed(value));
        }
    }
    Err(RecordError::Shape)
}

/// The bits that the `nth` byte of a varint stands for.
pub(crate) fn group(byte: u8, nth: u32) -> Result<u64, RecordError> {
    let (bits, shift) = (u64::from(byte & 0x7f), 7 * nth);
    if (bits << shift) >> shift == bits { Ok(bits << shift) } else { Err(RecordError::Shape) }
}

/// The number that a zigzag stands for.
pub(crate) fn signed(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn put_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    put_varint(bytes.map_or(-1, |bytes| bytes.len() as i64), out);
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn headers(rest: &mut Bytes) -> Result<Vec<Header>, RecordError> {
    // Each takes two lengths at least.
    let count = usize::try_from(varint(rest)?).ok().filter(|count| *count <= rest.len() / 2);
    let mut headers = Vec::new();
    for _ in 0..count.ok_or(RecordError::Shape)? {
        let key = optional(rest)?.ok_or(RecordError::Shape)?;
        headers.push(Header { key, value: optional(rest)? });
    }
    Ok(headers)
}
