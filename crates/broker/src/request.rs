//! Everything the product can do, on one screen: what protocols ask and what they are answered.

use crate::group::{Description, GroupConfig, GroupReply, GroupRequest};
use crate::setting::{Change, Settings};
use bytes::Bytes;
use journal::Chunk;
use model::config::StreamConfig;
use model::{Durability, LeaderEpoch, NodeId, Offset, ProducerId, ShardId, Timestamp, TopicId};
use std::path::PathBuf;
use std::time::Duration;

/// A request.
#[derive(Debug)]
pub enum Request {
    /// Looks topics up; makes missing ones where asked to.
    Topics(TopicsQuery),
    /// Lists topics, page by page.
    TopicPage(TopicPageQuery),
    /// Makes topics.
    CreateTopics(Vec<CreateTopic>),
    /// Removes topics.
    DeleteTopics(Vec<TopicRef>),
    /// Changes what topics are set to.
    AlterTopics(Vec<AlterTopic>),
    /// Adds partitions to topics.
    AddPartitions(Vec<AddPartitions>),
    /// Has partitions led by others than those who do.
    ElectLeaders(LeaderQuery),
    /// Removes the oldest records of partitions.
    Trim(Vec<TrimPart>),
    /// Tells how many bytes partitions have.
    Sizes(SizesQuery),
    /// Tells about this node.
    Node,
    /// Appends pieces.
    Append(Vec<AppendPart>),
    /// Reads pieces, waiting for more if there are few.
    Read(ReadQuery),
    /// Finds offsets.
    Offsets(Vec<OffsetQuery>),
    /// Tells where leader epochs end.
    EpochEnds(Vec<EpochQuery>),
    /// Tells how far consumers are behind.
    Lag(Vec<LagQuery>),
    /// Hands out a producer id that nobody has had.
    NewProducer,
    /// Something about a consumer group.
    Group(GroupRequest),
    /// Tells about consumer groups in detail.
    DescribeGroups(Vec<String>),
    /// Commits a group's positions.
    CommitOffsets(OffsetCommit),
    /// Reads groups' positions.
    FetchOffsets(Vec<OffsetFetch>),
    /// Forgets a group's positions.
    DeleteOffsets(OffsetDelete),
}

/// The answer to the request of the same name.
#[derive(Debug)]
pub enum Reply {
    /// In the order asked for; all topics by name when all were asked for.
    Topics(Vec<Result<TopicInfo, BrokerError>>),
    /// Topics by name.
    TopicPage(TopicPage),
    /// In the order asked for.
    TopicsCreated(Vec<Result<TopicInfo, BrokerError>>),
    /// In the order asked for.
    TopicsDeleted(Vec<Result<(), BrokerError>>),
    /// In the order asked for.
    TopicsAltered(Vec<Result<(), BrokerError>>),
    /// In the order asked for.
    PartitionsAdded(Vec<Result<(), BrokerError>>),
    /// In the order asked for; when all were asked for, those of which there is more to say than that nothing had to
    /// be done, by topic.
    LeadersElected(Vec<PartitionElection>),
    /// Where each partition starts now, in the order asked for.
    Trimmed(Vec<Result<Offset, BrokerError>>),
    /// In the order asked for; all partitions that this node has when all were asked for.
    Sizes(Vec<PartitionSize>),
    /// This node.
    Node(NodeInfo),
    /// In the order asked for.
    Appended(Vec<Result<Appended, AppendRefusal>>),
    /// What was read.
    Read {
        /// In the order asked for.
        parts: Vec<Result<ReadPart, BrokerError>>,
        /// How long it waited for more than there was.
        waited: Duration,
    },
    /// In the order asked for.
    Offsets(Vec<Result<FoundOffset, BrokerError>>),
    /// In the order asked for.
    EpochEnds(Vec<Result<EpochEnd, BrokerError>>),
    /// In the order asked for.
    Lag(Vec<Result<Lag, BrokerError>>),
    /// The id, with epoch 0.
    NewProducer(Result<ProducerId, BrokerError>),
    /// The coordinator's answer.
    Group(Result<GroupReply, BrokerError>),
    /// In the order asked for.
    GroupsDescribed(Vec<Result<Description, BrokerError>>),
    /// In the order asked for.
    OffsetsCommitted(Vec<Result<(), BrokerError>>),
    /// In the order asked for.
    OffsetsFetched(Vec<Result<Vec<FetchedOffset>, BrokerError>>),
    /// In the order asked for.
    OffsetsDeleted(Result<Vec<Result<(), BrokerError>>, BrokerError>),
}

