//! Electing leaders of partitions (KIP-183, KIP-460).

use super::message::messages;
use super::text::Text;

messages! {
    /// Which partitions are to get another leader; null is all of them. Type 0 is the preferred replica, and
    /// 1 is any, although it may lack what was acknowledged.
    struct ElectLeadersRequest [api 43, versions 0..=2, flexible 2, response ElectLeadersResponse] {
        election_type: i8, in 1..;
        topic_partitions: Option<Vec<TopicPartitions>>;
        timeout_ms: i32 = 60000;
    }

    /// The partitions of one topic.
    struct TopicPartitions {
        topic: Text;
        partitions: Vec<i32>;
    }

    /// What became of each.
    struct ElectLeadersResponse [answers ElectLeadersRequest] {
        throttle_time_ms: i32;
        error_code: i16, in 1..;
        replica_election_results: Vec<ReplicaElectionResult>;
    }

    /// What became of the partitions of one topic.
    struct ReplicaElectionResult {
        topic: Text;
        partition_result: Vec<PartitionResult>;
    }

    /// Whether one partition has another leader now.
    struct PartitionResult {
        partition_id: i32;
        error_code: i16;
        error_message: Option<Text>;
    }
}
