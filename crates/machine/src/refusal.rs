//! Why commands are refused.

use model::ShardId;
use std::fmt;

model::wire_enum! {
    /// Why a command was refused. Deterministic: every replica refuses alike.
    ///
    /// It travels between nodes, so tags are never changed or used again. A node of an older build may not be able
    /// to read one: then it does not know what became of the command, as if no answer had come.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    pub enum Refusal {
        /// No such stream here.
        #[error("no such stream")]
        1 = UnknownStream,
        /// A piece is not for the stream's next offset: it was sequenced against a state that did not
        /// come to be.
        #[error("not the stream's next offset")]
        2 = WrongOffset,
        /// A piece larger than the stream accepts.
        #[error("larger than the stream accepts")]
        3 = TooLarge,
        /// The batch does not follow the producer's last one.
        #[error("out of order sequence")]
        4 = OutOfOrderSequence,
        /// A newer instance of the producer is known.
        #[error("producer epoch is fenced")]
        5 = FencedProducer,
        /// An offset outside the stream.
        #[error("offset out of range")]
        6 = OffsetOutOfRange,
        /// A set, table or queue is at its limit.
        #[error("limit reached: {0}")]
        7 = LimitReached(Limit),
        /// The name is taken.
        #[error("name is taken")]
        8 = NameTaken,
        /// No such topic.
        #[error("no such topic")]
        9 = UnknownTopic,
        /// Fewer than one partition, or more than allowed.
        #[error("invalid number of partitions")]
        10 = InvalidPartitions,
        /// The topic has as many partitions, or more.
        #[error("the topic has {0} partitions already")]
        11 = EnoughPartitions(u32),
        /// Somebody else changed it since it was looked at.
        #[error("changed by somebody else")]
        12 = Changed,
        /// There is no shard to place streams on.
        #[error("no shard to place streams on")]
        13 = NoShards,
        /// An outbox item before this one has not been received: it has to come first.
        #[error("an item before it has not been received")]
        14 = NotYet,
        /// The command is not for this kind of shard, or carries values that are not allowed.
        #[error("invalid command: {0}")]
        15 = Invalid(Fault),
        /// The command belongs to a behaviour that no [`Barrier`](crate::Command::Barrier) has switched to.
        #[error("the behaviour in force does not have this command yet")]
        16 = TooNew,
        /// No such node.
        #[error("no such node")]
        17 = UnknownNode,
        /// The id belongs to a node with another data folder.
        #[error("the id belongs to another incarnation of the node")]
        18 = OtherIncarnation,
        /// The node was removed, which is for ever.
        #[error("the node was removed")]
        19 = NodeRemoved,
        /// The node cannot be removed while shards have replicas there.
        #[error("shards have replicas on the node")]
        20 = NodeInUse,
        /// No such shard.
        #[error("no such shard")]
        21 = UnknownShard,
        /// The node knows less than the behaviour in force: it could not read what others write.
        #[error("the node does not know the behaviour in force")]
        22 = TooOld,
        /// The id belongs to another node, or did, or is none.
        #[error("the node id was given to another node, or is none")]
        23 = NodeIdTaken,
        /// The stream goes on in this shard.
        #[error("the stream goes on in {0}")]
        24 = Moved(ShardId),
        /// The stream cannot move while it moves, or while records of it are where it was before.
        #[error("the stream moves, or records of it are still in the shard that it came from")]
        25 = Moving,
    }
}

