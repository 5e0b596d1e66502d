//! Appending record batches (KIP-98; topic ids since version 13, KIP-516; new leader hints since
//! 10, KIP-951).

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;
use bytes::Bytes;

messages! {
    /// Record batches to append. `acks` is 0, 1 or -1 for all; times in milliseconds. With `acks`
    /// 0 there is no response.
    struct ProduceRequest [api 0, versions 3..=13, flexible 9, response ProduceResponse] {
        transactional_id: Option<Text>;
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }

    /// The batches for one topic.
    struct TopicProduceData {
        name: Text, in ..=12;
        topic_id: Uuid, in 13..;
        partition_data: Vec<PartitionProduceData>;
    }

    /// The batches for one partition. `records` is read by [`batch`](super::batch).
    struct PartitionProduceData {
        index: i32;
        records: Option<Bytes>;
    }

    /// What became of each partition, and where the leaders are that were not found here.
    struct ProduceResponse [answers ProduceRequest] {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32;
        node_endpoints: Vec<NodeEndpoint>, in 10.., tag 0;
    }

    /// The outcome for one topic.
    struct TopicProduceResponse {
        name: Text, in ..=12;
        topic_id: Uuid, in 13..;
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// The offset the batch got, or why it got none. `log_append_time_ms` is -1 unless the topic
    /// keeps append times.
    struct PartitionProduceResponse {
        index: i32;
        error_code: i16;
        base_offset: i64;
        log_append_time_ms: i64 = -1;
        log_start_offset: i64 = -1, in 5..;
        record_errors: Vec<BatchIndexAndErrorMessage>, in 8..;
        error_message: Option<Text>, in 8..;
        current_leader: LeaderIdAndEpoch, in 10.., tag 0;
    }

    /// A record that made its batch be refused.
    struct BatchIndexAndErrorMessage {
        batch_index: i32;
        batch_index_error_message: Option<Text>;
    }

    /// Who leads the partition, and since when. -1 where unknown.
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// Where clients reach a broker.
    struct NodeEndpoint {
        node_id: i32;
        host: Text;
        port: i32;
        rack: Option<Text>;
    }
}
