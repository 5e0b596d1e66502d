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

use super::decode_error::{DecodeError, Fault};
use super::reader::Reader;
use super::writer::Writer;
use bytes::Bytes;

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
    /// The bytes are not a record.
    #[error("record: {0}")]
    Malformed(#[from] DecodeError),
    /// A record's parts do not fill it, or it has more than there is.
    #[error("the records are malformed")]
    Shape,
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
    /// The key, by convention UTF-8: Kafka does not check it, so it is not [`Text`](super::text::Text).
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
    reader: Reader,
    left: i32,
}

impl Records {
    pub(crate) fn new(bytes: Bytes, count: i32) -> Self {
        Records { reader: Reader::new(bytes), left: count }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut record = Record::read(&mut self.reader);
        if self.left == 0 && record.is_ok() {
            record = self.reader.clone().finish().and(record);
        }
        if record.is_err() {
            self.left = 0;
        }
        Some(record.map_err(|error| error.within("Record").into()))
    }
}

impl Record {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let start = reader.position();
        let bytes = optional(reader)?.ok_or(DecodeError::new(Fault::NullNotAllowed, start))?;
        let mut reader = Reader::new(bytes);
        reader.i8()?;
        let record = Record {
            timestamp_delta: reader.varlong()?,
            offset_delta: reader.varint()?,
            key: optional(&mut reader)?,
            value: optional(&mut reader)?,
            headers: headers(&mut reader)?,
        };
        reader.finish()?;
        Ok(record)
    }

    /// Writes what the length before a record counts.
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.i8(0);
        writer.varlong(self.timestamp_delta);
        writer.varint(self.offset_delta);
        write_optional(writer, self.key.as_deref());
        write_optional(writer, self.value.as_deref());
        writer.varint(self.headers.len() as i32);
        for header in &self.headers {
            write_optional(writer, Some(&header.key));
            write_optional(writer, header.value.as_deref());
        }
    }
}

/// Bytes after their length as a varint; null for a negative one.
fn optional(reader: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    match usize::try_from(reader.varint()?) {
        Ok(length) => reader.take(length).map(Some),
        Err(_) => Ok(None),
    }
}

pub(crate) fn write_optional(writer: &mut Writer<'_>, bytes: Option<&[u8]>) {
    writer.varint(bytes.map_or(-1, |bytes| bytes.len() as i32));
    writer.raw(bytes.unwrap_or_default());
}

fn headers(reader: &mut Reader) -> Result<Vec<Header>, DecodeError> {
    let at = reader.position();
    let count = reader.varint()?;
    // Each takes two lengths at least.
    let bounded = usize::try_from(count).ok().filter(|&count| count <= reader.remaining() / 2);
    let Some(bounded) = bounded else {
        let fault = Fault::CountTooLarge { count: count as u32 as u64, left: reader.remaining() };
        return Err(DecodeError::new(fault, at));
    };
    let mut headers = Vec::new();
    for _ in 0..bounded {
        let at = reader.position();
        let key = optional(reader)?.ok_or(DecodeError::new(Fault::NullNotAllowed, at))?;
        headers.push(Header { key, value: optional(reader)? });
    }
    Ok(headers)
}
