//! Which APIs and versions a server speaks: the first request on most connections (KIP-35,
//! KIP-511, KIP-584).

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks what the server speaks. Clients send it before they know, in their newest version.
    struct ApiVersionsRequest [api 18, versions 0..=4, flexible 3, response ApiVersionsResponse] {
        client_software_name: Text, in 3..;
        client_software_version: Text, in 3..;
    }

    /// What the server speaks. Its header is always version 0, so that any client can read it.
    struct ApiVersionsResponse [answers ApiVersionsRequest] {
        error_code: i16;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32, in 1..;
        supported_features: Vec<SupportedFeatureKey>, in 3.., tag 0;
        finalized_features_epoch: i64 = -1, in 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, in 3.., tag 2;
        zk_migration_ready: bool, in 3.., tag 3;
    }

    /// The versions of one API.
    struct ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    /// A feature the server can run at some level.
    struct SupportedFeatureKey {
        name: Text;
        min_version: i16;
        max_version: i16;
    }

    /// A feature the cluster runs at some level.
    struct FinalizedFeatureKey {
        name: Text;
        max_version_level: i16;
        min_version_level: i16;
    }
}
