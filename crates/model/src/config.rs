//! What a stream promises, as its shard knows it. Configuration reaches `apply` only inside entries.

use crate::limit;

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

crate::wire_struct! {
    /// A stream's configuration.
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
    }
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
        }
    }
}
