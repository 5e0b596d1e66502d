//! Records read one after the other and decompressed on the way: for whoever wants some of a batch, and
//! not all of it in memory.

use super::compression::{self, Compression};
use super::record::{Record, RecordError};
use super::scan::Walker;
use crate::batch::{Batch, HEAD};
use bytes::Bytes;
use std::io::BufRead;

/// Reads the records of a batch. Ends after the first error.
pub struct Reader<'a> {
    walker: Walker<Box<dyn BufRead + 'a>>,
    left: i32,
    /// Records before this one are passed.
    from: i32,
    record_bytes_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader of the records of `batch` whose offset delta is at least `from`, each of at most
    /// `record_bytes_max` bytes. Decompressed those that are read or passed may take `limit` bytes.
    ///
    /// # Errors
    /// When they cannot be decompressed.
    pub fn open(batch: &'a Batch, from: i32, record_bytes_max: usize, limit: usize) -> Result<Self, RecordError> {
        let limit = if batch.compression() == Compression::None { usize::MAX } else { limit };
        let source = compression::open(batch.compression(), &batch.as_bytes()[HEAD..], limit)?;
        Ok(Reader { walker: Walker { source, read: 0, limit }, left: batch.record_count(), from, record_bytes_max })
    }

    /// The next record, if it is not one to be passed.
    fn record(&mut self) -> Result<Option<Record>, RecordError> {
        let walker = &mut self.walker;
        let bytes = usize::try_from(walker.varint()?).map_err(|_| RecordError::Shape)?;
        let end = walker.read.checked_add(bytes).ok_or(RecordError::Shape)?;
        walker.skip(1, end)?;
        let (timestamp_delta, offset_delta) = (walker.varlong()?, walker.varint()?);
        let rest = end.checked_sub(walker.read).ok_or(RecordError::Shape)?;
        if offset_delta < self.from {
            walker.skip(rest, end)?;
            return Ok(None);
        }
        if rest > self.record_bytes_max {
            return Err(RecordError::TooLarge { limit: self.record_bytes_max });
        }
        Record::of(timestamp_delta, offset_delta, Bytes::from(walker.take(rest)?)).map(Some)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            self.left -= 1;
            let record = self.record().transpose();
            if matches!(record, Some(Err(_))) {
                self.left = 0;
            }
            if record.is_some() {
                return record;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::BatchBuilder;
    use crate::record::Header;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn batch(values: &[usize]) -> Batch {
        let record = |(nth, bytes): (usize, &usize)| Record {
            offset_delta: nth as i32,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![nth as u8; *bytes])),
            headers: vec![Header { key: Bytes::from_static(b"h"), value: None }],
            ..Record::default()
        };
        let records = values.iter().enumerate().map(record).collect();
        Batch::split_from(&mut BatchBuilder { records, ..BatchBuilder::default() }.encode()).unwrap()
    }

    #[test]
    fn it_reads_what_the_other_reader_reads() {
        let plain = batch(&[0, 10, 100_000, 7]);
        let all: Vec<_> = plain.records(1 << 20).unwrap().collect();
        for codec in CODECS {
            let compressed = plain.compressed(codec, 1 << 20).unwrap();
            let read = |from| Reader::open(&compressed, from, 100_020, 1 << 20).unwrap().collect::<Vec<_>>();
            assert_eq!(read(0), all, "{codec:?}");
            assert_eq!(read(2), all[2..], "{codec:?}");
            let small = Reader::open(&compressed, 3, 100, 1 << 20).unwrap();
            assert_eq!(small.collect::<Vec<_>>(), all[3..], "what is passed may be of any size");
            assert_eq!(read(4), []);
        }
    }

    #[test]
    fn what_is_not_read_is_not_paid_for() {
        for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
            let bomb = batch(&[10, 10, 1 << 20, 1]).compressed(codec, 1 << 21).unwrap();
            let mut reader = Reader::open(&bomb, 0, 1000, 2000).unwrap();
            assert!(reader.next().unwrap().is_ok() && reader.next().unwrap().is_ok(), "{codec:?}");
            assert_eq!(reader.next(), Some(Err(RecordError::TooLarge { limit: 1000 })), "{codec:?}");
            assert_eq!(reader.next(), None);
            let mut reader = Reader::open(&bomb, 0, usize::MAX, 2000).unwrap();
            assert_eq!(reader.nth(2), Some(Err(RecordError::TooLarge { limit: 2000 })), "{codec:?}");
        }
    }

    #[test]
    fn a_record_that_claims_more_than_there_is_takes_no_memory() {
        let mut bytes = batch(&[5]).into_bytes().to_vec();
        // A varint of 2^30.
        bytes[HEAD..HEAD + 5].copy_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x08]);
        let batch = Batch::checked(Bytes::from(bytes));
        assert_eq!(Reader::open(&batch, 0, usize::MAX, 100).unwrap().next(), Some(Err(RecordError::Shape)));
    }
}
