//! CreatePartitions.

use super::error::code;
use super::{Context, Step, ask, is_kafka_name};
use crate::codec::body::ResponseBody;
use crate::codec::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use crate::codec::error_code::ErrorCode;
use broker::request::{AddPartitions, TopicRef};
use broker::{BrokerError, Reply, Request};
use std::collections::BTreeSet;

pub(super) fn handle(context: &Context, request: CreatePartitionsRequest) -> Step {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> =
        request.topics.iter().map(|topic| topic.name.to_string()).filter(|name| !seen.insert(name.clone())).collect();
    let mut wanted = Vec::new();
    let mut results = Vec::new();
    for topic in request.topics {
        let refused = match check(context, &topic, twice.contains(topic.name.as_str())) {
            Ok(total) => {
                let name = TopicRef::Name(topic.name.to_string());
                let placed = topic.assignments.as_ref().map(Vec::len);
                wanted.push(AddPartitions { topic: name, total, placed, validate_only: request.validate_only });
                None
            }
            Err(refused) => Some(refused),
        };
        results.push((topic.name, refused));
    }
    ask(Request::AddPartitions(wanted), move |reply| {
        let outcomes = if let Reply::PartitionsAdded(outcomes) = reply { outcomes } else { Vec::new() };
        let mut outcomes = outcomes.into_iter();
        let result = |(name, refused): (_, Option<(ErrorCode, &str)>)| {
            let (error_code, error_message) = match refused {
                Some((error, message)) => (error.code(), Some(message.into())),
                None => match outcomes.next().unwrap_or(Err(BrokerError::Unavailable)) {
                    Ok(()) => (0, None),
                    Err(BrokerError::UnknownTopic) => (ErrorCode::UnknownTopicOrPartition.code(), None),
                    Err(error) => (code(&error), Some(error.to_string().into())),
                },
            };
            CreatePartitionsTopicResult { name, error_code, error_message }
        };
        let results = results.into_iter().map(result).collect();
        ResponseBody::CreatePartitions(CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() })
    })
}

/// How many partitions a topic shall have.
fn check(context: &Context, topic: &CreatePartitionsTopic, twice: bool) -> Result<u32, (ErrorCode, &'static str)> {
    if twice {
        return Err((ErrorCode::InvalidRequest, "the topic is named twice"));
    }
    if !is_kafka_name(&topic.name) {
        return Err((ErrorCode::UnknownTopicOrPartition, "there is no such topic"));
    }
    // Placement is the cluster's; the client says of how many replicas, and there is one of each.
    let here = [context.node.0 as i32];
    if topic.assignments.iter().flatten().any(|assignment| assignment.broker_ids != here) {
        return Err((ErrorCode::InvalidReplicaAssignment, "a partition has one replica, on this node"));
    }
    u32::try_from(topic.count).map_err(|_| (ErrorCode::InvalidPartitions, "not a number of partitions"))
}
