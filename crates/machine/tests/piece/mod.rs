//! Pieces as producers send them.

use model::checksum::crc32c;
use model::piece::{BATCH_HEAD_BYTES, LENGTH_END, PREFIX_BYTES};

/// A Kafka record batch. Only its head means anything: nothing in the machine looks further.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) records: u32,
    /// Of the whole piece; never fewer than its head.
    pub(crate) bytes: usize,
    pub(crate) timestamp: i64,
    /// The producer, its epoch, and the number of the first record.
    pub(crate) producer: Option<(u64, i16, i32)>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { records: 1, bytes: BATCH_HEAD_BYTES, timestamp: 0, producer: None }
    }
}

impl Batch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; self.bytes.max(BATCH_HEAD_BYTES)];
        let length = (out.len() - LENGTH_END) as i32;
        // Kafka says "no producer" with an id of -1.
        let (id, epoch, first) = self.producer.map_or((-1, -1, -1), |(id, epoch, first)| (id as i64, epoch, first));
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[16] = 2;
        out[23..27].copy_from_slice(&(self.records - 1).to_be_bytes());
        out[27..35].copy_from_slice(&self.timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&id.to_be_bytes());
        out[51..53].copy_from_slice(&epoch.to_be_bytes());
        out[53..57].copy_from_slice(&first.to_be_bytes());
        out[57..61].copy_from_slice(&self.records.to_be_bytes());
        let crc = crc32c(&out[PREFIX_BYTES..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out
    }
}
