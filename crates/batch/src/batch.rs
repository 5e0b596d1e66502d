//! Record batches: what Produce carries in and Fetch carries out, and what is stored as it came.
//!
//! The only format since Kafka 0.11 is version 2 (KIP-98), whose head is fixed:
//!
//! | at | field | |
//! |---|---|---|
//! | 0 | i64 base offset | offset of the first record, given by the server |
//! | 8 | i32 length | bytes after this field |
//! | 12 | i32 leader epoch | given by the server |
//! | 16 | i8 magic | 2 |
//! | 17 | u32 CRC32C | of everything from the attributes on |
//! | 21 | i16 attributes | compression in bits 0 to 2, see the methods of [`Batch`] for the others |
//! | 23 | i32 last offset delta | offset of the last record, less the base offset |
//! | 27 | i64 base timestamp | milliseconds since 1970 |
//! | 35 | i64 max timestamp | milliseconds since 1970 |
//! | 43 | i64 producer id | -1 for none (KIP-98) |
//! | 51 | i16 producer epoch | -1 for none |
//! | 53 | i32 base sequence | -1 for none |
//! | 57 | i32 record count | |
//! | 61 | | the records, compressed as one if at all; see [`record`](super::record) |
//!
//! What the server gives stands outside of the checksum, so [`place`] needs no new one.

use super::compression::{self, Compression};
use super::record::{RecordError, Records};
use bytes::{Bytes, BytesMut};

/// Bytes of the head.
pub const HEAD: usize = 61;

/// Where the length ends, and so what it counts begins.
const COUNTED: usize = 12;

/// Where the checksum ends, and so what it covers begins.
const COVERED: usize = 21;

/// Why bytes are not a record batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a head, or than the head claims.
    #[error("record batch truncated: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes of the batch, as far as known.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length that does not even cover the head.
    #[error("record batch of length {0}")]
    Length(i32),
    /// A format other than version 2.
    #[error("record batch of format {0}")]
    Magic(i8),
    /// The checksum does not match.
    #[error("record batch with checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What the head says.
        found: u32,
        /// What the bytes have.
        expected: u32,
    },
    /// A compression code that nobody has given a meaning to.
    #[error("record batch with compression code {0}")]
    Compression(u8),
    /// A number of records that does not match their offsets, or is not positive.
    #[error("record batch of {count} records with a last offset delta of {last_offset_delta}")]
    Count {
        /// Records, as the head says.
        count: i32,
        /// Offset of the last, less that of the first.
        last_offset_delta: i32,
    },
}

/// The bytes of one record batch, checked: length, format, checksum, compression code, and that there
/// are no more records than offsets. The records themselves are not checked before they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub(crate) bytes: Bytes,
}

