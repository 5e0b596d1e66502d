//! Deleting groups that have no members (KIP-229).

use super::message::messages;
use super::text::Text;

messages! {
    /// Groups to delete.
    struct DeleteGroupsRequest [api 42, versions 0..=2, flexible 2, response DeleteGroupsResponse] {
        groups_names: Vec<Text>;
    }

    /// What became of each group.
    struct DeleteGroupsResponse [answers DeleteGroupsRequest] {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }

    /// Whether one group was deleted.
    struct DeletableGroupResult {
        group_id: Text;
        error_code: i16;
    }
}