/// Why something was not done. Each protocol has one table from these to its own codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No topic of that name or id.
    #[error("no such topic")]
    UnknownTopic,
    /// The topic has fewer partitions.
    #[error("no such partition")]
    UnknownPartition,
    /// Not a name.
    #[error("invalid name: {0}")]
    InvalidName(String),
    /// The name is taken.
    #[error("the topic exists")]
    TopicExists,
    /// Not a number of partitions that a topic can have.
    #[error("invalid number of partitions")]
    InvalidPartitions,
    /// The topic has as many partitions, or more.
    #[error("the topic has {0} partitions already, and partitions are not taken away")]
    EnoughPartitions(u32),
    /// Not a placement of a topic's partitions.
    #[error("invalid placement: {0}")]
    InvalidPlacement(&'static str),
    /// Not a number of replicas that a partition can have, on so many nodes.
    #[error("invalid replication factor: of a partition there are 1 to {0} replicas here, one on a node")]
    InvalidReplicas(u32),
    /// Not a configuration.
    #[error("invalid configuration: {0}")]
    InvalidConfig(String),
    /// Another node leads; ask that one, or look again.
    #[error("another node leads")]
    NotLeader(Option<NodeId>),
    /// It may or may not have been done.
    #[error("timed out: it may or may not have been done")]
    Unknown,
    /// The node or the shard stops or has stopped.
    #[error("not available")]
    Unavailable,
    /// The disk is full.
    #[error("disk full")]
    DiskFull,
    /// The pieces are not pieces, or damaged.
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    /// One record of a piece is why it is refused.
    #[error("record {nth}: {error}")]
    InRecord {
        /// Its place in the piece.
        nth: u32,
        /// What is wrong with it.
        error: Box<BrokerError>,
    },
    /// A record's timestamp is farther from now than the topic accepts.
    #[error("invalid timestamp: {0}")]
    InvalidTimestamp(String),
    /// The topic's configuration does not allow it.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// A piece that is larger than the stream accepts.
    #[error("record too large")]
    TooLarge,
    /// A numbering producer's batch does not follow its last.
    #[error("out of order sequence")]
    OutOfOrderSequence,
    /// A newer instance of the producer is known.
    #[error("producer epoch is fenced")]
    FencedProducer,
    /// An offset outside the stream.
    #[error("offset out of range")]
    OffsetOutOfRange,
    /// An offset that this replica does not have yet, and another may have.
    #[error("offset not available here yet")]
    OffsetNotAvailable,
    /// The caller's leader epoch is older than ours.
    #[error("leader epoch is fenced")]
    FencedEpoch,
    /// The caller's leader epoch is newer than ours.
    #[error("unknown leader epoch")]
    UnknownEpoch,
    /// Bytes on disk are damaged and there is no replica to repair them from.
    #[error("damaged on disk")]
    Damaged,
    /// A limit.
    #[error("limit reached: {0}")]
    LimitReached(&'static str),
    /// No node of this number.
    #[error("no such node")]
    UnknownNode,
    /// The node has replicas of shards.
    #[error("shards have replicas on the node")]
    NodeInUse,
    /// The node was removed, which is for ever.
    #[error("the node was removed")]
    NodeRemoved,
    /// No shard of this number that streams can be in.
    #[error("no such shard")]
    UnknownShard,
    /// Nobody leads the shard, or most of its replicas do not answer whoever does.
    #[error("{0} has no leader that most of its replicas follow")]
    NoLeader(ShardId),
    /// As many streams move as may at a time.
    #[error("as many partitions are on their way as may be at a time")]
    TooManyMoves,
    /// A stream does not move while it moves, or while some of it is where it was.
    #[error("it moves, or records of it are still in the shard that it came from")]
    Moving,
    /// The group coordinator's.
    #[error(transparent)]
    Group(#[from] crate::group::GroupError),
}

/// A topic by name or by identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// Which topics to look up.
#[derive(Debug)]
pub struct TopicsQuery {
    /// These, or all.
    pub topics: Option<Vec<TopicRef>>,
    /// Make the missing ones, as the node is configured to.
    pub create_missing: bool,
}

/// Which topics to list.
#[derive(Clone, Debug)]
pub struct TopicPageQuery {
    /// Those whose name begins so.
    pub prefix: String,
    /// Those whose name is behind this one.
    pub after: Option<String>,
    /// No more than these.
    pub topics_max: usize,
    /// No more when they have so many partitions already.
    pub partitions_max: usize,
}

/// Some topics.
#[derive(Clone, Debug)]
pub struct TopicPage {
    /// They, by name.
    pub topics: Vec<TopicInfo>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A topic, described.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// What follows from its settings.
    pub config: StreamConfig,
    /// What somebody has set.
    pub settings: Settings,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition, described.
#[derive(Clone, Debug)]
pub struct PartitionInfo {
    /// The node that leads it, if anybody is known to.
    pub leader: Option<NodeId>,
    /// Its leader epoch, where this node has it.
    pub epoch: Option<LeaderEpoch>,
    /// The nodes that have it.
    pub replicas: Vec<NodeId>,
    /// Those of them that have all that is committed, or nearly, and answer. Whoever leads it knows that of all; of the
    /// others those that vote are named unless they are known to be silent.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are known to be silent. A node knows it of those that it leads a shard with.
    pub offline: Vec<NodeId>,
    /// The shard that it is in, once it is in one.
    pub shard: Option<ShardId>,
    /// The shard that it came from, while that still has records of it.
    pub older_shard: Option<ShardId>,
    /// The shard that it is on its way to.
    pub moving_to: Option<ShardId>,
}

/// A topic to make.
#[derive(Debug)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the node's default when absent.
    pub partitions: Option<u32>,
    /// How many replicas; the cluster's default when absent.
    pub replicas: Option<u32>,
    /// What it is set to.
    pub settings: Settings,
    /// Only say whether it could be made.
    pub validate_only: bool,
}

/// Changes to what a topic is set to.
#[derive(Debug)]
pub struct AlterTopic {
    /// Which.
    pub topic: TopicRef,
    /// What is to change, in this order.
    pub changes: Vec<(String, Change)>,
    /// Whether everything else goes back to its default.
    pub replace: bool,
    /// Only say whether it could be done.
    pub validate_only: bool,
}

/// Partitions to add.
#[derive(Debug)]
pub struct AddPartitions {
    /// To which topic.
    pub topic: TopicRef,
    /// How many it shall have then.
    pub total: u32,
    /// For how many of the new ones the client says where they shall be, if it does.
    pub placed: Option<usize>,
    /// Only say whether it could be done.
    pub validate_only: bool,
}

/// Which partitions are to be led by somebody else.
#[derive(Debug)]
pub struct LeaderQuery {
    /// These, or all.
    pub partitions: Option<Vec<PartitionRef>>,
    /// By whom.
    pub election: Election,
    /// How long it may take.
    pub patience: Duration,
}

/// Who is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The node that is preferred.
    Preferred,
    /// Anybody that has all that was acknowledged, if nobody leads. That somebody does is seen to without being
    /// asked: it is only told.
    Any,
}

/// What became of a partition's election. Its whole shard has one leader.
#[derive(Clone, Debug)]
pub struct PartitionElection {
    /// The partition, by the name of its topic when all were asked for.
    pub partition: PartitionRef,
    /// What became of it.
    pub outcome: Result<Elected, BrokerError>,
}

/// Whether those lead who shall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elected {
    /// Now they do.
    Now,
    /// They did before.
    Before,
    /// They cannot: they are not there, or lack something.
    NotYet,
}

