//! The broker that coordinates a group or a transactional id (batched since version 4, KIP-699).

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks for coordinators. Key type 0 is a group, 1 a transactional id.
    struct FindCoordinatorRequest
        [api 10, versions 0..=6, flexible 3, response FindCoordinatorResponse]
    {
        key: Text, in ..=3;
        key_type: i8, in 1..;
        coordinator_keys: Vec<Text>, in 4..;
    }

    /// The coordinator, or one per key since version 4.
    struct FindCoordinatorResponse [answers FindCoordinatorRequest] {
        throttle_time_ms: i32, in 1..;
        error_code: i16, in ..=3;
        error_message: Option<Text>, in 1..=3;
        node_id: i32, in ..=3;
        host: Text, in ..=3;
        port: i32, in ..=3;
        coordinators: Vec<Coordinator>, in 4..;
    }

    /// The coordinator of one key.
    struct Coordinator {
        key: Text;
        node_id: i32;
        host: Text;
        port: i32;
        error_code: i16;
        error_message: Option<Text>;
    }
}
