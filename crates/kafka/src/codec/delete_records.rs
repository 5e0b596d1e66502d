//! Deleting the records of a partition below an offset (KIP-107).

use super::message::messages;
use super::text::Text;

messages! {
    /// Records to delete.
    struct DeleteRecordsRequest
        [api 21, versions 0..=2, flexible 2, response DeleteRecordsResponse]
    {
        topics: Vec<DeleteRecordsTopic>;
        timeout_ms: i32;
    }

    /// The partitions of one topic.
    struct DeleteRecordsTopic {
        name: Text;
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// Records below `offset` go; -1 is all of them.
    struct DeleteRecordsPartition {
        partition_index: i32;
        offset: i64;
    }

    /// What was deleted.
    struct DeleteRecordsResponse [answers DeleteRecordsRequest] {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult>;
    }

    /// What was deleted from one topic.
    struct DeleteRecordsTopicResult {
        name: Text;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// The first offset that is left.
    struct DeleteRecordsPartitionResult {
        partition_index: i32;
        low_watermark: i64;
        error_code: i16;
    }
}
