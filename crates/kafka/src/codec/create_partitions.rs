//! Growing topics (KIP-195).

use super::message::messages;
use super::text::Text;

messages! {
    /// Topics to grow, or to check whether they could be.
    struct CreatePartitionsRequest
        [api 37, versions 0..=3, flexible 2, response CreatePartitionsResponse]
    {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }

    /// A topic and the number of partitions it is to have altogether.
    struct CreatePartitionsTopic {
        name: Text;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>>;
    }

    /// Where one new partition is to live.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }

    /// What became of each topic.
    struct CreatePartitionsResponse [answers CreatePartitionsRequest] {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// Whether one topic was grown.
    struct CreatePartitionsTopicResult {
        name: Text;
        error_code: i16;
        error_message: Option<Text>;
    }
}
