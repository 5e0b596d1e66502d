//! Replacing the whole configuration of a resource (KIP-133; superseded by KIP-339).

use super::message::messages;
use super::text::Text;

messages! {
    /// Configurations to put in place, or to check.
    struct AlterConfigsRequest [api 33, versions 0..=2, flexible 2, response AlterConfigsResponse] {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// The new configuration of one resource.
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: Text;
        configs: Vec<AlterableConfig>;
    }

    /// One configuration entry.
    struct AlterableConfig {
        name: Text;
        value: Option<Text>;
    }

    /// What was changed.
    struct AlterConfigsResponse [answers AlterConfigsRequest] {
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
