//! Leaving records out of a batch whose keys have later ones.
//!
//! What stays keeps its offset: a batch's first and last offset never change, so a reader sees a batch with
//! holes. The record that removes a key, the one without a value, stays until readers had the time to see
//! it: the first compaction that meets it writes into the batch when that will be (KIP-534), as a base
//! timestamp with bit 6 of the attributes.

use crate::batch::{Batch, HEAD};
use crate::compression;
use crate::record::{Record, RecordError};
use bytes::BytesMut;

/// Bit 6: the base timestamp says from when on records without a value may go.
const DELETE_HORIZON: i16 = 1 << 6;

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it, as it is.
    Everything,
    /// This.
    Some(Batch),
    /// No record.
    Nothing,
}

/// How long removals of keys stay.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// Now, in milliseconds since 1970.
    pub now: i64,
    /// For how long a removal stays from its first compaction on, in milliseconds. While there is none, that time does
    /// not begin, and nothing's is over.
    pub keep_millis: Option<i64>,
}

/// Leaves out the records of a batch that have a key and of which `is_last` says that there is a later one,
/// given the key and the record's offset; and removals whose time is over. Decompressed the batch may take
/// `limit` bytes.
///
/// # Errors
/// When the records cannot be read.
pub fn compact(
    batch: &Batch,
    limit: usize,
    horizon: Horizon,
    mut is_last: impl FnMut(&[u8], i64) -> bool,
) -> Result<Left, RecordError> {
    // Of what is empty already, nothing can go.
    if batch.is_control() || batch.record_count() == 0 {
        return Ok(Left::Everything);
    }
    let known = batch.has_delete_horizon().then(|| batch.base_timestamp());
    let over = horizon.keep_millis.is_some() && known.is_some_and(|until| until <= horizon.now);
    let mut kept = Vec::new();
    let (mut removed, mut removals) = (false, false);
    for record in batch.records(limit)? {
        let record = record?;
        let offset = batch.base_offset().saturating_add(record.offset_delta.into());
        let stays = match (&record.key, &record.value) {
            (Some(key), value) => is_last(key, offset) && (value.is_some() || !over),
            // Of no key there is no later one.
            (None, _) => true,
        };
        removed |= !stays;
        removals |= stays && record.key.is_some() && record.value.is_none();
        if stays {
            kept.push(record);
        }
    }
    if kept.is_empty() {
        return Ok(Left::Nothing);
    }
    let begins = horizon.keep_millis.filter(|_| removals && known.is_none());
    if !removed && begins.is_none() {
        return Ok(Left::Everything);
    }
    let until = begins.map(|keep| horizon.now.saturating_add(keep));
    Ok(Left::Some(rewritten(batch, kept, until)?))
}

