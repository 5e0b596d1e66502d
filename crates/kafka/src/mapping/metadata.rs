//! Metadata: topics, their partitions and who leads them.

use super::cluster::operations;
use super::error::code;
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

/// Partitions of one page of DescribeTopicPartitions: Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

pub(super) fn handle(context: &Context, version: i16, request: MetadataRequest) -> Step {
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
        let mut topics: Vec<MetadataResponseTopic> = match names {
            None => found.into_iter().flatten().filter(|info| is_kafka_name(&info.name)).map(described).collect(),
            Some(names) => answers(names, found),
        };
        for topic in topics.iter_mut().filter(|topic| of_topics && topic.error_code == 0) {
            topic.topic_authorized_operations = operations::TOPIC;
        }
        ResponseBody::Metadata(MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: context.node.0 as i32,
                host: context.host.as_str().into(),
                port: i32::from(context.port),
                rack: None,
            }],
            cluster_id: Some(cluster_id(context.cluster).into()),
            controller_id: context.node.0 as i32,
            topics,
            cluster_authorized_operations: if of_cluster { operations::CLUSTER } else { operations::NOT_ASKED },
            ..MetadataResponse::default()
        })
    })
}

fn is_legal(topic: &TopicRef) -> bool {
    match topic {
        TopicRef::Name(name) => is_kafka_name(name),
        TopicRef::Id(_) => true,
    }
}

/// One answer for each topic asked for, in that order.
fn answers(names: Vec<TopicRef>, found: Vec<Result<TopicInfo, BrokerError>>) -> Vec<MetadataResponseTopic> {
    let mut found = found.into_iter();
    let answer = |topic: TopicRef| {
        let error_code = if is_legal(&topic) {
            match found.next() {
                Some(Ok(info)) => return described(info),
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

fn described(info: TopicInfo) -> MetadataResponseTopic {
    let partition = |(nth, partition): (usize, PartitionInfo)| {
        let nodes: Vec<i32> = partition.replicas.iter().map(|node| node.0 as i32).collect();
        MetadataResponsePartition {
            error_code: if partition.leader.is_some() { 0 } else { ErrorCode::LeaderNotAvailable.code() },
            partition_index: nth as i32,
            leader_id: partition.leader.map_or(-1, |node| node.0 as i32),
            leader_epoch: partition.epoch.0 as i32,
            replica_nodes: nodes.clone(),
            isr_nodes: nodes,
            offline_replicas: Vec::new(),
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
pub(super) fn partitions(request: DescribeTopicPartitionsRequest) -> Step {
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
        ResponseBody::DescribeTopicPartitions(page(topics, cursor, limit))
    })
}

/// The partitions of as many topics as there is room for, from the cursor on.
fn page(
    topics: Vec<(String, Result<TopicInfo, ErrorCode>)>,
    cursor: Option<(String, usize)>,
    limit: usize,
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
                answer.partitions = numbered.map(described_partition).collect();
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

fn described_partition((nth, partition): (usize, PartitionInfo)) -> DescribeTopicPartitionsResponsePartition {
    let nodes: Vec<i32> = partition.replicas.iter().map(|node| node.0 as i32).collect();
    DescribeTopicPartitionsResponsePartition {
        error_code: if partition.leader.is_some() { 0 } else { ErrorCode::LeaderNotAvailable.code() },
        partition_index: nth as i32,
        leader_id: partition.leader.map_or(-1, |node| node.0 as i32),
        leader_epoch: partition.epoch.0 as i32,
        replica_nodes: nodes.clone(),
        isr_nodes: nodes,
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
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

    #[test]
    fn a_cluster_id_is_url_base64() {
        assert_eq!(cluster_id(0), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(cluster_id(u128::MAX), "_____________________w");
        assert_eq!(cluster_id(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), "AAECAwQFBgcICQoLDA0ODw");
    }
}
