//! What commands answer, and what the leader is told to do about them.

use model::{Offset, ProducerId, ShardId, StreamId, TopicId};

/// Why a command was refused. Deterministic: every replica refuses alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such stream here.
    #[error("no such stream")]
    UnknownStream,
    /// A piece is not for the stream's next offset: it was sequenced against a state that did not
    /// come to be.
    #[error("not the stream's next offset")]
    WrongOffset,
    /// A piece larger than the stream accepts.
    #[error("larger than the stream accepts")]
    TooLarge,
    /// The batch does not follow the producer's last one.
    #[error("out of order sequence")]
    OutOfOrderSequence,
    /// A newer instance of the producer is known.
    #[error("producer epoch is fenced")]
    FencedProducer,
    /// An offset outside the stream.
    #[error("offset out of range")]
    OffsetOutOfRange,
    /// A set, table or queue is at its limit.
    #[error("limit reached: {0}")]
    LimitReached(&'static str),
    /// The name is taken.
    #[error("name is taken")]
    NameTaken,
    /// No such topic.
    #[error("no such topic")]
    UnknownTopic,
    /// Fewer than one partition, or more than allowed.
    #[error("invalid number of partitions")]
    InvalidPartitions,
    /// The topic has as many partitions, or more.
    #[error("the topic has {0} partitions already")]
    EnoughPartitions(u32),
    /// Somebody else changed it since it was looked at.
    #[error("changed by somebody else")]
    Changed,
    /// There is no shard to place streams on.
    #[error("no shard to place streams on")]
    NoShards,
    /// An outbox item before this one has not been received: it has to come first.
    #[error("an item before it has not been received")]
    NotYet,
    /// The command is not for this kind of shard, or carries values that are not allowed.
    #[error("invalid command: {0}")]
    Invalid(&'static str),
}

/// A command's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The pieces were added, the first record at this offset.
    Appended {
        /// Offset of the first record.
        base: Offset,
        /// The stream's first offset.
        start: Offset,
    },
    /// The producer had appended this before; here is where.
    Duplicate {
        /// Offset of the first record.
        base: Offset,
        /// The stream's first offset.
        start: Offset,
    },
    /// The stream starts here now.
    Trimmed {
        /// Its first offset.
        start: Offset,
    },
    /// The topic and its identity.
    Topic(TopicId),
    /// The first of the producer ids handed out.
    ProducerIds(ProducerId),
    /// Not done.
    Refused(Refusal),
}

/// What the leader should do. A hint: a new leader finds everything pending in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Readers waiting at the stream's end can go on.
    StreamGrew(StreamId),
    /// The stream's start moved or records were settled: there may be space to reclaim.
    StreamShrank(StreamId),
    /// The stream can be written to.
    StreamMade(StreamId),
    /// The stream is gone.
    StreamGone(StreamId),
    /// There are items to deliver to this shard.
    OutboxFor(ShardId),
    /// Names, placement or shards changed.
    CatalogChanged,
}
