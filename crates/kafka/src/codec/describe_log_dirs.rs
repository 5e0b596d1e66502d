//! Sizes of partitions on disk (KIP-113, KIP-827).

use super::message::messages;
use super::text::Text;

messages! {
    /// Partitions to measure. Null topics are all topics.
    struct DescribeLogDirsRequest
        [api 35, versions 1..=4, flexible 2, response DescribeLogDirsResponse]
    {
        topics: Option<Vec<DescribableLogDirTopic>>;
    }

    /// The partitions of one topic.
    struct DescribableLogDirTopic {
        topic: Text;
        partitions: Vec<i32>;
    }

    /// The directories and what is in them. Sizes in bytes, -1 where unknown.
    struct DescribeLogDirsResponse [answers DescribeLogDirsRequest] {
        throttle_time_ms: i32;
        error_code: i16, in 3..;
        results: Vec<DescribeLogDirsResult>;
    }

    /// One directory.
    struct DescribeLogDirsResult {
        error_code: i16;
        log_dir: Text;
        topics: Vec<DescribeLogDirsTopic>;
        total_bytes: i64 = -1, in 4..;
        usable_bytes: i64 = -1, in 4..;
    }

    /// The partitions of one topic in the directory.
    struct DescribeLogDirsTopic {
        name: Text;
        partitions: Vec<DescribeLogDirsPartition>;
    }

    /// The size of one partition.
    struct DescribeLogDirsPartition {
        partition_index: i32;
        partition_size: i64;
        offset_lag: i64;
        is_future_key: bool;
    }
}
