//! The groups a broker coordinates (KIP-518, KIP-848).

use super::message::messages;
use super::text::Text;

messages! {
    /// Which groups to list. Empty filters pass everything.
    struct ListGroupsRequest [api 16, versions 0..=5, flexible 3, response ListGroupsResponse] {
        states_filter: Vec<Text>, in 4..;
        types_filter: Vec<Text>, in 5..;
    }

    /// The groups listed.
    struct ListGroupsResponse [answers ListGroupsRequest] {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        groups: Vec<ListedGroup>;
    }

    /// One group.
    struct ListedGroup {
        group_id: Text;
        protocol_type: Text;
        group_state: Text, in 4..;
        group_type: Text, in 5..;
    }
}
