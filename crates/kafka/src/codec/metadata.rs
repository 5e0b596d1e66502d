//! Brokers, topics, partitions and their leaders.

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Asks about topics. Null means all of them, and so does an empty array in version 0.
    struct MetadataRequest [api 3, versions 0..=13, flexible 9, response MetadataResponse] {
        topics: Option<Vec<MetadataRequestTopic>>, null 1..;
        allow_auto_topic_creation: bool = true, in 4..;
        include_cluster_authorized_operations: bool, in 8..=10;
        include_topic_authorized_operations: bool, in 8..;
    }

    /// A topic by name or, since version 10, by id.
    struct MetadataRequestTopic {
        topic_id: Uuid, in 10..;
        name: Option<Text>, null 10..;
    }

    /// The cluster and the topics asked for. Authorized operations are bit fields by operation
    /// code.
    struct MetadataResponse [answers MetadataRequest] {
        throttle_time_ms: i32, in 3..;
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<Text>, in 2..;
        controller_id: i32 = -1, in 1..;
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 = i32::MIN, in 8..=10;
        error_code: i16, in 13..;
    }

    /// A broker and where clients reach it.
    struct MetadataResponseBroker {
        node_id: i32;
        host: Text;
        port: i32;
        rack: Option<Text>, in 1..;
    }

    /// A topic, or why it is not described.
    struct MetadataResponseTopic {
        error_code: i16;
        name: Option<Text>, null 12..;
        topic_id: Uuid, in 10..;
        is_internal: bool, in 1..;
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN, in 8..;
    }

    /// A partition and the ids of the brokers that hold it.
    struct MetadataResponsePartition {
        error_code: i16;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1, in 7..;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, in 5..;
    }
}