/// Records to remove.
#[derive(Debug)]
pub struct TrimPart {
    /// Of which partition.
    pub partition: PartitionRef,
    /// The first that stays; none when absent.
    pub to: Option<Offset>,
}

/// Which partitions' sizes are asked for.
#[derive(Debug)]
pub struct SizesQuery {
    /// These, or all.
    pub partitions: Option<Vec<PartitionRef>>,
}

/// How large a partition is. Those that are not on this node are left out of an answer.
#[derive(Clone, Debug)]
pub struct PartitionSize {
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Bytes of its pieces, as they are stored.
    pub bytes: u64,
    /// Its first offset.
    pub start: Offset,
    /// One past its last offset.
    pub end: Offset,
}

/// What a node tells of itself.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Which.
    pub node: NodeId,
    /// Where its data is.
    pub folder: PathBuf,
    /// Bytes of the file system that the data is on, and how many of them are free.
    pub disk: Option<(u64, u64)>,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: u32,
    /// Replicas that a partition shall have, as far as there are nodes for them.
    pub replication: u32,
    /// Whether asking for a missing topic may make it.
    pub auto_create_topics: bool,
    /// How groups are configured.
    pub groups: GroupConfig,
    /// What topics are set to of which nobody says otherwise.
    pub topic_defaults: Settings,
    /// How many topics there are.
    pub topics: usize,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionRef {
    /// The topic.
    pub topic: TopicRef,
    /// Which partition.
    pub partition: u32,
}

