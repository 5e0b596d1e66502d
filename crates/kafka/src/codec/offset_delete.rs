//! Forgetting how far a group has read (KIP-496).

use super::message::messages;
use super::text::Text;

messages! {
    /// Offsets to forget.
    struct OffsetDeleteRequest [api 47, versions 0..=0, response OffsetDeleteResponse] {
        group_id: Text;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// The partitions of one topic.
    struct OffsetDeleteRequestTopic {
        name: Text;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// One partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    /// What was forgotten.
    struct OffsetDeleteResponse [answers OffsetDeleteRequest] {
        error_code: i16;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// What was forgotten of one topic.
    struct OffsetDeleteResponseTopic {
        name: Text;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// Whether the offset of one partition was forgotten.
    struct OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: i16;
    }
}
