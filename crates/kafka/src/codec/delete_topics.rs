//! Deleting topics, by name or, since version 6, by id (KIP-4, KIP-516).

use super::message::messages;
use super::primitive::Uuid;
use super::text::Text;

messages! {
    /// Topics to delete.
    struct DeleteTopicsRequest [api 20, versions 1..=6, flexible 4, response DeleteTopicsResponse] {
        topics: Vec<DeleteTopicState>, in 6..;
        topic_names: Vec<Text>, in ..=5;
        timeout_ms: i32;
    }

    /// A topic by name or by id.
    struct DeleteTopicState {
        name: Option<Text>;
        topic_id: Uuid;
    }

    /// What became of each topic.
    struct DeleteTopicsResponse [answers DeleteTopicsRequest] {
        throttle_time_ms: i32;
        responses: Vec<DeletableTopicResult>;
    }

    /// Whether one topic was deleted.
    struct DeletableTopicResult {
        name: Option<Text>, null 6..;
        topic_id: Uuid, in 6..;
        error_code: i16;
        error_message: Option<Text>, in 5..;
    }
}
