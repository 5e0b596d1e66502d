//! What entries ask a machine to do. Tags and fields are on disk, drawn in docs/formats/machine.md:
//! never renumbered, never reused; what changes gets a new tag.

use crate::catalog::{Endpoint, NodeState};
use crate::machine::{VERSION_OF_MOVES, VERSION_OF_NODES};
use crate::messaging::dedup::Seen;
use crate::messaging::producer::Producer;
use bytes::Bytes;
use model::config::StreamConfig;
use model::{Incarnation, LeaderEpoch, Name, NodeId, Offset, ProducerId, ShardId, StreamId, Timestamp, TopicId, limit};

model::wire_struct! {
    /// An idempotent producer's numbering of what it appends (KIP-98).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ProducerBatch {
        /// The producer.
        pub producer: ProducerId,
        /// Its epoch.
        pub epoch: i16,
        /// Number of the first record.
        pub first_sequence: i32,
        /// Number of the last record.
        pub last_sequence: i32,
    }
}

model::wire_struct! {
    /// A position that a consumer group committed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CommittedOffset {
        /// The stream.
        pub stream: StreamId,
        /// The next offset to consume.
        pub offset: Offset,
        /// Leader epoch of the last consumed record, or -1.
        pub leader_epoch: i32,
        /// Whatever the consumer wants to remember.
        pub metadata: String,
    }
}

model::wire_struct! {
    /// A topic to create.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NewTopic {
        /// Its name.
        pub name: Name,
        /// Its identity: drawn at random by whoever proposes.
        pub id: TopicId,
        /// How many partitions.
        pub partitions: u32,
        /// The configuration of each partition's stream.
        pub config: StreamConfig,
        /// What was set by whoever made it, for people: names and values, by name. `config` is what
        /// follows from it.
        pub settings: Vec<(String, String)>,
    }
}

model::wire_struct! {
    /// What a stream takes along that moves: a producer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AdoptedProducer {
        /// Which.
        pub id: ProducerId,
        /// What is known of it.
        pub known: Producer,
    }
}

model::wire_struct! {
    /// What a stream takes along that moves: a message id within its window.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AdoptedId {
        /// The id.
        pub id: Bytes,
        /// Where it was seen.
        pub seen: Seen,
    }
}

model::wire_struct! {
    /// A stream that goes on in another shard, from its end on.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Adoption {
        /// The shard it comes from, which keeps its records.
        pub from: ShardId,
        /// Its configuration.
        pub config: StreamConfig,
        /// The first of these records, or the end when there is none.
        pub start: Offset,
        /// One past the last.
        pub end: Offset,
        /// Leader epochs and the first offset written under each, ascending.
        pub epochs: Vec<(LeaderEpoch, Offset)>,
        /// The one that it goes on under.
        pub epoch: LeaderEpoch,
        /// Greatest timestamp ever appended.
        pub max_timestamp: Timestamp,
        /// Bytes ever appended.
        pub bytes_appended: u64,
    }
}

