//! Record batches being written: for control batches, for what other protocols publish, for tests.

use super::batch::{HEAD, checksum};
use super::record::Record;
use bytes::{BufMut, Bytes, BytesMut};

/// A batch to be written, of uncompressed records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBuilder {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The leader epoch; -1 for none.
    pub leader_epoch: i32,
    /// Bits 3 and up as in [`batch`](super::batch); the compression bits are left 0.
    pub attributes: i16,
    /// What the timestamps of the records are counted from, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The producer; -1 for none.
    pub producer_id: i64,
    /// The epoch of the producer; -1 for none.
    pub producer_epoch: i16,
    /// The sequence number of the first record; -1 for none.
    pub base_sequence: i32,
    /// The records. One at least, their offset deltas counting up from 0.
    pub records: Vec<Record>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            base_timestamp: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records: Vec::new(),
        }
    }
}

impl BatchBuilder {
    /// The bytes of the batch.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut records = Vec::new();
        self.records.iter().for_each(|record| record.write(&mut records));
        let latest = self.records.iter().map(|record| record.timestamp_delta).max();
        let mut batch = BytesMut::with_capacity(HEAD + records.len());
        batch.put_i64(self.base_offset);
        batch.put_i32((HEAD - 12 + records.len()) as i32);
        batch.put_i32(self.leader_epoch);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(self.attributes & !0b111);
        batch.put_i32(self.records.len() as i32 - 1);
        batch.put_i64(self.base_timestamp);
        batch.put_i64(self.base_timestamp.saturating_add(latest.unwrap_or(0)));
        batch.put_i64(self.producer_id);
        batch.put_i16(self.producer_epoch);
        batch.put_i32(self.base_sequence);
        batch.put_i32(self.records.len() as i32);
        batch.put_slice(&records);
        let checksum = checksum(&batch);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        batch.freeze()
    }
}