macro_rules! head_fields {
    ($($(#[$doc:meta])+ $name:ident: $type:ident at $at:literal;)*) => {
        impl Batch {
            $(
                $(#[$doc])+
                #[must_use]
                pub fn $name(&self) -> $type {
                    $type::from_be_bytes(field(&self.bytes, $at))
                }
            )*
        }
    };
}

head_fields! {
    /// The offset of the first record.
    base_offset: i64 at 0;
    /// The leader epoch it was appended in.
    leader_epoch: i32 at 12;
    /// The attributes as they are.
    attributes: i16 at 21;
    /// The offset of the last record, less that of the first.
    last_offset_delta: i32 at 23;
    /// What the timestamps of the records are counted from, in milliseconds since 1970.
    base_timestamp: i64 at 27;
    /// The largest timestamp, or with [`Batch::has_append_time`] that of every record, in milliseconds
    /// since 1970.
    max_timestamp: i64 at 35;
    /// The producer; -1 for none.
    producer_id: i64 at 43;
    /// The epoch of the producer; -1 for none.
    producer_epoch: i16 at 51;
    /// The sequence number of the first record; -1 for none.
    base_sequence: i32 at 53;
    /// The number of records, at least 1.
    record_count: i32 at 57;
}

impl Batch {
    /// Takes the first batch off `records`.
    ///
    /// # Errors
    /// [`BatchError`], which leaves `records` as they were.
    pub fn split_from(records: &mut Bytes) -> Result<Self, BatchError> {
        let length = check(records)?;
        Ok(Batch { bytes: records.split_to(length) })
    }

    /// A batch of bytes that were checked before. What is read of others means nothing.
    #[must_use]
    pub fn checked(bytes: Bytes) -> Self {
        Batch { bytes }
    }

    /// The batch as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch as bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Whether there is a record for each offset from the first to the last, as producers send them.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.record_count() - 1 == self.last_offset_delta()
    }

    /// How the records are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        // The code was checked, so there is no other case.
        Compression::from_code(code(self.attributes())).unwrap_or(Compression::None)
    }

    /// Whether the timestamps are of the append rather than of the client (bit 3).
    #[must_use]
    pub fn has_append_time(&self) -> bool {
        self.attributes() & 1 << 3 != 0
    }

    /// Whether it is part of a transaction (bit 4).
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & 1 << 4 != 0
    }

    /// Whether it ends a transaction rather than carrying records (bit 5).
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & 1 << 5 != 0
    }

    /// Whether the base timestamp is when tombstones may be dropped (bit 6). Only compaction sets it.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & 1 << 6 != 0
    }

    /// The same records in another compression; decompressed they may take `limit` bytes.
    ///
    /// # Errors
    /// [`RecordError`] from decompression.
    pub fn compressed(&self, compression: Compression, limit: usize) -> Result<Batch, RecordError> {
        let plain = compression::decompress(self.compression(), self.bytes.slice(HEAD..), limit)?;
        let records = compression::compress(compression, &plain).map_err(|_| RecordError::Compressed)?;
        let mut bytes = BytesMut::with_capacity(HEAD + records.len());
        bytes.extend_from_slice(&self.bytes[..HEAD]);
        bytes.extend_from_slice(&records);
        let length = (bytes.len() - COUNTED) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let attributes = self.attributes() & !0b111 | i16::from(compression.code());
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        Ok(Batch::sealed(bytes))
    }

    /// The same batch with another greatest timestamp in its head.
    #[must_use]
    pub fn with_max_timestamp(&self, timestamp: i64) -> Batch {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
        Batch::sealed(bytes)
    }

    /// Computes the checksum of what was changed.
    pub(crate) fn sealed(mut bytes: BytesMut) -> Batch {
        let checksum = checksum(&bytes);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        Batch { bytes: bytes.freeze() }
    }

    /// The records, decompressed into at most `limit` bytes. Those that are not compressed take no
    /// memory, and no limit.
    ///
    /// # Errors
    /// [`RecordError`] from decompression; each record can fail on its own besides.
    pub fn records(&self, limit: usize) -> Result<Records, RecordError> {
        let bytes = compression::decompress(self.compression(), self.bytes.slice(HEAD..), limit)?;
        Ok(Records::new(bytes, self.record_count()))
    }
}

/// The batches of a records field, one after the other. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Walks `records`.
    #[must_use]
    pub fn new(records: Bytes) -> Self {
        Batches { rest: records }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::split_from(&mut self.rest);
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

/// Gives a batch its place in a partition. `batch` starts with a whole head; otherwise nothing happens.
pub fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if batch.len() >= HEAD {
        batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
        batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// The checksum of a batch of at least a head.
pub(crate) fn checksum(batch: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[COVERED..]) as u32
}

/// Checks the batch that `bytes` start with, and returns its length.
fn check(bytes: &[u8]) -> Result<usize, BatchError> {
    let truncated = |wanted| BatchError::Truncated { wanted, left: bytes.len() };
    // Before any length: messages of older formats have the magic in the same place, but may be shorter
    // than a head and count their length differently.
    let Some(&[.., magic]) = bytes.first_chunk::<17>() else { return Err(truncated(HEAD)) };
    if magic != 2 {
        return Err(BatchError::Magic(magic as i8));
    }
    if bytes.len() < HEAD {
        return Err(truncated(HEAD));
    }
    let claimed = i32::from_be_bytes(field(bytes, 8));
    let length = match usize::try_from(claimed) {
        Ok(counted) if counted >= HEAD - COUNTED => COUNTED.saturating_add(counted),
        _ => return Err(BatchError::Length(claimed)),
    };
    let batch = bytes.get(..length).ok_or_else(|| truncated(length))?;
    let (found, expected) = (u32::from_be_bytes(field(batch, 17)), checksum(batch));
    if found != expected {
        return Err(BatchError::Checksum { found, expected });
    }
    let compression = code(i16::from_be_bytes(field(batch, 21)));
    if Compression::from_code(compression).is_none() {
        return Err(BatchError::Compression(compression));
    }
    let count = i32::from_be_bytes(field(batch, 57));
    let last_offset_delta = i32::from_be_bytes(field(batch, 23));
    // Compaction leaves fewer records than offsets.
    if count < 1 || i64::from(count) > i64::from(last_offset_delta) + 1 {
        return Err(BatchError::Count { count, last_offset_delta });
    }
    Ok(length)
}

fn code(attributes: i16) -> u8 {
    attributes as u8 & 0b111
}

/// `N` bytes of a head. All callers hold a whole one.
fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}