/// Pieces for one partition.
#[derive(Debug)]
pub struct AppendPart {
    /// Where to.
    pub to: PartitionRef,
    /// The pieces, back to back.
    pub bytes: Bytes,
    /// Overrides the topic's durability.
    pub durability: Option<Durability>,
    /// Looks into them, as their form asks for: batches have [`crate::batches::inspect`].
    pub inspect: Inspect,
}

/// Looks into pieces that are to be appended to a stream of this configuration, now, and returns what is
/// to be appended: the same, or what the configuration makes of them. `None` when that takes handling more
/// bytes than the last argument says.
///
/// It refuses what the configuration does not allow and what is not well formed.
pub type Inspect = fn(&Bytes, &StreamConfig, Timestamp, usize) -> Result<Option<Bytes>, BrokerError>;

/// Where pieces were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base: Offset,
    /// The stream's first offset.
    pub start: Offset,
    /// They had been appended before, here.
    pub duplicate: bool,
}

/// Why pieces were not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRefusal {
    /// What is wrong.
    pub error: BrokerError,
    /// The stream's first offset, if there is such a stream here.
    pub start: Option<Offset>,
}

/// What to read.
#[derive(Debug)]
pub struct ReadQuery {
    /// From which partitions.
    pub parts: Vec<ReadRange>,
    /// Wait until there are so many bytes...
    pub min_bytes: usize,
    /// ...but no longer than this.
    pub max_wait: Duration,
    /// No more bytes than this, over all partitions, beyond the first piece.
    pub max_bytes: usize,
    /// Whether the reader takes parts of files; else everything is read into memory.
    pub in_files: bool,
    /// Whether a replica that does not lead may be read, which may be a moment behind (KIP-392).
    pub any_replica: bool,
}

/// What to read from one partition.
#[derive(Clone, Debug)]
pub struct ReadRange {
    /// The partition.
    pub from: PartitionRef,
    /// From which offset on.
    pub offset: Offset,
    /// No more bytes than this, beyond the first piece.
    pub max_bytes: usize,
    /// The leader epoch the reader knows, if it says.
    pub epoch: Option<LeaderEpoch>,
    /// The leader epoch of the record before, if it says: to notice that it read what came to nothing.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What was read from one partition.
#[derive(Debug)]
pub struct ReadPart {
    /// The topic.
    pub topic: TopicId,
    /// One past the last committed record.
    pub end: Offset,
    /// The first record.
    pub start: Offset,
    /// Pieces, in order.
    pub chunks: Vec<Chunk>,
    /// What the reader had read is not what the stream holds: up to where they agree. Nothing is read.
    pub diverges: Option<EpochEnd>,
}

impl ReadPart {
    /// How many bytes were read.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }
}

/// A position to find.
#[derive(Clone, Debug)]
pub struct OffsetQuery {
    /// In which partition.
    pub partition: PartitionRef,
    /// Which.
    pub which: OffsetSpec,
    /// Looks for the record in a piece, where that is needed: the broker does not know their form.
    pub find: FindRecord,
    /// The leader epoch the caller knows, if it says.
    pub epoch: Option<LeaderEpoch>,
}

/// Looks in a piece for the first record that is not before a time, handling as many bytes as the last
/// argument says.
pub type FindRecord = fn(&Bytes, Timestamp, usize) -> Search;

/// What came of looking for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Its offset and its time.
    Found(Offset, Timestamp),
    /// There is none, or none that can be read.
    Nothing,
    /// It takes handling more bytes.
    TooMuch,
}