impl Adoption {
    /// Whether there can be such a stream.
    #[must_use]
    pub(crate) fn fits_together(&self) -> bool {
        let ascend = |pair: &[(LeaderEpoch, Offset)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        self.start <= self.end
            && self.epochs.len() <= limit::STREAM_EPOCHS_MAX
            && self.epochs.windows(2).all(ascend)
            && self.epochs.last().is_none_or(|(last, base)| *last < self.epoch && *base <= self.end)
    }
}

model::wire_enum! {
    /// A command.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Command {
        /// Adds pieces of this entry, from `first` on, to the stream their descriptions name.
        1 = Append {
            /// Number of the first piece.
            first: u32,
            /// How many pieces.
            pieces: u32,
            /// The producer's numbering, if it has one.
            producer: Option<ProducerBatch>,
            /// The message's id, if the stream looks at ids.
            message_id: Option<Bytes>,
        },
        /// Asks again for the answer to an append that was in flight when it was repeated.
        2 = Recall {
            /// The stream.
            stream: StreamId,
            /// The numbering of the append.
            producer: Option<ProducerBatch>,
            /// The id of the message.
            message_id: Option<Bytes>,
        },
        /// Makes a stream.
        15 = CreateStream {
            /// Its id, never used before.
            stream: StreamId,
            /// Its configuration.
            config: StreamConfig,
        },
        /// Forgets a stream and every position over it.
        4 = DeleteStream {
            /// Which.
            stream: StreamId,
        },
        /// Changes a stream's configuration.
        16 = ConfigureStream {
            /// Which.
            stream: StreamId,
            /// Its new configuration.
            config: StreamConfig,
        },
        /// Removes records below an offset.
        6 = Trim {
            /// Which stream.
            stream: StreamId,
            /// The new first offset.
            to: Offset,
        },
        /// Settles records of a queue.
        7 = Settle {
            /// Which stream.
            stream: StreamId,
            /// Half-open ranges of offsets.
            ranges: Vec<(u64, u64)>,
        },
        /// Lets what is due expire, as much of it as one entry may.
        8 = Tick,
        /// Stores a consumer group's generation; what it says is the group coordinator's.
        9 = SaveGroup {
            /// The group.
            group: String,
            /// The generation, opaque here.
            state: Bytes,
        },
        /// Commits positions of a consumer group.
        10 = CommitOffsets {
            /// The group.
            group: String,
            /// The positions.
            offsets: Vec<CommittedOffset>,
        },
        /// Forgets a consumer group and its positions.
        11 = DeleteGroup {
            /// The group.
            group: String,
        },
        /// Makes streams, all of one topic.
        17 = CreateStreams {
            /// Their ids, never used before.
            streams: Vec<StreamId>,
            /// The configuration of each.
            config: StreamConfig,
        },
        /// Forgets streams and every position over them.
        13 = DeleteStreams {
            /// Which.
            streams: Vec<StreamId>,
        },
        /// Changes the configuration of streams, all of one topic.
        18 = ConfigureStreams {
            /// Which.
            streams: Vec<StreamId>,
            /// The new configuration of each.
            config: StreamConfig,
        },
        /// Forgets positions of a consumer group.
        19 = DeleteOffsets {
            /// The group.
            group: String,
            /// Over which streams.
            streams: Vec<StreamId>,
            /// Only those that were not committed later.
            committed_until: Option<Timestamp>,
        },

        /// Ends a stream here: it goes on in another shard, which is told all that is known of it. Its records stay
        /// until they expire.
        20 = FenceStream {
            /// Which.
            stream: StreamId,
            /// Where it goes on.
            to: ShardId,
        },
        /// Takes over producers of a stream that is about to come.
        21 = AdoptProducers {
            /// The stream.
            stream: StreamId,
            /// Some of its producers.
            producers: Vec<AdoptedProducer>,
        },
        /// Takes over message ids of a stream that is about to come.
        22 = AdoptIds {
            /// The stream.
            stream: StreamId,
            /// Some of its ids.
            ids: Vec<AdoptedId>,
        },
        /// Takes over a stream.
        23 = AdoptStream {
            /// Which.
            stream: StreamId,
            /// From where, and where it goes on.
            adoption: Adoption,
        },
        /// Says where the older records of a stream start, which are in another shard.
        24 = OlderStarts {
            /// The stream.
            stream: StreamId,
            /// The shard that has them.
            from: ShardId,
            /// The first of them; none is left when it is the stream's first record here.
            start: Offset,
        },

        /// Catalog: adds shards that streams and slots can be placed on. The first ones get all slots, from
        /// behaviour 2 on; those that come later get none until they are assigned some.
        32 = AddShards {
            /// The shards.
            shards: Vec<ShardId>,
        },
        /// Catalog: makes a topic and, through the outbox, its streams.
        37 = CreateTopic {
            /// The topic.
            topic: NewTopic,
        },
        /// Catalog: removes a topic and, through the outbox, its streams.
        34 = DeleteTopic {
            /// Its identity.
            id: TopicId,
        },
        /// Catalog: hands out producer ids.
        35 = AllocateProducerIds {
            /// How many.
            count: u32,
        },
        /// Catalog: changes the configuration of a topic's streams.
        38 = ConfigureTopic {
            /// Its identity.
            id: TopicId,
            /// The revision that the new configuration was made from: another one is refused.
            revision: u64,
            /// The new configuration.
            config: StreamConfig,
            /// What was set, for people: names and values, by name.
            settings: Vec<(String, String)>,
        },
        /// Catalog: adds partitions to a topic and, through the outbox, makes their streams.
        39 = AddPartitions {
            /// Its identity.
            id: TopicId,
            /// How many partitions it shall have.
            partitions: u32,
        },
        /// Catalog: gives a node an id that nobody had, or tells the one that this incarnation has, and puts down
        /// what the node says of itself now. The first id is 1, unless another is wanted.
        40 = AllocateNode {
            /// The node's data folder.
            incarnation: Incarnation,
            /// The id that it wants, if it wants a certain one.
            wanted: Option<NodeId>,
            /// Where other nodes reach it.
            peer: Endpoint,
            /// Where clients reach it.
            endpoints: Vec<Endpoint>,
            /// Where it stands, if somebody said.
            rack: Option<Bytes>,
            /// The newest behaviour it knows.
            version: u16,
        },
        /// Catalog: puts down what a node says of itself now.
        41 = UpdateNode {
            /// Which node.
            node: NodeId,
            /// Its data folder, the one that the id was given to.
            incarnation: Incarnation,
            /// Where other nodes reach it.
            peer: Endpoint,
            /// Where clients reach it.
            endpoints: Vec<Endpoint>,
            /// Where it stands, if somebody said.
            rack: Option<Bytes>,
            /// The newest behaviour it knows.
            version: u16,
        },
        /// Catalog: says what a node is for. One that has replicas cannot be removed, one that was removed
        /// stays so.
        42 = SetNodeState {
            /// Which node.
            node: NodeId,
            /// What for.
            state: NodeState,
        },
        /// Catalog: says where the replicas of a shard are to be.
        43 = PlaceShard {
            /// Which shard; it may be the catalog's.
            shard: ShardId,
            /// The revision of the placement that this one was made from, 0 for the first: another one is
            /// refused.
            revision: u64,
            /// The nodes, none twice.
            replicas: Vec<NodeId>,
            /// The one among them that should lead.
            preferred: NodeId,
        },
        /// Catalog: gives slots in a row to a shard. What groups and others have under them does not come
        /// along.
        44 = AssignSlots {
            /// The first of them.
            first: u32,
            /// How many.
            count: u32,
            /// Whose they are from now on.
            shard: ShardId,
            /// The revision of the slots that this was made from, 0 as they were dealt out: another one is
            /// refused.
            revision: u64,
        },
        /// Catalog: gives up a shard that was placed and never added: nothing was ever put on it. Its number is
        /// not used again.
        48 = GiveUpShard {
            /// Which shard.
            shard: ShardId,
            /// The revision of its placement that was looked at: another one is refused.
            revision: u64,
        },

        /// Catalog: moves a partition's stream to another shard.
        45 = MoveStream {
            /// The topic.
            id: TopicId,
            /// The partition.
            partition: u32,
            /// Where to.
            to: ShardId,
        },
        /// Catalog: a shard has taken over a stream.
        46 = StreamAdopted {
            /// The stream.
            stream: StreamId,
            /// The shard.
            by: ShardId,
            /// Whether records of it are still in the shard that it was in.
            has_older: bool,
        },
        /// Catalog: of a stream nothing is left in the shard that it was in before.
        47 = OlderGone {
            /// The stream.
            stream: StreamId,
        },

        /// Carries an outbox item of another shard. Repeated ones are dropped, and one that comes
        /// before its predecessor is refused.
        64 = Deliver {
            /// The shard whose outbox it is from.
            from: ShardId,
            /// The item's number there.
            item: u64,
            /// The command, in its own form.
            command: Bytes,
        },
        /// Says that another shard has logged outbox items.
        65 = Delivered {
            /// The shard they were for.
            to: ShardId,
            /// Their numbers.
            items: Vec<u64>,
        },
        /// Switches all replicas to a behaviour at this index.
        66 = Barrier {
            /// The behaviour's version.
            version: u32,
        },
    }
}

