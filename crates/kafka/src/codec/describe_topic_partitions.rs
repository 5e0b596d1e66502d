//! Topics and their partitions, page by page (KIP-966).

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Asks for a page. Starts at the cursor if there is one.
    struct DescribeTopicPartitionsRequest
        [api 75, versions 0..=0, flexible 0, response DescribeTopicPartitionsResponse]
    {
        topics: Vec<TopicRequest>;
        response_partition_limit: i32 = 2000;
        cursor: Option<Cursor>;
    }

    /// A topic by name.
    struct TopicRequest {
        name: Text;
    }

    /// The first partition of a page.
    struct Cursor {
        topic_name: Text;
        partition_index: i32;
    }

    /// A page, and the cursor of the next if there is one.
    struct DescribeTopicPartitionsResponse [answers DescribeTopicPartitionsRequest] {
        throttle_time_ms: i32;
        topics: Vec<DescribeTopicPartitionsResponseTopic>;
        next_cursor: Option<Cursor>;
    }

    /// A topic, or why it is not described.
    struct DescribeTopicPartitionsResponseTopic {
        error_code: i16;
        name: Option<Text>;
        topic_id: Uuid;
        is_internal: bool;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN;
    }

    /// A partition and the ids of the brokers that hold it.
    struct DescribeTopicPartitionsResponsePartition {
        error_code: i16;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        eligible_leader_replicas: Option<Vec<i32>>;
        last_known_elr: Option<Vec<i32>>;
        offline_replicas: Vec<i32>;
    }
}
