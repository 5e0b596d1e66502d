//! What a stream promises, as its shard knows it. Configuration reaches `apply` only inside entries.

use crate::limit;
use crate::wire::{Input, Wire, WireError, put_varint};

crate::wire_enum! {
    /// When a producer is answered.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Durability {
        /// A majority has the record on stable storage. The default.
        #[default]
        0 = QuorumFsync,
        /// A majority has written it; fsync follows within a bounded time.
        1 = QuorumMemory,
    }
}

crate::wire_enum! {
    /// Which clock a record's timestamp shows: Kafka's `message.timestamp.type`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum TimestampSource {
        /// The producer's.
        #[default]
        0 = Create,
        /// The leader's, when it sequenced the record.
        1 = Append,
    }
}

crate::wire_enum! {
    /// What makes a record dead.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Settlement {
        /// Only its place: everything below the stream's start is dead, nothing above it.
        #[default]
        0 = Position,
        /// Also its own acknowledgement: a settled record is dead wherever it stands.
        1 = Each,
    }
}

crate::wire_enum! {
    /// What becomes of old records that nobody settles: Kafka's `cleanup.policy`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Cleanup {
        /// They are removed by time and size.
        #[default]
        0 = Delete,
        /// They are removed when a later record has the same key.
        1 = Compact,
        /// Both.
        2 = CompactAndDelete,
    }
}

impl Cleanup {
    /// Whether records make way for later ones of the same key.
    #[must_use]
    pub fn compacts(self) -> bool {
        self != Cleanup::Delete
    }
}

crate::wire_enum! {
    /// How pieces are compressed that come otherwise: Kafka's `compression.type`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Compression {
        /// As the producer did it.
        #[default]
        0 = Producer,
        /// Not at all.
        1 = Uncompressed,
        /// gzip.
        2 = Gzip,
        /// snappy.
        3 = Snappy,
        /// lz4 frames.
        4 = Lz4,
        /// zstd.
        5 = Zstd,
    }
}

/// A day in milliseconds.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// A stream's configuration. On disk and on the wire it is the list of what differs from
/// [`StreamConfig::default`], so that a new field changes no format. The defaults here are part of that
/// format: they never change. What a new topic is made with is decided elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// When a producer is answered.
    pub durability: Durability,
    /// What makes a record dead.
    pub settlement: Settlement,
    /// Records older than this many milliseconds are removed. `None` keeps them.
    pub retention_millis: Option<u64>,
    /// The oldest records are removed while the stream holds more bytes than this.
    pub retention_bytes: Option<u64>,
    /// The largest piece accepted.
    pub piece_bytes_max: u32,
    /// Which clock a record's timestamp shows.
    pub timestamp_source: TimestampSource,
    /// For how long a message id is remembered. Zero does not look at message ids.
    pub dedup_window_millis: u64,
    /// What becomes of old records.
    pub cleanup: Cleanup,
    /// How pieces are compressed.
    pub compression: Compression,
    /// How far in the past a producer's timestamp may lie. `None` is as far as it likes.
    pub timestamp_before_max_millis: Option<u64>,
    /// How far in the future a producer's timestamp may lie. `None` is as far as it likes.
    pub timestamp_after_max_millis: Option<u64>,
    /// A record younger than this is not compacted.
    pub compaction_lag_min_millis: u64,
    /// A record older than this is compacted even when little would be gained.
    pub compaction_lag_max_millis: Option<u64>,
    /// For how long the record that removes a key is kept, so that readers learn of it.
    pub tombstone_millis: u64,
    /// Compaction begins when the part of the stream's bytes that it has not seen is larger, in thousandths.
    pub dirty_permille: u32,
}

impl Default for StreamConfig {
    fn default() -> Self {
        StreamConfig {
            durability: Durability::default(),
            settlement: Settlement::default(),
            retention_millis: None,
            retention_bytes: None,
            piece_bytes_max: limit::PIECE_BYTES_DEFAULT as u32,
            timestamp_source: TimestampSource::default(),
            dedup_window_millis: 0,
            cleanup: Cleanup::default(),
            compression: Compression::default(),
            timestamp_before_max_millis: None,
            timestamp_after_max_millis: None,
            compaction_lag_min_millis: 0,
            compaction_lag_max_millis: None,
            tombstone_millis: DAY_MILLIS,
            dirty_permille: 500,
        }
    }
}

/// Fields and their numbers in the binary form: never reused.
macro_rules! fields {
    ($($tag:literal = $field:ident),* $(,)?) => {
        impl Wire for StreamConfig {
            fn put(&self, out: &mut Vec<u8>) {
                let default = StreamConfig::default();
                let differing: [bool; [$($tag),*].len()] = [$(self.$field != default.$field),*];
                put_varint(differing.iter().filter(|differs| **differs).count() as u64, out);
                $(if self.$field != default.$field {
                    out.push($tag);
                    self.$field.put(out);
                })*
            }

            fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
                let mut config = StreamConfig::default();
                for _ in 0..input.count()? {
                    match u8::take(input)? {
                        $($tag => config.$field = Wire::take(input)?,)*
                        tag => return Err(WireError::Tag { what: "StreamConfig", tag: tag.into() }),
                    }
                }
                Ok(config)
            }
        }
    };
}

fields! {
    1 = durability,
    2 = settlement,
    3 = retention_millis,
    4 = retention_bytes,
    5 = piece_bytes_max,
    6 = timestamp_source,
    7 = dedup_window_millis,
    8 = cleanup,
    9 = compression,
    10 = timestamp_before_max_millis,
    11 = timestamp_after_max_millis,
    12 = compaction_lag_min_millis,
    13 = compaction_lag_max_millis,
    14 = tombstone_millis,
    15 = dirty_permille,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        assert_eq!(StreamConfig::default().to_wire(), [0]);
        let config = StreamConfig { retention_bytes: Some(3), cleanup: Cleanup::Compact, ..StreamConfig::default() };
        let bytes = config.to_wire();
        assert_eq!(bytes, [2, 4, 1, 3, 0, 0, 0, 0, 0, 0, 0, 8, 1]);
        assert_eq!(StreamConfig::from_wire(&bytes), Ok(config));
        assert_eq!(StreamConfig::from_wire(&[1, 99]), Err(WireError::Tag { what: "StreamConfig", tag: 99 }));
    }
}
