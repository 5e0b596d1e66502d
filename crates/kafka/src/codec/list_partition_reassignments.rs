//! Partitions that are being moved to other brokers (KIP-455).

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks about partitions; null is all of them.
    struct ListPartitionReassignmentsRequest
        [api 46, versions 0..=0, flexible 0, response ListPartitionReassignmentsResponse]
    {
        timeout_ms: i32 = 60000;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>;
    }

    /// The partitions of one topic.
    struct ListPartitionReassignmentsTopics {
        name: Text;
        partition_indexes: Vec<i32>;
    }

    /// Those that are moving.
    struct ListPartitionReassignmentsResponse [answers ListPartitionReassignmentsRequest] {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<Text>;
        topics: Vec<OngoingTopicReassignment>;
    }

    /// Those of one topic.
    struct OngoingTopicReassignment {
        name: Text;
        partitions: Vec<OngoingPartitionReassignment>;
    }

    /// One of them, and the brokers that it is on, comes to and leaves.
    struct OngoingPartitionReassignment {
        partition_index: i32;
        replicas: Vec<i32>;
        adding_replicas: Vec<i32>;
        removing_replicas: Vec<i32>;
    }
}