/// Which offset is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetSpec {
    /// The first record's.
    Earliest,
    /// One past the last committed record.
    Latest,
    /// That of the first record at or after a time.
    AtOrAfter(Timestamp),
    /// That of the record with the greatest timestamp.
    MaxTimestamp,
}

impl OffsetSpec {
    /// Whether a record has to be read to find it.
    #[must_use]
    pub fn is_searched(self) -> bool {
        matches!(self, OffsetSpec::AtOrAfter(_) | OffsetSpec::MaxTimestamp)
    }
}

/// Where a leader epoch ended.
#[derive(Clone, Debug)]
pub struct EpochQuery {
    /// In which partition.
    pub partition: PartitionRef,
    /// The leader epoch the caller knows to be current, if it says.
    pub current: Option<LeaderEpoch>,
    /// The epoch in question.
    pub epoch: i32,
}

/// Where the greatest leader epoch not above the one in question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// That epoch, if there was one.
    pub epoch: Option<LeaderEpoch>,
    /// One past its last record.
    pub end: Option<Offset>,
}

/// A position found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset, if there is one.
    pub offset: Option<Offset>,
    /// Of a search by time, the record's.
    pub timestamp: Option<Timestamp>,
    /// Leader epoch of the record.
    pub epoch: Option<LeaderEpoch>,
}

/// A consumer's position.
#[derive(Clone, Debug)]
pub struct LagQuery {
    /// In which partition.
    pub partition: PartitionRef,
    /// The next offset to consume.
    pub position: Offset,
}

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The partition's first offset.
    pub start: Offset,
    /// One past its last committed record.
    pub end: Offset,
    /// Records left to consume, as offsets count them.
    pub records: u64,
    /// The age of the next record to be consumed, by the greatest timestamp of the piece that holds it: 0
    /// when there is none. `None` when it is not known.
    pub millis: Option<u64>,
}

/// Positions to commit.
#[derive(Debug)]
pub struct OffsetCommit {
    /// Who commits.
    pub group: String,
    /// The member, empty for a consumer outside of the group protocol.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// The generation it is in, or -1.
    pub generation: i32,
    /// The positions.
    pub offsets: Vec<NewOffset>,
}

/// A position to commit.
#[derive(Debug)]
pub struct NewOffset {
    /// Of which partition.
    pub partition: PartitionRef,
    /// The next offset to consume.
    pub offset: Offset,
    /// Leader epoch of the last consumed record, or -1.
    pub leader_epoch: i32,
    /// Whatever the consumer wants to remember.
    pub metadata: String,
}

/// Positions to read.
#[derive(Debug)]
pub struct OffsetFetch {
    /// Whose.
    pub group: String,
    /// Of these partitions, or of all that have one.
    pub partitions: Option<Vec<PartitionRef>>,
}

/// A committed position, or that there is none.
#[derive(Clone, Debug)]
pub struct FetchedOffset {
    /// Topic name; empty when there is no such topic and it was asked for by identity.
    pub topic: String,
    /// Topic identity; as asked for, or zero, when there is no such topic.
    pub id: TopicId,
    /// Partition.
    pub partition: u32,
    /// Whether there is such a topic.
    pub known: bool,
    /// The position.
    pub committed: Option<machine::messaging::group::Committed>,
}

/// Positions to forget.
#[derive(Debug)]
pub struct OffsetDelete {
    /// Whose.
    pub group: String,
    /// Over which partitions.
    pub partitions: Vec<PartitionRef>,
}
