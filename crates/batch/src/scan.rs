//! Looking at every record of a batch without keeping any: what a broker has to know before it accepts
//! the batch. The records are decompressed as they are walked, so this takes no more memory than a
//! decoder does.

use super::compression::{self, Compression};
use super::record::{RecordError, group, signed};
use crate::batch::{Batch, HEAD};
use std::io::{self, BufRead};

/// What there is to know about the records of a batch, which are well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The smallest timestamp, in milliseconds since 1970.
    pub min_timestamp: i64,
    /// The greatest.
    pub max_timestamp: i64,
    /// Places in the batch of the first records that have these.
    pub min_timestamp_at: i32,
    /// See `min_timestamp_at`.
    pub max_timestamp_at: i32,
    /// Place of the first record without a key.
    pub keyless: Option<i32>,
}

/// Walks all records. Decompressed they may take `limit` bytes.
///
/// # Errors
/// When they are not as many as the head says, not numbered one by one, not well formed, or too large.
pub fn scan(batch: &Batch, limit: usize) -> Result<Facts, RecordError> {
    let bytes = &batch.as_bytes()[HEAD..];
    match batch.compression() {
        Compression::None => walk(batch, bytes, usize::MAX),
        compression => walk(batch, compression::open(compression, bytes, limit)?, limit),
    }
}

/// The offset and the timestamp of the first record that is not before `time`. Decompressed, those up to it
/// may take `limit` bytes.
///
/// # Errors
/// When those are not well formed, or too large.
pub fn find_time(batch: &Batch, time: i64, limit: usize) -> Result<Option<(i64, i64)>, RecordError> {
    let bytes = &batch.as_bytes()[HEAD..];
    let source = compression::open(batch.compression(), bytes, limit)?;
    let limit = if batch.compression() == Compression::None { usize::MAX } else { limit };
    let mut walker = Walker { source, read: 0, limit };
    for _ in 0..batch.record_count() {
        let record = walker.record()?;
        // Both are the producer's.
        let timestamp = batch.base_timestamp().saturating_add(record.timestamp_delta);
        if timestamp >= time {
            return Ok(Some((batch.base_offset().saturating_add(record.offset_delta.into()), timestamp)));
        }
    }
    Ok(None)
}

fn walk(batch: &Batch, source: impl BufRead, limit: usize) -> Result<Facts, RecordError> {
    let mut walker = Walker { source, read: 0, limit };
    let (mut min, mut max, mut keyless) = ((i64::MAX, 0), (i64::MIN, 0), None);
    for nth in 0..batch.record_count() {
        let record = walker.record().map_err(|error| match error {
            RecordError::Shape => RecordError::Malformed { nth },
            error => error,
        })?;
        if record.offset_delta != nth {
            return Err(RecordError::Numbering { nth, found: record.offset_delta });
        }
        // Readers add them without looking.
        let timestamp = batch.base_timestamp().checked_add(record.timestamp_delta);
        let timestamp = timestamp.ok_or(RecordError::Malformed { nth })?;
        if timestamp < min.0 {
            min = (timestamp, nth);
        }
        if timestamp > max.0 {
            max = (timestamp, nth);
        }
        if keyless.is_none() && !record.has_key {
            keyless = Some(nth);
        }
    }
    match walker.source.fill_buf() {
        Ok([]) => Ok(Facts {
            min_timestamp: min.0,
            max_timestamp: max.0,
            min_timestamp_at: min.1,
            max_timestamp_at: max.1,
            keyless,
        }),
        Ok(_) => Err(RecordError::Trailing),
        Err(error) => Err(compression::error_of(&error)),
    }
}

/// What is looked at of a record.
struct Seen {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

pub(crate) struct Walker<R> {
    pub(crate) source: R,
    /// Bytes read so far.
    pub(crate) read: usize,
    pub(crate) limit: usize,
}

impl<R: BufRead> Walker<R> {
    fn record(&mut self) -> Result<Seen, RecordError> {
        let bytes = usize::try_from(self.varint()?).map_err(|_| RecordError::Shape)?;
        let end = self.read.checked_add(bytes).ok_or(RecordError::Shape)?;
        self.skip(1, end)?;
        let (timestamp_delta, offset_delta) = (self.varlong()?, self.varint()?);
        let has_key = self.skip_optional(end)?;
        self.skip_optional(end)?;
        let headers = self.varint()?;
        // Each takes two bytes at least, so what they claim together is bounded by what there is.
        for _ in 0..headers {
            if !self.skip_optional(end)? {
                return Err(RecordError::Shape);
            }
            self.skip_optional(end)?;
        }
        if headers < 0 || self.read != end {
            return Err(RecordError::Shape);
        }
        Ok(Seen { timestamp_delta, offset_delta, has_key })
    }

