//! Where a leader epoch ended, for truncation detection (KIP-101, KIP-320).

use super::message::messages;
use super::text::Text;

messages! {
    /// Epochs to look up. Replica id -2 is a debugging consumer, -1 a consumer.
    struct OffsetForLeaderEpochRequest
        [api 23, versions 2..=4, flexible 4, response OffsetForLeaderEpochResponse]
    {
        replica_id: i32 = -2, in 3..;
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// The partitions of one topic.
    struct OffsetForLeaderTopic {
        topic: Text;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// The epoch to look up in one partition.
    struct OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1;
        leader_epoch: i32;
    }

    /// The epochs found.
    struct OffsetForLeaderEpochResponse [answers OffsetForLeaderEpochRequest] {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// The epochs found in one topic.
    struct OffsetForLeaderTopicResult {
        topic: Text;
        partitions: Vec<EpochEndOffset>;
    }

    /// The largest epoch not above the one asked for, and the offset after its last record.
    struct EpochEndOffset {
        error_code: i16;
        partition: i32;
        leader_epoch: i32 = -1;
        end_offset: i64 = -1;
    }
}
