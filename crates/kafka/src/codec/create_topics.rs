//! Creating topics (KIP-4).

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Topics to create, or to check whether they could be.
    struct CreateTopicsRequest [api 19, versions 2..=7, flexible 5, response CreateTopicsResponse] {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60000;
        validate_only: bool;
    }

    /// A topic to create. Counts of -1 are the defaults of the server (KIP-464).
    struct CreatableTopic {
        name: Text;
        num_partitions: i32;
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }

    /// Where one partition is to live.
    struct CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }

    /// One configuration entry.
    struct CreatableTopicConfig {
        name: Text;
        value: Option<Text>;
    }

    /// What became of each topic.
    struct CreateTopicsResponse [answers CreateTopicsRequest] {
        throttle_time_ms: i32;
        topics: Vec<CreatableTopicResult>;
    }

    /// The topic made, or why it was not.
    struct CreatableTopicResult {
        name: Text;
        topic_id: Uuid, in 7..;
        error_code: i16;
        error_message: Option<Text>;
        num_partitions: i32 = -1, in 5..;
        replication_factor: i16 = -1, in 5..;
        configs: Option<Vec<CreatableTopicConfigs>>, in 5..;
        topic_config_error_code: i16, in 5.., tag 0;
    }

    /// One configuration entry of the topic made.
    struct CreatableTopicConfigs {
        name: Text;
        value: Option<Text>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
    }
}
