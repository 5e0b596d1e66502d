//! Moving partitions to other brokers (KIP-455).

use super::message::messages;
use super::text::Text;

messages! {
    /// Where partitions are to be.
    struct AlterPartitionReassignmentsRequest
        [api 45, versions 0..=1, flexible 0, response AlterPartitionReassignmentsResponse]
    {
        timeout_ms: i32 = 60000;
        allow_replication_factor_change: bool = true, in 1..;
        topics: Vec<ReassignableTopic>;
    }

    /// The partitions of one topic.
    struct ReassignableTopic {
        name: Text;
        partitions: Vec<ReassignablePartition>;
    }

    /// The brokers that one partition is to be on. Null stops a move that is under way.
    struct ReassignablePartition {
        partition_index: i32;
        replicas: Option<Vec<i32>>;
    }

    /// What became of each.
    struct AlterPartitionReassignmentsResponse [answers AlterPartitionReassignmentsRequest] {
        throttle_time_ms: i32;
        allow_replication_factor_change: bool = true, in 1..;
        error_code: i16;
        error_message: Option<Text>;
        responses: Vec<ReassignableTopicResponse>;
    }

    /// What became of the partitions of one topic.
    struct ReassignableTopicResponse {
        name: Text;
        partitions: Vec<ReassignablePartitionResponse>;
    }

    /// Whether one partition moves.
    struct ReassignablePartitionResponse {
        partition_index: i32;
        error_code: i16;
        error_message: Option<Text>;
    }
}