    /// Steps over bytes behind their length. Returns whether there were any, be they none.
    fn skip_optional(&mut self, end: usize) -> Result<bool, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.skip(length, end).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    pub(crate) fn skip(&mut self, mut count: usize, end: usize) -> Result<(), RecordError> {
        if count > end.saturating_sub(self.read) {
            return Err(RecordError::Shape);
        }
        while count > 0 {
            let there = self.fill()?.min(count);
            self.consume(there)?;
            count -= there;
        }
        Ok(())
    }

    pub(crate) fn varint(&mut self) -> Result<i32, RecordError> {
        // As Kafka reads it: five bytes at most.
        i32::try_from(self.zigzag(5)?).map_err(|_| RecordError::Shape)
    }

    pub(crate) fn varlong(&mut self) -> Result<i64, RecordError> {
        self.zigzag(10)
    }

    fn zigzag(&mut self, bytes_max: u32) -> Result<i64, RecordError> {
        let mut value = 0u64;
        for nth in 0..bytes_max {
            let mut byte = [0];
            self.source.read_exact(&mut byte).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => RecordError::Shape,
                _ => compression::error_of(&error),
            })?;
            self.count(1)?;
            value |= group(byte[0], nth)?;
            if byte[0] & 0x80 == 0 {
                return Ok(signed(value));
            }
        }
        Err(RecordError::Shape)
    }

    /// Keeps so many bytes, for which memory is taken as they come.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, RecordError> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let there = self.source.fill_buf().map_err(|error| compression::error_of(&error))?;
            if there.is_empty() {
                return Err(RecordError::Shape);
            }
            let there = &there[..there.len().min(count - taken.len())];
            taken.extend_from_slice(there);
            let bytes = there.len();
            self.consume(bytes)?;
        }
        Ok(taken)
    }

    /// How many bytes there are at once: one at least.
    fn fill(&mut self) -> Result<usize, RecordError> {
        match self.source.fill_buf() {
            Ok([]) => Err(RecordError::Shape),
            Ok(bytes) => Ok(bytes.len()),
            Err(error) => Err(compression::error_of(&error)),
        }
    }

    fn consume(&mut self, count: usize) -> Result<(), RecordError> {
        self.source.consume(count);
        self.count(count)
    }

    fn count(&mut self, count: usize) -> Result<(), RecordError> {
        self.read += count;
        if self.read > self.limit { Err(RecordError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::BatchBuilder;
    use crate::record::{Header, Record};
    use bytes::Bytes;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn record(nth: i32, key: Option<&'static [u8]>) -> Record {
        Record {
            timestamp_delta: 10 - i64::from(nth),
            offset_delta: nth,
            key: key.map(Bytes::from_static),
            value: Some(Bytes::from(vec![b'v'; 100 * nth as usize])),
            headers: vec![Header { key: Bytes::from_static(b"h"), value: None }],
        }
    }

    fn batch(records: Vec<Record>) -> Batch {
        let bytes = BatchBuilder { base_timestamp: 1000, records, ..BatchBuilder::default() }.encode();
        Batch::split_from(&mut bytes.clone()).unwrap()
    }

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn every_codec_tells_the_same() {
        let plain = batch(vec![record(0, Some(b"k")), record(1, None), record(2, Some(b""))]);
        for codec in CODECS {
            let compressed = plain.compressed(codec, LIMIT).unwrap();
            assert_eq!(compressed.compression(), codec);
            let facts = Facts {
                min_timestamp: 1008,
                max_timestamp: 1010,
                min_timestamp_at: 2,
                max_timestamp_at: 0,
                keyless: Some(1),
            };
            assert_eq!(scan(&compressed, LIMIT), Ok(facts), "{codec:?}");
            let records = |batch: &Batch| batch.records(LIMIT).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
            assert_eq!(records(&compressed), records(&plain), "{codec:?}");
        }
        assert_eq!(scan(&batch(vec![record(0, Some(b""))]), LIMIT).unwrap().keyless, None);
    }

    #[test]
    fn numbers_have_no_gaps() {
        let gap = batch(vec![record(0, None), record(2, None)]);
        assert_eq!(scan(&gap, LIMIT), Err(RecordError::Numbering { nth: 1, found: 2 }));
    }

    #[test]
    fn the_first_record_of_a_time_is_found_in_every_codec() {
        let record = |nth: i32, timestamp_delta| Record { timestamp_delta, ..record(nth, None) };
        let plain = batch(vec![record(0, 5), record(1, 9), record(2, 3), record(3, 9)]);
        for codec in CODECS {
            let batch = plain.compressed(codec, LIMIT).unwrap();
            for (time, found) in [(0, Some((0, 1005))), (1006, Some((1, 1009))), (1009, Some((1, 1009))), (1010, None)]
            {
                assert_eq!(find_time(&batch, time, LIMIT), Ok(found), "{codec:?} {time}");
            }
        }
    }

    #[test]
    fn a_search_that_takes_too_much_is_left() {
        let large = Record { value: Some(Bytes::from(vec![0; LIMIT])), ..Record::default() };
        for codec in &CODECS[1..] {
            let bomb = batch(vec![large.clone()]).compressed(*codec, 2 * LIMIT).unwrap();
            assert_eq!(find_time(&bomb, 5000, LIMIT), Err(RecordError::TooLarge { limit: LIMIT }), "{codec:?}");
        }
    }

    #[test]
    fn a_time_that_no_number_holds_is_malformed() {
        let record = |nth: i32, timestamp_delta| Record { timestamp_delta, ..record(nth, None) };
        for timestamp_delta in [i64::MAX, i64::MAX - 999] {
            assert_eq!(scan(&batch(vec![record(0, timestamp_delta)]), LIMIT), Err(RecordError::Malformed { nth: 0 }));
        }
        assert!(scan(&batch(vec![record(0, i64::MAX - 1000)]), LIMIT).is_ok());
    }

    #[test]
    fn the_malformed_record_is_named() {
        let mut bytes = batch(vec![record(0, None), record(1, None)]).into_bytes().to_vec();
        // The count of headers of the last record.
        let at = bytes.len() - 4;
        assert_eq!(bytes[at], 2);
        bytes[at] = 1;
        let batch = Batch::sealed(bytes.as_slice().into());
        assert_eq!(scan(&batch, LIMIT), Err(RecordError::Malformed { nth: 1 }));
    }

    #[test]
    fn records_that_grow_without_end_are_left() {
        let large = Record { value: Some(Bytes::from(vec![0; LIMIT])), ..Record::default() };
        let plain = batch(vec![large]);
        for codec in &CODECS[1..] {
            let bomb = plain.compressed(*codec, 2 * LIMIT).unwrap();
            assert_eq!(scan(&bomb, LIMIT), Err(RecordError::TooLarge { limit: LIMIT }), "{codec:?}");
        }
    }

    proptest! {
        /// The other reader of records is the judge.
        #[test]
        fn what_is_accepted_can_be_read(
            count in 1i32..4,
            flips in prop::collection::vec((HEAD..300usize, any::<u8>()), 0..4),
        ) {
            let mut bytes = batch((0..count).map(|nth| record(nth, Some(b"key"))).collect()).into_bytes().to_vec();
            for (at, byte) in flips {
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
            let checksum = crate::batch::checksum(&bytes);
            bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
            let batch = Batch::split_from(&mut Bytes::from(bytes)).unwrap();
            let read: Result<Vec<_>, _> = batch.records(LIMIT).unwrap().collect();
            let numbered = |records: &Vec<Record>| (0..).zip(records).all(|(nth, record)| record.offset_delta == nth);
            prop_assert_eq!(scan(&batch, LIMIT).is_ok(), read.as_ref().is_ok_and(numbered), "{:?}", read);
        }
    }
}
