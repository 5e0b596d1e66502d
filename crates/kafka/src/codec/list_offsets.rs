//! Offsets by timestamp, or the ends of a partition.

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks for offsets. Timestamps below 0 name the ends: -1 latest, -2 earliest.
    struct ListOffsetsRequest [api 2, versions 1..=11, flexible 6, response ListOffsetsResponse] {
        replica_id: i32;
        isolation_level: i8, in 2..;
        topics: Vec<ListOffsetsTopic>;
        timeout_ms: i32, in 10..;
    }

    /// The partitions of one topic asked about.
    struct ListOffsetsTopic {
        name: Text;
        partitions: Vec<ListOffsetsPartition>;
    }

    /// A partition and the timestamp, in milliseconds, to look up.
    struct ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 = -1, in 4..;
        timestamp: i64;
    }

    /// The offsets found.
    struct ListOffsetsResponse [answers ListOffsetsRequest] {
        throttle_time_ms: i32, in 2..;
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// The offsets found in one topic.
    struct ListOffsetsTopicResponse {
        name: Text;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// The first record at or after the timestamp; -1 where there is none.
    struct ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: i16;
        timestamp: i64 = -1;
        offset: i64 = -1;
        leader_epoch: i32 = -1, in 4..;
    }
}
