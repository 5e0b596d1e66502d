//! The state and the members of groups.

use super::message::messages;
use super::text::Text;
use bytes::Bytes;

messages! {
    /// Groups to describe.
    struct DescribeGroupsRequest
        [api 15, versions 0..=6, flexible 5, response DescribeGroupsResponse]
    {
        groups: Vec<Text>;
        include_authorized_operations: bool, in 3..;
    }

    /// The groups described.
    struct DescribeGroupsResponse [answers DescribeGroupsRequest] {
        throttle_time_ms: i32, in 1..;
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    struct DescribedGroup {
        error_code: i16;
        error_message: Option<Text>, in 6..;
        group_id: Text;
        group_state: Text;
        protocol_type: Text;
        protocol_data: Text;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 = i32::MIN, in 3..;
    }

    /// One member.
    struct DescribedGroupMember {
        member_id: Text;
        group_instance_id: Option<Text>, in 4..;
        client_id: Text;
        client_host: Text;
        member_metadata: Bytes;
        member_assignment: Bytes;
    }
}