impl Command {
    /// Whether `shard` is of the kind that the command is for.
    #[must_use]
    pub fn is_for(&self, shard: ShardId) -> bool {
        match self {
            Command::Append { .. }
            | Command::Recall { .. }
            | Command::CreateStream { .. }
            | Command::DeleteStream { .. }
            | Command::ConfigureStream { .. }
            | Command::Trim { .. }
            | Command::Settle { .. }
            | Command::SaveGroup { .. }
            | Command::CommitOffsets { .. }
            | Command::DeleteGroup { .. }
            | Command::CreateStreams { .. }
            | Command::DeleteStreams { .. }
            | Command::ConfigureStreams { .. }
            | Command::DeleteOffsets { .. }
            | Command::FenceStream { .. }
            | Command::AdoptProducers { .. }
            | Command::AdoptIds { .. }
            | Command::AdoptStream { .. }
            | Command::OlderStarts { .. } => shard != ShardId::CATALOG,
            Command::AddShards { .. }
            | Command::CreateTopic { .. }
            | Command::DeleteTopic { .. }
            | Command::AllocateProducerIds { .. }
            | Command::ConfigureTopic { .. }
            | Command::AddPartitions { .. }
            | Command::AllocateNode { .. }
            | Command::UpdateNode { .. }
            | Command::SetNodeState { .. }
            | Command::PlaceShard { .. }
            | Command::AssignSlots { .. }
            | Command::GiveUpShard { .. }
            | Command::MoveStream { .. }
            | Command::StreamAdopted { .. }
            | Command::OlderGone { .. } => shard == ShardId::CATALOG,
            Command::Tick | Command::Deliver { .. } | Command::Delivered { .. } | Command::Barrier { .. } => true,
        }
    }

    /// The first behaviour that has the command. Under an earlier one it is refused, and builds that know no
    /// later one stop at it: it must not be proposed.
    #[must_use]
    pub fn version(&self) -> u32 {
        match self {
            Command::AllocateNode { .. }
            | Command::UpdateNode { .. }
            | Command::SetNodeState { .. }
            | Command::PlaceShard { .. }
            | Command::AssignSlots { .. }
            | Command::GiveUpShard { .. } => VERSION_OF_NODES,
            Command::FenceStream { .. }
            | Command::AdoptProducers { .. }
            | Command::AdoptIds { .. }
            | Command::AdoptStream { .. }
            | Command::OlderStarts { .. }
            | Command::MoveStream { .. }
            | Command::StreamAdopted { .. }
            | Command::OlderGone { .. } => VERSION_OF_MOVES,
            _ => 1,
        }
    }
}
