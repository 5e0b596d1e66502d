//! What a topic demands of a batch before it is appended, whichever protocol brings it.

use crate::scan::{Facts, scan};
use crate::{Batch, Compression as Codec, RecordError};
use bytes::Bytes;
use model::Timestamp;
use model::config::{Compression, StreamConfig, TimestampSource};

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The place in the batch of the record that is at fault, if one is.
    pub nth: Option<u32>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record is not well formed, or not one that the topic takes.
    #[error("invalid record: {0}")]
    Record(String),
    /// A timestamp is not one that the topic takes.
    #[error("invalid timestamp: {0}")]
    Timestamp(String),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Refused { nth: None, fault }
    }
}

/// No timestamp.
const NONE: i64 = -1;

/// Looks at every record of a batch whose head was checked before, which is to be appended now to a stream
/// of this configuration. Returns what is to be appended: the same, or what the configuration makes of it.
/// `None` when that takes handling more than `limit` bytes.
///
/// # Errors
/// When the records are not well formed, or the configuration does not allow them.
pub fn inspect(bytes: &Bytes, config: &StreamConfig, now: Timestamp, limit: usize) -> Result<Option<Bytes>, Refused> {
    let batch = Batch::checked(bytes.clone());
    if batch.is_control() {
        return Err(Fault::Record("a client writes no control batches".into()).into());
    }
    if !batch.is_dense() {
        let (records, last) = (batch.record_count(), batch.last_offset_delta());
        return Err(Fault::Record(format!("{records} records, of which the last is number {last}")).into());
    }
    let facts = match scan(&batch, limit) {
        Err(RecordError::TooLarge { .. }) => return Ok(None),
        scanned => scanned.map_err(|error| malformed(&error))?,
    };
    if let Some(nth) = facts.keyless.filter(|_| config.cleanup.compacts()) {
        let problem = "a compacted topic takes no record without a key".to_owned();
        return Err(in_record(nth, Fault::Record(problem)));
    }
    let batch = match config.timestamp_source {
        TimestampSource::Create => with_timestamps(batch, &facts, config, now)?,
        // They are replaced when the batch is given its place.
        TimestampSource::Append => batch,
    };
    let wanted = codec(config.compression).filter(|codec| *codec != batch.compression());
    let Some(codec) = wanted else { return Ok(Some(batch.into_bytes())) };
    if batch.as_bytes().len() > limit {
        return Ok(None);
    }
    match batch.compressed(codec, limit) {
        Ok(batch) => Ok(Some(batch.into_bytes())),
        Err(RecordError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(malformed(&error)),
    }
}

fn malformed(error: &RecordError) -> Refused {
    let problem = Fault::Record(error.to_string());
    match error {
        RecordError::Malformed { nth } | RecordError::Numbering { nth, .. } => in_record(*nth, problem),
        _ => problem.into(),
    }
}

fn in_record(nth: i32, fault: Fault) -> Refused {
    Refused { nth: Some(nth.unsigned_abs()), fault }
}

/// The compression that a topic wants, unless it is the producer's.
fn codec(wanted: Compression) -> Option<Codec> {
    match wanted {
        Compression::Producer => None,
        Compression::Uncompressed => Some(Codec::None),
        Compression::Gzip => Some(Codec::Gzip),
        Compression::Snappy => Some(Codec::Snappy),
        Compression::Lz4 => Some(Codec::Lz4),
        Compression::Zstd => Some(Codec::Zstd),
    }
}

/// Checks the producer's timestamps, and the greatest that the head names.
fn with_timestamps(batch: Batch, facts: &Facts, config: &StreamConfig, now: Timestamp) -> Result<Batch, Refused> {
    if batch.has_append_time() {
        let problem = "a producer does not say when a record was appended".to_owned();
        return Err(Fault::Timestamp(problem).into());
    }
    let ahead = u64::try_from(facts.max_timestamp.saturating_sub(now.0)).unwrap_or(0);
    let behind = u64::try_from(now.0.saturating_sub(facts.min_timestamp)).unwrap_or(0);
    if let Some(max) = config.timestamp_after_max_millis.filter(|max| ahead > *max) {
        let problem = format!("{} is {ahead} ms ahead, and at most {max} ms are accepted", facts.max_timestamp);
        return Err(in_record(facts.max_timestamp_at, Fault::Timestamp(problem)));
    }
    if let Some(max) = config.timestamp_before_max_millis.filter(|max| behind > *max && facts.min_timestamp != NONE) {
        let problem = format!("{} is {behind} ms ago, and at most {max} ms are accepted", facts.min_timestamp);
        return Err(in_record(facts.min_timestamp_at, Fault::Timestamp(problem)));
    }
    if batch.max_timestamp() == facts.max_timestamp {
        return Ok(batch);
    }
    // What retention and searches by time go by.
    Ok(batch.with_max_timestamp(facts.max_timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Record};
    use model::config::Cleanup;

    const NOW: Timestamp = Timestamp(1_000_000);
    const LIMIT: usize = 1 << 20;

    fn batch(key: Option<&'static [u8]>, timestamps: [i64; 2]) -> Bytes {
        let record = |(nth, timestamp): (usize, i64)| Record {
            timestamp_delta: timestamp - timestamps[0],
            offset_delta: nth as i32,
            key: key.map(Bytes::from_static),
            value: Some(Bytes::from_static(&[7; 1000])),
            headers: Vec::new(),
        };
        let records = timestamps.into_iter().enumerate().map(record).collect();
        BatchBuilder { base_timestamp: timestamps[0], records, ..BatchBuilder::default() }.encode()
    }

    /// Which record is at fault, and whether it is its timestamp.
    fn at<T>(refused: Result<T, Refused>) -> Option<(u32, bool)> {
        let Refused { nth, fault } = refused.err()?;
        Some((nth?, matches!(fault, Fault::Timestamp(_))))
    }

    #[test]
    fn what_no_client_writes_is_refused() {
        let head = |at: usize, byte: u8| {
            let mut bytes = plain().to_vec();
            bytes[at] = byte;
            inspect(
                &Batch::checked(bytes.into()).with_max_timestamp(NOW.0).into_bytes(),
                &Default::default(),
                NOW,
                LIMIT,
            )
        };
        assert!(head(22, 0x00).is_ok());
        // A control batch; two records and three offsets.
        for (at, byte) in [(22, 0x20), (26, 2)] {
            assert!(matches!(head(at, byte), Err(Refused { fault: Fault::Record(_), .. })), "{at}");
        }
    }

    fn plain() -> Bytes {
        batch(Some(b"k"), [NOW.0, NOW.0 - 5])
    }

    #[test]
    fn what_a_topic_does_not_demand_stays_as_it_came() {
        assert_eq!(inspect(&plain(), &StreamConfig::default(), NOW, LIMIT), Ok(Some(plain())));
    }

    #[test]
    fn compacted_topics_need_keys() {
        for cleanup in [Cleanup::Compact, Cleanup::CompactAndDelete] {
            let config = StreamConfig { cleanup, ..StreamConfig::default() };
            assert_eq!(inspect(&plain(), &config, NOW, LIMIT), Ok(Some(plain())));
            let refused = inspect(&batch(None, [NOW.0; 2]), &config, NOW, LIMIT);
            assert_eq!(at(refused), Some((0, false)));
        }
    }

    #[test]
    fn timestamps_lie_within_bounds() {
        let config = StreamConfig {
            timestamp_before_max_millis: Some(100),
            timestamp_after_max_millis: Some(10),
            ..StreamConfig::default()
        };
        let judge = |timestamps| inspect(&batch(None, timestamps), &config, NOW, LIMIT).map(|bytes| bytes.is_some());
        assert_eq!(judge([NOW.0 + 10, NOW.0 - 100]), Ok(true));
        assert_eq!(judge([NONE, NONE]), Ok(true));
        for (timestamps, nth) in [([NOW.0, NOW.0 + 11], 1), ([NOW.0 - 101, NOW.0], 0)] {
            assert_eq!(at(judge(timestamps)), Some((nth, true)));
        }
        let appended = StreamConfig { timestamp_source: TimestampSource::Append, ..config.clone() };
        assert!(inspect(&batch(None, [0, i64::MAX / 2]), &appended, NOW, LIMIT).is_ok());
    }

    #[test]
    fn the_head_names_the_greatest_timestamp() {
        let wrong = Batch::checked(plain()).with_max_timestamp(NOW.0 + 99).into_bytes();
        assert_eq!(inspect(&wrong, &StreamConfig::default(), NOW, LIMIT), Ok(Some(plain())));
    }

    #[test]
    fn a_topic_has_its_own_compression() {
        for (wanted, codec) in [(Compression::Lz4, Codec::Lz4), (Compression::Uncompressed, Codec::None)] {
            let config = StreamConfig { compression: wanted, ..StreamConfig::default() };
            let gzip = Batch::checked(plain()).compressed(Codec::Gzip, LIMIT).unwrap().into_bytes();
            let bytes = inspect(&gzip, &config, NOW, LIMIT).unwrap().unwrap();
            let batch = Batch::split_from(&mut bytes.clone()).unwrap();
            assert_eq!(batch.compression(), codec);
            assert_eq!(scan(&batch, LIMIT), scan(&Batch::checked(plain()), LIMIT));
        }
    }

    #[test]
    fn much_work_is_left_to_others() {
        let gzip = Batch::checked(plain()).compressed(Codec::Gzip, LIMIT).unwrap().into_bytes();
        assert_eq!(inspect(&gzip, &StreamConfig::default(), NOW, 1000), Ok(None));
        let config = StreamConfig { compression: Compression::Zstd, ..StreamConfig::default() };
        assert_eq!(inspect(&plain(), &config, NOW, 1000), Ok(None));
    }
}
