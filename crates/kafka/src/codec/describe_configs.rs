//! Reading the configuration of topics and brokers (KIP-133, KIP-226, KIP-569).

use super::message::messages;
use super::text::Text;

messages! {
    /// Resources to describe.
    struct DescribeConfigsRequest
        [api 32, versions 1..=4, flexible 4, response DescribeConfigsResponse]
    {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool;
        include_documentation: bool, in 3..;
    }

    /// A resource: type 2 is a topic, 4 a broker. Null keys are all keys.
    struct DescribeConfigsResource {
        resource_type: i8;
        resource_name: Text;
        configuration_keys: Option<Vec<Text>>;
    }

    /// The resources described.
    struct DescribeConfigsResponse [answers DescribeConfigsRequest] {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    /// One resource described.
    struct DescribeConfigsResult {
        error_code: i16;
        error_message: Option<Text>;
        resource_type: i8;
        resource_name: Text;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// One configuration entry, where it comes from, and of what type it is.
    struct DescribeConfigsResourceResult {
        name: Text;
        value: Option<Text>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>;
        config_type: i8, in 3..;
        documentation: Option<Text>, in 3..;
    }

    /// An entry that this one would fall back to.
    struct DescribeConfigsSynonym {
        name: Text;
        value: Option<Text>;
        source: i8;
    }
}
