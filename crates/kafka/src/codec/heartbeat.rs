//! A member of a classic consumer group is alive.

use super::message::messages;
use super::text::Text;

messages! {
    /// Sent between polls by every member.
    struct HeartbeatRequest [api 12, versions 0..=4, flexible 4, response HeartbeatResponse] {
        group_id: Text;
        generation_id: i32;
        member_id: Text;
        group_instance_id: Option<Text>, in 3..;
    }

    /// Whether the member is still one.
    struct HeartbeatResponse [answers HeartbeatRequest] {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
    }
}
