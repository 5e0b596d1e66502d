//! How far a group has read (several groups at once since version 8, KIP-709).

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Asks for stored offsets. Null topics are all topics.
    struct OffsetFetchRequest [api 9, versions 1..=10, flexible 6, response OffsetFetchResponse] {
        group_id: Text, in ..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>>, in ..=7, null 2..;
        groups: Vec<OffsetFetchRequestGroup>, in 8..;
        require_stable: bool, in 7..;
    }

    /// The partitions of one topic asked about, up to version 7.
    struct OffsetFetchRequestTopic {
        name: Text;
        partition_indexes: Vec<i32>;
    }

    /// A group asked about, since version 8.
    struct OffsetFetchRequestGroup {
        group_id: Text;
        member_id: Option<Text>, in 9..;
        member_epoch: i32 = -1, in 9..;
        topics: Option<Vec<OffsetFetchRequestTopics>>;
    }

    /// The partitions of one topic asked about, since version 8.
    struct OffsetFetchRequestTopics {
        name: Text, in ..=9;
        topic_id: Uuid, in 10..;
        partition_indexes: Vec<i32>;
    }

    /// The stored offsets.
    struct OffsetFetchResponse [answers OffsetFetchRequest] {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetFetchResponseTopic>, in ..=7;
        error_code: i16, in 2..=7;
        groups: Vec<OffsetFetchResponseGroup>, in 8..;
    }

    /// Stored offsets in one topic, up to version 7.
    struct OffsetFetchResponseTopic {
        name: Text;
        partitions: Vec<OffsetFetchResponsePartition>;
    }

    /// The stored offset of one partition, up to version 7; -1 where there is none.
    struct OffsetFetchResponsePartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, in 5..;
        metadata: Option<Text>;
        error_code: i16;
    }

    /// The stored offsets of one group, since version 8.
    struct OffsetFetchResponseGroup {
        group_id: Text;
        topics: Vec<OffsetFetchResponseTopics>;
        error_code: i16;
    }

    /// Stored offsets in one topic, since version 8.
    struct OffsetFetchResponseTopics {
        name: Text, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetFetchResponsePartitions>;
    }

    /// The stored offset of one partition, since version 8; -1 where there is none.
    struct OffsetFetchResponsePartitions {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1;
        metadata: Option<Text>;
        error_code: i16;
    }
}
