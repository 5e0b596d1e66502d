//! Finding a record in a piece by its timestamp.

use super::batch::Batches;
use super::record::RecordError;
use super::scan::find_time;
use bytes::Bytes;

/// Offset and timestamp of the first record in `piece` that is not before `time`. Of each batch at most
/// `limit` bytes are decompressed.
///
/// # Errors
/// When the records up to it are not well formed, or too large.
pub fn first(piece: &Bytes, time: i64, limit: usize) -> Result<Option<(i64, i64)>, RecordError> {
    for batch in Batches::new(piece.clone()).flatten() {
        let found = match batch.has_append_time() {
            // Every record has the batch's time.
            true => (batch.max_timestamp() >= time).then(|| (batch.base_offset(), batch.max_timestamp())),
            false => find_time(&batch, time, limit)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::BatchBuilder;
    use crate::record::Record;
    use crate::{Batch, Compression};
    use bytes::BytesMut;

    fn batch(base_offset: i64, attributes: i16, timestamps: &[i64]) -> Bytes {
        let record = |(nth, timestamp): (usize, &i64)| Record {
            offset_delta: nth as i32,
            timestamp_delta: timestamp - 100,
            value: Some(Bytes::from_static(&[7; 1000])),
            ..Record::default()
        };
        let records = timestamps.iter().enumerate().map(record).collect();
        BatchBuilder { base_offset, attributes, base_timestamp: 100, records, ..BatchBuilder::default() }.encode()
    }

    #[test]
    fn the_first_that_is_late_enough() {
        let mut piece = BytesMut::from(&batch(10, 0, &[100, 105, 103])[..]);
        piece.extend_from_slice(&batch(13, 1 << 3, &[0, 200]));
        let piece = piece.freeze();
        assert_eq!(first(&piece, 100, 9000), Ok(Some((10, 100))));
        assert_eq!(first(&piece, 101, 9000), Ok(Some((11, 105))));
        assert_eq!(first(&piece, 106, 9000), Ok(Some((13, 200))), "every record has the batch's time");
        assert_eq!(first(&piece, 201, 9000), Ok(None));
    }

    #[test]
    fn no_more_is_decompressed_than_may_be() {
        let times: Vec<i64> = (100..110).collect();
        let piece = Batch::checked(batch(0, 0, &times)).compressed(Compression::Zstd, 1 << 20).unwrap().into_bytes();
        assert_eq!(first(&piece, 100, 9000), Ok(Some((0, 100))));
        assert_eq!(first(&piece, 109, 9000), Err(RecordError::TooLarge { limit: 9000 }));
        assert_eq!(first(&piece, 109, 1 << 20), Ok(Some((9, 109))));
    }
}