fn rewritten(batch: &Batch, mut kept: Vec<Record>, until: Option<i64>) -> Result<Batch, RecordError> {
    let base = batch.base_timestamp();
    let times = kept.iter().map(|record| base.saturating_add(record.timestamp_delta));
    let max_timestamp = if batch.has_append_time() { batch.max_timestamp() } else { times.max().unwrap_or(-1) };
    let mut head = BytesMut::from(&batch.as_bytes()[..HEAD]);
    if let Some(until) = until {
        // The records' own times stay what they were.
        for record in &mut kept {
            record.timestamp_delta = base.saturating_add(record.timestamp_delta).saturating_sub(until);
        }
        head[21..23].copy_from_slice(&(batch.attributes() | DELETE_HORIZON).to_be_bytes());
        head[27..35].copy_from_slice(&until.to_be_bytes());
    }
    head[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    head[57..61].copy_from_slice(&(kept.len() as i32).to_be_bytes());
    let mut records = Vec::new();
    kept.iter().for_each(|record| record.write(&mut records));
    let records = compression::compress(batch.compression(), &records).map_err(|_| RecordError::Compressed)?;
    head.extend_from_slice(&records);
    let length = (head.len() - 12) as i32;
    head[8..12].copy_from_slice(&length.to_be_bytes());
    Ok(Batch::sealed(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Compression};
    use bytes::Bytes;

    const LIMIT: usize = 1 << 20;
    const HORIZON: Horizon = Horizon { now: 5000, keep_millis: Some(100) };

    fn batch(records: &[(Option<&'static str>, Option<&'static str>)]) -> Batch {
        let record = |(nth, (key, value)): (usize, &(Option<&'static str>, Option<&'static str>))| Record {
            timestamp_delta: nth as i64,
            offset_delta: nth as i32,
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: Vec::new(),
        };
        let records = records.iter().enumerate().map(record).collect();
        let builder =
            BatchBuilder { base_offset: 100, leader_epoch: 3, base_timestamp: 1000, records, ..Default::default() };
        Batch::split_from(&mut builder.encode()).unwrap()
    }

    /// Offset, time and key of each record.
    fn content(batch: &Batch) -> Vec<(i64, i64, Option<Bytes>)> {
        let records = batch.records(LIMIT).unwrap().map(Result::unwrap);
        let content = |record: Record| {
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            (offset, batch.base_timestamp() + record.timestamp_delta, record.key)
        };
        records.map(content).collect()
    }

    fn left(left: Result<Left, RecordError>) -> Batch {
        let Ok(Left::Some(batch)) = left else { panic!("{left:?}") };
        assert_eq!(Batch::split_from(&mut batch.as_bytes().clone()), Ok(batch.clone()), "it is whole");
        batch
    }

    #[test]
    fn what_has_a_later_one_goes_and_the_rest_stays_in_its_place() {
        for codec in [Compression::None, Compression::Zstd] {
            let before = batch(&[(Some("a"), Some("1")), (None, Some("2")), (Some("b"), Some("3"))]);
            let before = before.compressed(codec, LIMIT).unwrap();
            let after = left(compact(&before, LIMIT, HORIZON, |key, offset| (key, offset) != (b"b", 102)));
            let a = Some(Bytes::from("a"));
            assert_eq!(content(&after), [(100, 1000, a), (101, 1001, None)]);
            assert_eq!((after.last_offset_delta(), after.max_timestamp(), after.leader_epoch()), (2, 1001, 3));
            assert_eq!(after.compression(), codec);
        }
    }

    #[test]
    fn nothing_changes_without_need() {
        let batch = batch(&[(Some("a"), Some("1")), (None, None)]);
        assert_eq!(compact(&batch, LIMIT, HORIZON, |_, _| true), Ok(Left::Everything));
    }

    #[test]
    fn a_batch_of_which_nothing_is_left() {
        let batch = batch(&[(Some("a"), Some("1")), (Some("b"), None)]);
        assert_eq!(compact(&batch, LIMIT, HORIZON, |_, _| false), Ok(Left::Nothing));
        let mut bytes = Bytes::from(model::piece::empty(model::Offset(100), 2, model::LeaderEpoch(3)));
        assert_eq!(bytes.len(), HEAD);
        let head = model::PieceHead::parse(&bytes).unwrap();
        assert_eq!((head.base.0, head.count, head.epoch.0, head.max_timestamp.0), (100, 2, 3, -1));
        assert!(model::piece::verify(&bytes).is_ok());
        let again = compact(&Batch { bytes: bytes.clone() }, LIMIT, HORIZON, |_, _| false);
        assert_eq!(again, Ok(Left::Everything), "it is not rewritten again and again");
        assert!(Batch::split_from(&mut bytes).is_err(), "no producer sends one");
    }

    #[test]
    fn a_removal_stays_for_its_time() {
        let first = batch(&[(Some("a"), Some("1")), (Some("b"), None)]);
        let seen = left(compact(&first, LIMIT, HORIZON, |_, _| true));
        assert!(seen.has_delete_horizon());
        assert_eq!(seen.base_timestamp(), 5100);
        assert_eq!(content(&seen), content(&first));
        let at = |now| Horizon { now, ..HORIZON };
        // While nobody may remove it, its time neither begins nor ends.
        let for_ever = Horizon { now: 9000, keep_millis: None };
        assert_eq!(compact(&first, LIMIT, for_ever, |_, _| true), Ok(Left::Everything));
        assert_eq!(compact(&seen, LIMIT, for_ever, |_, _| true), Ok(Left::Everything));
        assert_eq!(compact(&seen, LIMIT, at(5099), |_, _| true), Ok(Left::Everything));
        let gone = left(compact(&seen, LIMIT, at(5100), |_, _| true));
        assert_eq!(content(&gone), [(100, 1000, Some(Bytes::from("a")))]);
        assert_eq!(gone.base_timestamp(), 5100);
    }
}
