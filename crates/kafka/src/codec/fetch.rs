//! Reading record batches (sessions since version 7, KIP-227; topic ids since 13, KIP-516).

use super::message::messages;
use super::primitive::Uuid;
use super::records::Records;
use super::text::Text;

messages! {
    /// Reads from partitions. Waits up to `max_wait_ms` for `min_bytes`; session epoch -1 is a
    /// full fetch without a session, 0 asks for one.
    struct FetchRequest [api 1, versions 4..=18, flexible 12, response FetchResponse] {
        replica_id: i32 = -1, in ..=14;
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32 = i32::MAX;
        isolation_level: i8;
        session_id: i32, in 7..;
        session_epoch: i32 = -1, in 7..;
        topics: Vec<FetchTopic>;
        forgotten_topics_data: Vec<ForgottenTopic>, in 7..;
        rack_id: Text, in 11..;
        cluster_id: Option<Text>, in 12.., tag 0;
        replica_state: ReplicaState, in 15.., tag 1;
    }

    /// The partitions of one topic to read from.
    struct FetchTopic {
        topic: Text, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<FetchPartition>;
    }

    /// Where to read from, and how much at most in bytes.
    struct FetchPartition {
        partition: i32;
        current_leader_epoch: i32 = -1, in 9..;
        fetch_offset: i64;
        last_fetched_epoch: i32 = -1, in 12..;
        log_start_offset: i64 = -1, in 5..;
        partition_max_bytes: i32;
        replica_directory_id: Uuid, in 17.., tag 0;
        high_watermark: i64 = i64::MAX, in 18.., tag 1;
    }

    /// Partitions to remove from the fetch session.
    struct ForgottenTopic {
        topic: Text, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<i32>;
    }

    /// The follower that fetches; -1 for a consumer.
    struct ReplicaState {
        replica_id: i32 = -1;
        replica_epoch: i64 = -1;
    }

    /// What was read.
    struct FetchResponse [answers FetchRequest] {
        throttle_time_ms: i32;
        error_code: i16, in 7..;
        session_id: i32, in 7..;
        responses: Vec<FetchableTopicResponse>;
        node_endpoints: Vec<NodeEndpoint>, in 16.., tag 0;
    }

    /// What was read from one topic.
    struct FetchableTopicResponse {
        topic: Text, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<PartitionData>;
    }

    /// What was read from one partition. `records` is read by the crate `batch`.
    struct PartitionData {
        partition_index: i32;
        error_code: i16;
        high_watermark: i64;
        last_stable_offset: i64 = -1;
        log_start_offset: i64 = -1, in 5..;
        aborted_transactions: Option<Vec<AbortedTransaction>>;
        preferred_read_replica: i32 = -1, in 11..;
        records: Option<Records>;
        diverging_epoch: EpochEndOffset, in 12.., tag 0;
        current_leader: LeaderIdAndEpoch, in 12.., tag 1;
        snapshot_id: SnapshotId, in 12.., tag 2;
    }

    /// A transaction that was aborted: records of the producer from the offset on are to be
    /// ignored.
    struct AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }

    /// The largest epoch, and its end, at which the logs of leader and fetcher may still agree.
    struct EpochEndOffset {
        epoch: i32 = -1;
        end_offset: i64 = -1;
    }

    /// Who leads the partition, and since when. -1 where unknown.
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// A snapshot to fetch instead. Only of use between controllers.
    struct SnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }

    /// Where clients reach a broker.
    struct NodeEndpoint {
        node_id: i32;
        host: Text;
        port: i32;
        rack: Option<Text>;
    }
}
