//! What commands answer, and what the leader is told to do about them.

use crate::refusal::Refusal;
use model::{NodeId, Offset, ProducerId, ShardId, StreamId, TopicId};

model::wire_enum! {
    /// A command's answer. It travels to the node that forwarded the command: tags are never changed or used
    /// again, and are drawn in docs/formats/machine.md.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Reply {
        /// Nothing more to say.
        1 = Done,
        /// The pieces were added, the first record at this offset.
        2 = Appended {
            /// Offset of the first record.
            base: Offset,
            /// The stream's first offset.
            start: Offset,
        },
        /// The producer had appended this before; here is where.
        3 = Duplicate {
            /// Offset of the first record.
            base: Offset,
            /// The stream's first offset.
            start: Offset,
        },
        /// The stream starts here now.
        4 = Trimmed {
            /// Its first offset.
            start: Offset,
        },
        /// The topic and its identity.
        5 = Topic(TopicId),
        /// The first of the producer ids handed out.
        6 = ProducerIds(ProducerId),
        /// Not done.
        7 = Refused(Refusal),
        /// The node's id.
        8 = Node(NodeId),
    }
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
    /// Items were delivered to this shard.
    Delivered(ShardId),
    /// Names, placement, shards, nodes or slots changed.
    CatalogChanged,
}
