//! Metadata: topics, their partitions and who leads them.

use super::cluster::operations;
use super::error::code;
use super::nodes::{Node, Nodes, ids};
use super::{Context, Step, ask, is_kafka_name};
use crate::codec::body::ResponseBody;
use crate::codec::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use crate::codec::error_code::ErrorCode;
use crate::codec::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::codec::primitive::Uuid;
use broker::request::{PartitionInfo, TopicInfo, TopicRef, TopicsQuery};
use broker::{BrokerError, Reply, Request};
use model::TopicId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Partitions of one page of DescribeTopicPartitions: Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

/// The first version that tells a leader without a listener for the client from none.
const LISTENERS: i16 = 6;

pub(super) fn handle(context: &Arc<Context>, version: i16, request: MetadataRequest) -> Step {
    // Version 0 has no null: there, no topics means all.
    let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics: Option<Vec<TopicRef>> = asked.map(|topics| {
        let topic = |topic: crate::codec::metadata::MetadataRequestTopic| match topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(TopicId(topic.topic_id.0)),
        };
        // One that is named twice is answered once.
        let mut topics_once: Vec<TopicRef> = Vec::with_capacity(topics.len().min(64));
        let mut seen = BTreeSet::new();
        topics_once.extend(topics.into_iter().map(topic).filter(|topic| seen.insert(topic.clone())));
        topics_once
    });
    let (context, names) = (context.clone(), topics.clone());
    let create_missing = request.allow_auto_topic_creation;
    let of_topics = request.include_topic_authorized_operations;
    let of_cluster = request.include_cluster_authorized_operations;
    // A name that Kafka cannot spell is not looked for, let alone made.
    let query = topics.map(|topics| topics.into_iter().filter(is_legal).collect());
    ask(Request::Topics(TopicsQuery { topics: query, create_missing }), move |reply| {
        let Reply::Topics(found) = reply else { return ResponseBody::Metadata(MetadataResponse::default()) };
        let nodes = Nodes::of(&context);
        let mut topics: Vec<MetadataResponseTopic> = match names {
            None => {
                let known = found.into_iter().flatten().filter(|info| is_kafka_name(&info.name));
                known.map(|info| described(info, &nodes, version)).collect()
            }
            Some(names) => answers(names, found, &nodes, version),
        };
        for topic in topics.iter_mut().filter(|topic| of_topics && topic.error_code == 0) {
            topic.topic_authorized_operations = operations::TOPIC;
        }
        ResponseBody::Metadata(MetadataResponse {
            brokers: nodes.iter().map(broker).collect(),
            cluster_id: Some(cluster_id(context.cluster).into()),
            controller_id: nodes.controller(),
            topics,
            cluster_authorized_operations: if of_cluster { operations::CLUSTER } else { operations::NOT_ASKED },
            ..MetadataResponse::default()
        })
    })
}

fn broker(node: &Node) -> MetadataResponseBroker {
    let Node { id, host, port, rack } = node.clone();
    MetadataResponseBroker { node_id: id, host, port, rack }
}

fn is_legal(topic: &TopicRef) -> bool {
    match topic {
        TopicRef::Name(name) => is_kafka_name(name),
        TopicRef::Id(_) => true,
    }
}

/// One answer for each topic asked for, in that order.
fn answers(
    names: Vec<TopicRef>,
    found: Vec<Result<TopicInfo, BrokerError>>,
    nodes: &Nodes,
    version: i16,
) -> Vec<MetadataResponseTopic> {
    let mut found = found.into_iter();
    let answer = |topic: TopicRef| {
        let error_code = if is_legal(&topic) {
            match found.next() {
                Some(Ok(info)) => return described(info, nodes, version),
                Some(Err(BrokerError::UnknownTopic)) if matches!(topic, TopicRef::Id(_)) => {
                    ErrorCode::UnknownTopicId.code()
                }
                // The topic is being made: the client should ask again.
                Some(Err(BrokerError::Unknown | BrokerError::NotLeader(_))) | None => {
                    ErrorCode::LeaderNotAvailable.code()
                }
                Some(Err(error)) => code(&error),
            }
        } else {
            ErrorCode::InvalidTopicException.code()
        };
        let (name, topic_id) = match topic {
            TopicRef::Name(name) => (Some(name.into()), Uuid::default()),
            TopicRef::Id(id) => (None, Uuid(id.0)),
        };
        MetadataResponseTopic { error_code, name, topic_id, ..MetadataResponseTopic::default() }
    };
    names.into_iter().map(answer).collect()
}

