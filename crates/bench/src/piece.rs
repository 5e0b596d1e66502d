//! The pieces that every layer is given: Kafka batches of an exact size.

use batch::{BatchBuilder, Record};
use bytes::Bytes;

/// The sizes measured.
pub(crate) const SIZES: [Size; 3] =
    [Size { bytes: 100, records: 1 }, Size { bytes: 1 << 10, records: 1 }, Size { bytes: 64 << 10, records: 64 }];

/// A batch: its bytes, head included, and its records. So a record of the 64 KiB batch is 1 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    pub(crate) records: u64,
}

impl Size {
    /// The batch: uncompressed, no keys, values of equal length that do not compress to nothing.
    pub(crate) fn batch(self) -> Bytes {
        let build = |value: usize, last: usize| {
            let noise = |length: usize| (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
            let record = |length: usize, nth: u64| {
                let value: Vec<u8> = noise(length);
                Record { offset_delta: nth as i32, value: Some(Bytes::from(value)), ..Record::default() }
            };
            let mut records: Vec<Record> = (0..self.records - 1).map(|nth| record(value, nth)).collect();
            records.push(record(last, self.records - 1));
            BatchBuilder { records, base_timestamp: 1_700_000_000_000, ..BatchBuilder::default() }.encode()
        };
        // The last record takes what the others leave over.
        let mut value = self.bytes / self.records as usize;
        while build(value, value).len() > self.bytes {
            value -= 1;
        }
        let mut last = value + self.bytes - build(value, value).len();
        while build(value, last).len() > self.bytes {
            last -= 1;
        }
        build(value, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_the_size_and_count_asked_for() {
        for size in SIZES {
            let batch = size.batch();
            let head = model::PieceHead::parse(&batch).unwrap();
            assert_eq!((head.bytes, u64::from(head.count)), (size.bytes, size.records));
            model::piece::verify(&batch).unwrap();
        }
    }
}