model::wire_enum! {
    /// What is full.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Limit {
        /// Shards of the cluster.
        1 = Shards,
        /// Topics of the cluster.
        2 = Topics,
        /// Streams of the cluster.
        3 = Streams,
        /// Items for other shards.
        4 = Outbox,
        /// Settings of a topic.
        5 = TopicSettings,
        /// Bytes of a group's generation.
        6 = GroupBytes,
        /// Bytes of a committed offset's metadata.
        7 = OffsetMetadata,
        /// Streams that a group has positions over.
        8 = GroupPositions,
        /// Bytes of a group's name.
        9 = GroupNameBytes,
        /// Groups of the shard.
        10 = Groups,
        /// Bytes of a message id.
        11 = MessageIdBytes,
        /// Message ids of a stream that are within the window.
        12 = MessageIds,
        /// Intervals that a queue was settled in.
        13 = SettledIntervals,
        /// Nodes of the cluster.
        14 = Nodes,
        /// Nodes that the cluster ever had.
        15 = NodeRows,
        /// Endpoints of a node.
        16 = Endpoints,
        /// Streams that move at a time.
        17 = Moves,
    }
}

impl Limit {
    /// What it counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limit::Shards => "shards",
            Limit::Topics => "topics",
            Limit::Streams => "streams",
            Limit::Outbox => "outbox",
            Limit::TopicSettings => "settings of a topic",
            Limit::GroupBytes => "group bytes",
            Limit::OffsetMetadata => "offset metadata",
            Limit::GroupPositions => "positions of a group",
            Limit::GroupNameBytes => "group name bytes",
            Limit::Groups => "groups",
            Limit::MessageIdBytes => "message id bytes",
            Limit::MessageIds => "message ids in the window",
            Limit::SettledIntervals => "settled intervals",
            Limit::Nodes => "nodes",
            Limit::NodeRows => "nodes, with those that were removed",
            Limit::Endpoints => "endpoints of a node",
            Limit::Moves => "streams that move",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

model::wire_enum! {
    /// What is wrong with a command.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    pub enum Fault {
        /// It is for the catalog and this is not, or the other way round.
        #[error("not for this kind of shard")]
        1 = ShardKind,
        /// It does not travel from shard to shard.
        #[error("not a command for an outbox")]
        2 = NotForOutbox,
        /// It carries an item that carries an item.
        #[error("an item within an item")]
        3 = ItemWithinItem,
        /// It appends nothing.
        #[error("append without pieces")]
        4 = NoPieces,
        /// The entry does not have these pieces, or another command has taken them.
        #[error("append of pieces that are not there")]
        5 = MissingPieces,
        /// Its pieces are for more than one stream.
        #[error("append over two streams")]
        6 = TwoStreams,
        /// What it appends is not a piece.
        #[error("not a piece")]
        7 = NotAPiece,
        /// A repeated one could not be told from the next.
        #[error("more than one batch of a numbering producer")]
        8 = ManyNumbered,
        /// There is, or was, such a stream.
        #[error("a stream id that was used before")]
        9 = StreamIdUsed,
        /// Records of logs are not settled one by one.
        #[error("the stream is not a queue")]
        10 = NotAQueue,
        /// Streams cannot be placed on the catalog's shard.
        #[error("the catalog's shard has no streams")]
        11 = CatalogHasNoStreams,
        /// The topic's identity is zero, or that of another topic.
        #[error("topic id")]
        12 = TopicId,
        /// An endpoint that nobody could connect to.
        #[error("an endpoint is a protocol and a host, visible ASCII of at most 255 bytes each, and a port")]
        13 = Endpoint,
        /// A rack that could not be shown.
        #[error("a rack is text of 1 to 255 bytes without control characters")]
        14 = Rack,
        /// Too few replicas, too many, or one of them twice.
        #[error("replicas are 1 to 5 nodes, none of them twice")]
        15 = Replicas,
        /// The preferred node has no replica.
        #[error("the preferred replica is not one of them")]
        16 = Preferred,
        /// No slots, or beyond the last one.
        #[error("there are no such slots")]
        17 = Slots,
        /// Records that are settled one by one stay where they are.
        #[error("a queue does not move")]
        18 = Queue,
        /// No stream is like this.
        #[error("what is said of a stream that moves does not fit together")]
        19 = Adoption,
    }
}

const _: () = {
    // Said in sentences above.
    assert!(model::limit::NODE_NAME_BYTES_MAX == 255);
    assert!(model::limit::REPLICAS_MAX == 5);
};
