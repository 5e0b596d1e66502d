//! Entering a rebalance of a classic consumer group (KIP-62, KIP-345, KIP-394).

use super::message::messages;
use super::text::Text;
use bytes::Bytes;

messages! {
    /// Joins, with an empty `member_id` at first. Times in milliseconds.
    struct JoinGroupRequest [api 11, versions 0..=9, flexible 6, response JoinGroupResponse] {
        group_id: Text;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32 = -1, in 1..;
        member_id: Text;
        group_instance_id: Option<Text>, in 5..;
        protocol_type: Text;
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<Text>, in 8..;
    }

    /// An assignor the member supports, and what it has to tell it.
    struct JoinGroupRequestProtocol {
        name: Text;
        metadata: Bytes;
    }

    /// The generation joined. Only the leader is told the members.
    struct JoinGroupResponse [answers JoinGroupRequest] {
        throttle_time_ms: i32, in 2..;
        error_code: i16;
        generation_id: i32 = -1;
        protocol_type: Option<Text>, in 7..;
        protocol_name: Option<Text>, null 7..;
        leader: Text;
        skip_assignment: bool, in 9..;
        member_id: Text;
        members: Vec<JoinGroupResponseMember>;
    }

    /// A member and what it told the assignor.
    struct JoinGroupResponseMember {
        member_id: Text;
        group_instance_id: Option<Text>, in 5..;
        metadata: Bytes;
    }
}