/// The id of who leads a partition.
///
/// # Errors
/// Why there is none to tell.
fn leader(partition: &PartitionInfo, nodes: &Nodes) -> Result<i32, ErrorCode> {
    let leader = partition.leader.ok_or(ErrorCode::LeaderNotAvailable)?;
    nodes.get(leader).map(|node| node.id).ok_or(ErrorCode::ListenerNotFound)
}

fn described(info: TopicInfo, nodes: &Nodes, version: i16) -> MetadataResponseTopic {
    let partition = |(nth, partition): (usize, PartitionInfo)| {
        let (leader_id, error_code) = match leader(&partition, nodes) {
            Ok(leader) => (leader, 0),
            // Older clients know only one reason.
            Err(_) if version < LISTENERS => (-1, ErrorCode::LeaderNotAvailable.code()),
            Err(error) => (-1, error.code()),
        };
        MetadataResponsePartition {
            error_code,
            partition_index: nth as i32,
            leader_id,
            leader_epoch: partition.epoch.map_or(-1, |epoch| epoch.0 as i32),
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.in_sync),
            offline_replicas: ids(&partition.offline),
        }
    };
    MetadataResponseTopic {
        name: Some(info.name.into()),
        topic_id: Uuid(info.id.0),
        partitions: info.partitions.into_iter().enumerate().map(partition).collect(),
        ..MetadataResponseTopic::default()
    }
}

/// DescribeTopicPartitions: the same, by name and page by page (KIP-966).
pub(super) fn partitions(context: &Context, request: DescribeTopicPartitionsRequest) -> Step {
    let nodes = Nodes::of(context);
    let cursor = request.cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index.max(0) as usize));
    let all = request.topics.is_empty();
    // Ascending, so that a page begins where the one before ended.
    let asked: BTreeSet<String> = request.topics.into_iter().map(|topic| topic.name.to_string()).collect();
    let from = cursor.as_ref().map_or("", |(name, _)| name);
    let asked: Vec<String> = asked.into_iter().filter(|name| name.as_str() >= from).collect();
    let names = asked.iter().filter(|name| is_kafka_name(name)).map(|name| TopicRef::Name(name.clone())).collect();
    let query = TopicsQuery { topics: (!all).then_some(names), create_missing: false };
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX) as usize;
    ask(Request::Topics(query), move |reply| {
        let found = if let Reply::Topics(found) = reply { found } else { Vec::new() };
        let topics: Vec<(String, Result<TopicInfo, ErrorCode>)> = if all {
            let known = found.into_iter().flatten().filter(|info| is_kafka_name(&info.name));
            known.map(|info| (info.name.clone(), Ok(info))).collect()
        } else {
            let mut found = found.into_iter();
            let outcome = |name: String| {
                let outcome = match is_kafka_name(&name) {
                    true => found.next().and_then(Result::ok).ok_or(ErrorCode::UnknownTopicOrPartition),
                    false => Err(ErrorCode::InvalidTopicException),
                };
                (name, outcome)
            };
            asked.into_iter().map(outcome).collect()
        };
        ResponseBody::DescribeTopicPartitions(page(topics, cursor, limit, &nodes))
    })
}

/// The partitions of as many topics as there is room for, from the cursor on.
fn page(
    topics: Vec<(String, Result<TopicInfo, ErrorCode>)>,
    cursor: Option<(String, usize)>,
    limit: usize,
    nodes: &Nodes,
) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut room = limit;
    let from = |name: &str| cursor.as_ref().filter(|(topic, _)| topic == name).map_or(0, |(_, partition)| *partition);
    let first = cursor.as_ref().map_or(String::new(), |(topic, _)| topic.clone());
    for (name, outcome) in topics.into_iter().filter(|(name, _)| *name >= first) {
        if room == 0 {
            response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: 0 });
            break;
        }
        let mut answer = DescribeTopicPartitionsResponseTopic {
            name: Some(name.as_str().into()),
            topic_authorized_operations: operations::TOPIC,
            ..DescribeTopicPartitionsResponseTopic::default()
        };
        match outcome {
            Ok(info) => {
                answer.topic_id = Uuid(info.id.0);
                let (from, count) = (from(&name), info.partitions.len());
                let numbered = info.partitions.into_iter().enumerate().skip(from).take(room);
                answer.partitions = numbered.map(|numbered| described_partition(numbered, nodes)).collect();
                room -= answer.partitions.len();
                let next = from + answer.partitions.len();
                if next < count {
                    response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: next as i32 });
                }
            }
            Err(error) => answer.error_code = error.code(),
        }
        response.topics.push(answer);
        if response.next_cursor.is_some() {
            break;
        }
    }
    response
}

