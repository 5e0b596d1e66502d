//! The brokers and the id of the cluster (KIP-700).

use super::message::messages;
use super::text::Text;

messages! {
    /// Asks about the cluster. Endpoint type 1 is brokers, 2 controllers.
    struct DescribeClusterRequest
        [api 60, versions 0..=2, flexible 0, response DescribeClusterResponse]
    {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8 = 1, in 1..;
        include_fenced_brokers: bool, in 2..;
    }

    /// The cluster.
    struct DescribeClusterResponse [answers DescribeClusterRequest] {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<Text>;
        endpoint_type: i8 = 1, in 1..;
        cluster_id: Text;
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// A broker and where clients reach it.
    struct DescribeClusterBroker {
        broker_id: i32;
        host: Text;
        port: i32;
        rack: Option<Text>;
        is_fenced: bool, in 2..;
    }
}
