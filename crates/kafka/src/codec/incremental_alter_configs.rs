//! Changing single configuration keys (KIP-339).

use super::message::messages;
use super::text::Text;

messages! {
    /// Changes to make, or to check.
    struct IncrementalAlterConfigsRequest
        [api 44, versions 0..=1, flexible 1, response IncrementalAlterConfigsResponse]
    {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// The changes to one resource.
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: Text;
        configs: Vec<AlterableConfig>;
    }

    /// One change: operation 0 sets, 1 deletes, 2 appends, 3 subtracts.
    struct AlterableConfig {
        name: Text;
        config_operation: i8;
        value: Option<Text>;
    }

    /// What was changed.
    struct IncrementalAlterConfigsResponse [answers IncrementalAlterConfigsRequest] {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// Whether one resource was changed.
    struct AlterConfigsResourceResponse {
        error_code: i16;
        error_message: Option<Text>;
        resource_type: i8;
        resource_name: Text;
    }
}
