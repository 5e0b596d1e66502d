//! Handing out, and receiving, the assignments of a classic consumer group.

use super::message::messages;
use super::text::Text;
use bytes::Bytes;

messages! {
    /// Sent by every member; the assignments by the leader only.
    struct SyncGroupRequest [api 14, versions 0..=5, flexible 4, response SyncGroupResponse] {
        group_id: Text;
        generation_id: i32;
        member_id: Text;
        group_instance_id: Option<Text>, in 3..;
        protocol_type: Option<Text>, in 5..;
        protocol_name: Option<Text>, in 5..;
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// What one member is to work on.
    struct SyncGroupRequestAssignment {
        member_id: Text;
        assignment: Bytes;
    }

    /// What the member is to work on.
    struct SyncGroupResponse [answers SyncGroupRequest] {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        protocol_type: Option<Text>, in 5..;
        protocol_name: Option<Text>, in 5..;
        assignment: Bytes;
    }
}
