//! Faults that a test build can switch on, to prove that the checkers would notice them.
//!
//! Those of the crates above are here too, because a journal's options are what reaches every
//! replica.
//!
//! Without the feature `canary` no fault can be chosen and every question below is a constant.

/// A known fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Syncs succeed without reaching the disk.
    NoFsync,
    /// The vote is forgotten by a crash.
    VoteNotPersisted,
    /// A checkpoint may cover entries that are not on stable storage.
    CheckpointAheadOfFlush,
    /// The tail cache drops bytes that are nowhere else yet.
    EvictUnflushed,
    /// Truncation keeps one entry too many.
    TruncateOffByOne,
    /// Reclaim takes pieces that are alive.
    ReclaimLive,
    /// Reclaim takes nothing.
    ReclaimNothing,
    /// In a shard: a follower says that it has entries before it has them.
    AcknowledgeBeforeQuorum,
    /// In a shard: a leader takes every append for answered as soon as it is sent.
    CommitAlone,
    /// In a shard: message ids are not looked at.
    IgnoreMessageIds,
    /// In a shard: batches are taken as if their producers did not number them.
    SkipSequence,
    /// In a shard: the batcher takes the second of two waiting requests first.
    TakeSecondFirst,
    /// In a shard: what a leader of the past has sequenced is proposed when it leads again, in another term.
    UnfencedTerm,
    /// In a shard: an append that is under way is called refused.
    RefuseAndAppend,
    /// In a shard: nothing that is damaged is mended.
    MendNothing,
    /// In a shard: that records of a queue are settled is acknowledged and not kept.
    ForgetSettlement,
    /// In a shard: one record more is settled than was asked for, the one before.
    SettleTooMuch,
    /// In a shard: a trim is acknowledged and nothing else.
    ForgetTrim,
    /// In a shard: generations of groups are not kept.
    ForgetGeneration,
    /// In a shard: positions of groups are acknowledged and not kept.
    ForgetCommit,
    /// In the catalog: the deletion of a topic is acknowledged and nothing else.
    ForgetDeletion,
    /// In the catalog: a producer id that was handed out is handed out again.
    ReuseProducerId,
    /// In the catalog: all nodes that join are given one number.
    ReuseNodeId,
    /// In a machine: what expires is found by iterating over a hash map.
    HashMapIteration,
    /// Compaction goes on behind a file that has to stay as it is.
    CompactBehindStaying,
    /// Reading ends where compaction left nothing of what was asked for.
    StallAtGaps,
    /// In a shard: compaction keeps the first record of a key.
    CompactToFirst,
    /// In a shard: compaction removes records for ones that are not committed.
    CompactUncommitted,
    /// In a shard: compaction removes removals of keys at once.
    CompactRemovalsAtOnce,
    /// In a shard: a leader says what there is before it has applied what came before it.
    LeadBeforeApplied,
    /// In a shard: a leader is sure to lead for as long as nobody tells it otherwise.
    LeadForEver,
    /// In a broker: nobody says in which rack it stands.
    IgnoreRacks,
    /// In a broker: a node answers a change that another has made before it knows of it.
    AnswerBeforeApplied,
    /// In a broker: a node that gets a replica founds the shard instead of following it.
    FoundInsteadOfFollow,
    /// In a broker: a group takes the commits of members that are out of it.
    CommitOfFormerMember,
    /// In a broker: whoever has a replica tells the positions of groups, whether or not it leads.
    PositionsByAnybody,
    /// In a broker: each member of a group is told that it leads it.
    EveryMemberLeads,
    /// In a broker: members of groups are told that they have nothing to read.
    ForgetShares,
    /// In a broker: who repeats a batch that was appended is not answered.
    AnswerNoRepeat,
    /// In a broker: every other node leaves out the last topic when it tells which there are.
    LeaveOutTopics,
    /// In a broker: a replica that is to be elsewhere stays.
    KeepReplicas,
    /// In a machine: a stream that moves to another shard goes on where it was, too.
    UnfencedMove,
    /// In a machine: a stream that moves to another shard leaves behind what it knows of its producers.
    ForgetfulMove,
    /// In a machine: trimming takes one record more than it was asked to.
    TrimTooFar,
    /// In a machine: a producer goes on although another instance of it has begun.
    UnfencedProducer,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Fault] = &[
        Fault::NoFsync,
        Fault::VoteNotPersisted,
        Fault::CheckpointAheadOfFlush,
        Fault::EvictUnflushed,
        Fault::TruncateOffByOne,
        Fault::ReclaimLive,
        Fault::ReclaimNothing,
        Fault::AcknowledgeBeforeQuorum,
        Fault::CommitAlone,
        Fault::IgnoreMessageIds,
        Fault::SkipSequence,
        Fault::TakeSecondFirst,
        Fault::UnfencedTerm,
        Fault::RefuseAndAppend,
        Fault::MendNothing,
        Fault::ForgetSettlement,
        Fault::SettleTooMuch,
        Fault::ForgetTrim,
        Fault::ForgetGeneration,
        Fault::ForgetCommit,
        Fault::ForgetDeletion,
        Fault::ReuseProducerId,
        Fault::ReuseNodeId,
        Fault::HashMapIteration,
        Fault::CompactBehindStaying,
        Fault::StallAtGaps,
        Fault::CompactToFirst,
        Fault::CompactUncommitted,
        Fault::CompactRemovalsAtOnce,
        Fault::LeadBeforeApplied,
        Fault::LeadForEver,
        Fault::IgnoreRacks,
        Fault::AnswerBeforeApplied,
        Fault::FoundInsteadOfFollow,
        Fault::CommitOfFormerMember,
        Fault::PositionsByAnybody,
        Fault::EveryMemberLeads,
        Fault::ForgetShares,
        Fault::AnswerNoRepeat,
        Fault::LeaveOutTopics,
        Fault::KeepReplicas,
        Fault::UnfencedMove,
        Fault::ForgetfulMove,
        Fault::TrimTooFar,
        Fault::UnfencedProducer,
    ];
}
