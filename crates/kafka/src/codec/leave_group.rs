//! Members leave a classic consumer group (several at once since version 3, KIP-345).

use super::message::messages;
use super::text::Text;

messages! {
    /// Who leaves.
    struct LeaveGroupRequest [api 13, versions 0..=5, flexible 4, response LeaveGroupResponse] {
        group_id: Text;
        member_id: Text, in ..=2;
        members: Vec<MemberIdentity>, in 3..;
    }

    /// A member that leaves.
    struct MemberIdentity {
        member_id: Text;
        group_instance_id: Option<Text>;
        reason: Option<Text>, in 5..;
    }

    /// Who left.
    struct LeaveGroupResponse [answers LeaveGroupRequest] {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        members: Vec<MemberResponse>, in 3..;
    }

    /// Whether one member left.
    struct MemberResponse {
        member_id: Text;
        group_instance_id: Option<Text>;
        error_code: i16;
    }
}
