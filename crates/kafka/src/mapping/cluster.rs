//! What the cluster is and what lies where: DescribeCluster and DescribeLogDirs.

use super::metadata::cluster_id;
use super::nodes::{Node, Nodes};
use super::{Context, Step, Then, ask, is_kafka_name, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use crate::codec::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use crate::codec::error_code::ErrorCode;
use broker::request::{NodeInfo, PartitionSize, SizesQuery};
use broker::{Reply, Request};

/// The kinds of nodes a client can ask for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// What a client may do that nobody forbids anything, as bits by Kafka's numbers of operations.
pub(super) mod operations {
    /// With a topic: read, write, create, delete, alter, describe, describe and alter configs.
    pub(in crate::mapping) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
    /// With a group: read, delete, describe, describe and alter configs.
    pub(in crate::mapping) const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);
    /// With the cluster: create, alter, describe, act as a node, describe and alter configs, write
    /// idempotently.
    pub(in crate::mapping) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
    /// Nobody asked.
    pub(in crate::mapping) const NOT_ASKED: i32 = i32::MIN;

    const fn bits(numbers: &[i32]) -> i32 {
        let (mut bits, mut nth) = (0, 0);
        while nth < numbers.len() {
            bits |= 1 << numbers[nth];
            nth += 1;
        }
        bits
    }
}

pub(super) fn describe(context: &Context, request: &DescribeClusterRequest) -> Step {
    let mut response = DescribeClusterResponse {
        cluster_id: cluster_id(context.cluster).into(),
        ..DescribeClusterResponse::default()
    };
    let (error, message) = match request.endpoint_type {
        BROKERS => {
            let nodes = Nodes::of(context);
            response.controller_id = nodes.controller();
            response.brokers = nodes.iter().map(broker).collect();
            if request.include_cluster_authorized_operations {
                response.cluster_authorized_operations = operations::CLUSTER;
            }
            return Step::Reply(ResponseBody::DescribeCluster(response));
        }
        CONTROLLERS => (ErrorCode::MismatchedEndpointType, "this is a listener of brokers"),
        _ => (ErrorCode::UnsupportedEndpointType, "there are no such nodes"),
    };
    (response.error_code, response.error_message) = (error.code(), Some(message.into()));
    Step::Reply(ResponseBody::DescribeCluster(response))
}

fn broker(node: &Node) -> DescribeClusterBroker {
    let Node { id, host, port, rack } = node.clone();
    DescribeClusterBroker { broker_id: id, host, port, rack, ..DescribeClusterBroker::default() }
}

pub(super) fn log_dirs(request: DescribeLogDirsRequest) -> Step {
    let partitions = request.topics.map(|topics| {
        let of_topic = |topic: crate::codec::describe_log_dirs::DescribableLogDirTopic| {
            let name = topic_named(&topic.topic);
            topic.partitions.into_iter().map(|nth| partition_ref(&name, nth)).collect::<Vec<_>>()
        };
        topics.into_iter().flat_map(of_topic).collect()
    });
    let then: Then = Box::new(move |reply| {
        let Reply::Node(node) = reply else { return Step::Reply(unknown()) };
        ask(Request::Sizes(SizesQuery { partitions }), move |reply| match reply {
            Reply::Sizes(sizes) => folder(&node, sizes),
            _ => unknown(),
        })
    });
    Step::Ask(Request::Node, then)
}

fn unknown() -> ResponseBody {
    let error_code = ErrorCode::UnknownServerError.code();
    ResponseBody::DescribeLogDirs(DescribeLogDirsResponse { error_code, ..DescribeLogDirsResponse::default() })
}

fn folder(node: &NodeInfo, sizes: Vec<PartitionSize>) -> ResponseBody {
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for size in sizes.into_iter().filter(|size| is_kafka_name(&size.topic)) {
        let partition = DescribeLogDirsPartition {
            partition_index: size.partition as i32,
            partition_size: size.bytes as i64,
            ..DescribeLogDirsPartition::default()
        };
        match topics.last_mut() {
            Some(last) if last.name.as_str() == size.topic => last.partitions.push(partition),
            _ => topics.push(DescribeLogDirsTopic { name: size.topic.into(), partitions: vec![partition] }),
        }
    }
    let (total_bytes, usable_bytes) = node.disk.map_or((-1, -1), |(total, free)| (total as i64, free as i64));
    let log_dir = node.folder.display().to_string().into();
    let result = DescribeLogDirsResult { error_code: 0, log_dir, topics, total_bytes, usable_bytes };
    ResponseBody::DescribeLogDirs(DescribeLogDirsResponse {
        results: vec![result],
        ..DescribeLogDirsResponse::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn the_cluster_is_all_its_nodes() {
        let request = DescribeClusterRequest { endpoint_type: BROKERS, ..DescribeClusterRequest::default() };
        let described = |fake: Fake| match describe(&fake.context(), &request) {
            Step::Reply(ResponseBody::DescribeCluster(response)) => response,
            _ => panic!("another answer"),
        };
        let response = described(Fake::three());
        let told = |broker: &DescribeClusterBroker| (broker.broker_id, broker.host.to_string(), broker.rack.clone());
        let node = |nth: i32| (nth, format!("node-{nth}"), Some(format!("rack-{nth}").into()));
        assert_eq!(response.brokers.iter().map(told).collect::<Vec<_>>(), [node(1), node(2), node(3)]);
        assert_eq!(response.controller_id, 1);
        let alone = described(Fake::alone());
        assert_eq!((alone.brokers.len(), alone.brokers[0].host.as_str(), alone.controller_id), (1, "reached", 1));
    }
}
