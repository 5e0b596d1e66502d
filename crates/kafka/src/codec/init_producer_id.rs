//! A producer id for idempotence or transactions (KIP-98, KIP-360).

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks for a producer id, or to raise the epoch of one.
    struct InitProducerIdRequest
        [api 22, versions 0..=5, flexible 2, response InitProducerIdResponse]
    {
        transactional_id: Option<Text>;
        transaction_timeout_ms: i32;
        producer_id: i64 = -1, in 3..;
        producer_epoch: i16 = -1, in 3..;
    }

    /// The producer id and its epoch.
    struct InitProducerIdResponse [answers InitProducerIdRequest] {
        throttle_time_ms: i32;
        error_code: i16;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}