fn described_partition(
    (nth, partition): (usize, PartitionInfo),
    nodes: &Nodes,
) -> DescribeTopicPartitionsResponsePartition {
    let (leader_id, error_code) = match leader(&partition, nodes) {
        Ok(leader) => (leader, 0),
        Err(error) => (-1, error.code()),
    };
    DescribeTopicPartitionsResponsePartition {
        error_code,
        partition_index: nth as i32,
        leader_id,
        leader_epoch: partition.epoch.map_or(-1, |epoch| epoch.0 as i32),
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.in_sync),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: ids(&partition.offline),
    }
}

/// A cluster id as Kafka spells it: 16 bytes in base64 for URLs, without padding.
pub(super) fn cluster_id(id: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 22 digits of 6 bits: 128 bits and 4 zero bits at the end.
    (0..22)
        .map(|nth| {
            let bits = if nth < 21 { id >> (122 - 6 * nth) } else { id << 4 };
            char::from(DIGITS[(bits & 63) as usize])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, topic};
    use model::NodeId;

    fn metadata(context: &Arc<Context>, version: i16, info: TopicInfo) -> MetadataResponse {
        let Step::Ask(_, then) = handle(context, version, MetadataRequest::default()) else { panic!("not asked") };
        match then(Reply::Topics(vec![Ok(info)])) {
            Step::Reply(ResponseBody::Metadata(response)) => response,
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn every_node_is_told_with_its_place() {
        let response = metadata(&Arc::new(Fake::three().context()), 13, topic("a", 1));
        let told = |broker: &MetadataResponseBroker| (broker.node_id, broker.host.to_string(), broker.port);
        let places: Vec<_> = response.brokers.iter().map(told).collect();
        let node = |nth: i32| (nth, format!("node-{nth}"), 9090 + nth);
        assert_eq!(places, [node(1), node(2), node(3)]);
        assert_eq!(response.brokers[2].rack, Some("rack-3".into()));
        assert_eq!(response.controller_id, 1);
    }

    #[test]
    fn replicas_are_told_as_they_are() {
        let mut info = topic("a", 2);
        info.partitions[0].replicas = vec![NodeId(1), NodeId(2), NodeId(3)];
        info.partitions[0].in_sync = vec![NodeId(1), NodeId(3)];
        info.partitions[0].offline = vec![NodeId(2)];
        info.partitions[1].leader = None;
        let context = Arc::new(Fake::three().context());
        let response = metadata(&context, 13, info.clone());
        let [first, second] = &response.topics[0].partitions[..] else { panic!("not two partitions") };
        assert_eq!((first.leader_id, first.error_code), (1, 0));
        let replicas = (&first.replica_nodes[..], &first.isr_nodes[..], &first.offline_replicas[..]);
        assert_eq!(replicas, (&[1, 2, 3][..], &[1, 3][..], &[2][..]));
        assert_eq!((second.leader_id, second.error_code), (-1, ErrorCode::LeaderNotAvailable.code()));
        let (numbered, nodes) = ((0, info.partitions[0].clone()), Nodes::of(&context));
        let described = described_partition(numbered, &nodes);
        let again = (&described.replica_nodes[..], &described.isr_nodes[..], &described.offline_replicas[..]);
        assert_eq!(again, replicas);
    }

    #[test]
    fn a_leader_that_clients_cannot_reach_is_none() {
        let mut fake = Fake::three();
        fake.node(3).endpoints.clear();
        let context = Arc::new(fake.context());
        let mut info = topic("a", 1);
        info.partitions[0].leader = Some(NodeId(3));
        for (version, error) in [(5, ErrorCode::LeaderNotAvailable), (6, ErrorCode::ListenerNotFound)] {
            let response = metadata(&context, version, info.clone());
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.leader_id, partition.error_code), (-1, error.code()));
        }
    }

    #[test]
    fn a_cluster_id_is_url_base64() {
        assert_eq!(cluster_id(0), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(cluster_id(u128::MAX), "_____________________w");
        assert_eq!(cluster_id(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), "AAECAwQFBgcICQoLDA0ODw");
    }
}
