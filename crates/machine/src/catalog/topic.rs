//! A topic: a named set of streams with a configuration.

use model::config::StreamConfig;
use model::{Name, ShardId, StreamId};

model::wire_struct! {
    /// One of a topic's streams.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Partition {
        /// The stream.
        pub stream: StreamId,
        /// The shard it is in.
        pub shard: ShardId,
    }
}

model::wire_struct! {
    /// A topic.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Topic {
        /// Its name.
        pub name: Name,
        /// Its streams, by partition number.
        pub partitions: Vec<Partition>,
        /// What each stream was configured with.
        pub config: StreamConfig,
        /// What was set, for people: names and values, by name.
        pub settings: Vec<(String, String)>,
        /// How often the configuration was changed.
        pub revision: u64,
    }
}
