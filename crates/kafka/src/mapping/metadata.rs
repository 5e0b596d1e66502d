//! Metadata: topics, their partitions and who leads them.

use super::error::code;
use super::{Context, Step, ask, is_kafka_name};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::codec::primitive::Uuid;
use broker::request::{PartitionInfo, TopicInfo, TopicRef, TopicsQuery};
use broker::{BrokerError, Reply, Request};
use model::TopicId;

pub(super) fn handle(context: &Context, version: i16, request: MetadataRequest) -> Step {
    // Version 0 has no null: there, no topics means all.
    let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics: Option<Vec<TopicRef>> = asked.map(|topics| {
        let topic = |topic: crate::codec::metadata::MetadataRequestTopic| match topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(TopicId(topic.topic_id.0)),
        };
        topics.into_iter().map(topic).collect()
    });
    let (context, names) = (context.clone(), topics.clone());
    let create_missing = request.allow_auto_topic_creation;
    // A name that Kafka cannot spell is not looked for, let alone made.
    let query = topics.map(|topics| topics.into_iter().filter(is_legal).collect());
    ask(Request::Topics(TopicsQuery { topics: query, create_missing }), move |reply| {
        let Reply::Topics(found) = reply else { return ResponseBody::Metadata(MetadataResponse::default()) };
        let topics = match names {
            None => found.into_iter().flatten().filter(|info| is_kafka_name(&info.name)).map(described).collect(),
            Some(names) => answers(names, found),
        };
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
