//! CreateTopics and DeleteTopics.

use super::error::code;
use super::{Step, Then, ask, is_kafka_name};
use crate::codec::body::ResponseBody;
use crate::codec::create_topics::{CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use crate::codec::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::codec::primitive::Uuid;
use broker::request::{CreateTopic, TopicRef};
use broker::setting::Change;
use broker::{BrokerError, Reply, Request, Settings};
use model::TopicId;
use std::collections::BTreeSet;

pub(super) fn create(request: CreateTopicsRequest) -> Step {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> = request
        .topics
        .iter()
        .filter(|topic| !seen.insert(topic.name.to_string()))
        .map(|t| t.name.to_string())
        .collect();
    let mut wanted = Vec::new();
    let mut results = Vec::new();
    for topic in &request.topics {
        let checked = if twice.contains(topic.name.as_str()) {
            Err(Refused::Twice)
        } else {
            convert(topic, request.validate_only)
        };
        let mut result = CreatableTopicResult { name: topic.name.clone(), ..CreatableTopicResult::default() };
        let refused = match checked {
            Ok(create) => {
                wanted.push(create);
                false
            }
            Err(refused) => {
                (result.error_code, result.error_message) = refused.answer();
                true
            }
        };
        results.push((result, refused));
    }
    let then: Then = Box::new(move |reply| {
        let defaults = if let Reply::Node(node) = reply { node.topic_defaults } else { Settings::default() };
        ask(Request::CreateTopics(wanted), move |reply| answer(results, reply, &defaults))
    });
    Step::Ask(Request::Node, then)
}

fn answer(results: Vec<(CreatableTopicResult, bool)>, reply: Reply, defaults: &Settings) -> ResponseBody {
    let created = if let Reply::TopicsCreated(created) = reply { created } else { Vec::new() };
    let mut created = created.into_iter();
    let answer = |(mut result, refused): (CreatableTopicResult, bool)| {
        if refused {
            return result;
        }
        match created.next() {
            Some(Ok(info)) => {
                result.topic_id = Uuid(info.id.0);
                result.num_partitions = info.partitions.len() as i32;
                result.replication_factor = info.partitions.first().map_or(1, |p| p.replicas.len() as i16);
                result.configs = Some(super::configs::created(&info, defaults));
            }
            Some(Err(error)) => (result.error_code, result.error_message) = Refused::By(error).answer(),
            None => (result.error_code, result.error_message) = Refused::By(BrokerError::Unavailable).answer(),
        }
        result
    };
    let topics = results.into_iter().map(answer).collect();
    ResponseBody::CreateTopics(CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
}

enum Refused {
    Twice,
    By(BrokerError),
}

impl Refused {
    fn answer(self) -> (i16, Option<crate::codec::text::Text>) {
        match self {
            Refused::Twice => (super::error::invalid_request(), Some("the topic is named twice".into())),
            Refused::By(error) => (code(&error), Some(error.to_string().into())),
        }
    }
}

fn convert(topic: &CreatableTopic, validate_only: bool) -> Result<CreateTopic, Refused> {
    let refuse = |error| Err(Refused::By(error));
    if !is_kafka_name(&topic.name) {
        return refuse(BrokerError::InvalidName(topic.name.to_string()));
    }
    let mut partitions = match topic.num_partitions {
        -1 => None,
        count => match u32::try_from(count) {
            Ok(count) => Some(count),
            Err(_) => return refuse(BrokerError::InvalidPartitions),
        },
    };
    let mut replicas = match topic.replication_factor {
        -1 => None,
        count => match u32::try_from(count) {
            Ok(count) => Some(count),
            Err(_) => return refuse(BrokerError::InvalidReplicas),
        },
    };
    if !topic.assignments.is_empty() {
        // Placement is the cluster's; how many partitions and replicas is the client's.
        partitions = Some(topic.assignments.len() as u32);
        replicas = topic.assignments.iter().map(|assignment| assignment.broker_ids.len() as u32).max();
    }
    let mut settings = Settings::default();
    for setting in &topic.configs {
        // No value is the default.
        let change = setting.value.as_ref().map_or(Change::Unset, |value| Change::Set(value.to_string()));
        if let Err(error) = settings.change(&setting.name, &change, &Settings::default()) {
            return refuse(error);
        }
    }
    Ok(CreateTopic { name: topic.name.to_string(), partitions, replicas, settings, validate_only })
}

pub(super) fn delete(version: i16, request: DeleteTopicsRequest) -> Step {
    let by_state = version >= 6;
    let topics: Vec<TopicRef> = if by_state {
        let topic = |state: crate::codec::delete_topics::DeleteTopicState| match state.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(TopicId(state.topic_id.0)),
        };
        request.topics.into_iter().map(topic).collect()
    } else {
        request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())).collect()
    };
    let asked = topics.clone();
    ask(Request::DeleteTopics(topics), move |reply| {
        let Reply::TopicsDeleted(deleted) = reply else {
            return ResponseBody::DeleteTopics(DeleteTopicsResponse::default());
        };
        let answer = |(topic, outcome): (TopicRef, Result<(), BrokerError>)| {
            let (name, topic_id) = match topic {
                TopicRef::Name(name) => (Some(name.into()), Uuid::default()),
                TopicRef::Id(id) => (None, Uuid(id.0)),
            };
            let by_id = name.is_none();
            let error_code = match outcome {
                Ok(()) => 0,
                Err(BrokerError::UnknownTopic) if by_id => crate::codec::error_code::ErrorCode::UnknownTopicId.code(),
                Err(error) => code(&error),
            };
            DeletableTopicResult { name, topic_id, error_code, error_message: None }
        };
        let responses = asked.into_iter().zip(deleted).map(answer).collect();
        ResponseBody::DeleteTopics(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
    })
}
