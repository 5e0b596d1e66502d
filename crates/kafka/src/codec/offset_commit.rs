//! Storing how far a group has read.

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Offsets to store. `retention_time_ms` -1 is the default of the server.
    struct OffsetCommitRequest [api 8, versions 2..=10, flexible 8, response OffsetCommitResponse] {
        group_id: Text;
        generation_id_or_member_epoch: i32 = -1;
        member_id: Text;
        group_instance_id: Option<Text>, in 7..;
        retention_time_ms: i64 = -1, in ..=4;
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// Offsets in one topic.
    struct OffsetCommitRequestTopic {
        name: Text, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// The next offset to read from one partition.
    struct OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, in 6..;
        committed_metadata: Option<Text>;
    }

    /// What was stored.
    struct OffsetCommitResponse [answers OffsetCommitRequest] {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// What was stored for one topic.
    struct OffsetCommitResponseTopic {
        name: Text, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// Whether the offset of one partition was stored.
    struct OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: i16;
    }
}
