//! CreateTopics and DeleteTopics.

use super::error::code;
use super::{Context, Step, Then, ask, is_kafka_name};
use crate::codec::body::ResponseBody;
use crate::codec::create_topics::{CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use crate::codec::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::codec::error_code::ErrorCode;
use crate::codec::primitive::Uuid;
use broker::request::{CreateTopic, TopicInfo, TopicRef, TopicsQuery};
use broker::setting::Change;
use broker::{BrokerError, Reply, Request, Settings};
use model::TopicId;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn create(context: &Context, request: CreateTopicsRequest) -> Step {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> = request
        .topics
        .iter()
        .filter(|topic| !seen.insert(topic.name.to_string()))
        .map(|t| t.name.to_string())
        .collect();
    let mut wanted = Vec::new();
    let mut results = Vec::new();
    let mut answered = BTreeSet::new();
    // One that is named twice is answered once.
    for topic in request.topics.iter().filter(|topic| answered.insert(topic.name.as_str())) {
        let checked = if twice.contains(topic.name.as_str()) {
            Err(Refused::Twice)
        } else {
            convert(context, topic, request.validate_only)
        };
        let configs = Some(Vec::new());
        let mut result = CreatableTopicResult { name: topic.name.clone(), configs, ..CreatableTopicResult::default() };
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

/// Whether each partition is placed once, on nodes that there are.
fn check_placement(context: &Context, topic: &CreatableTopic) -> Result<(), BrokerError> {
    let numbers: BTreeSet<i32> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    let count = topic.assignments.len();
    if numbers.len() != count || numbers.first() != Some(&0) || numbers.last() != Some(&(count as i32 - 1)) {
        return Err(BrokerError::InvalidPlacement("partitions are not numbered from 0 one by one"));
    }
    let here = [context.node.0 as i32];
    if topic.assignments.iter().any(|assignment| assignment.broker_ids != here) {
        return Err(BrokerError::InvalidPlacement("a partition has one replica, on this node"));
    }
    Ok(())
}

enum Refused {
    Twice,
    Both,
    By(BrokerError),
}

impl Refused {
    fn answer(self) -> (i16, Option<crate::codec::text::Text>) {
        match self {
            Refused::Twice => (super::error::invalid_request(), Some("the topic is named twice".into())),
            Refused::Both => {
                let message = "a topic that says where its partitions shall be does not say how many";
                (super::error::invalid_request(), Some(message.into()))
            }
            Refused::By(error) => (code(&error), Some(error.to_string().into())),
        }
    }
}

fn convert(context: &Context, topic: &CreatableTopic, validate_only: bool) -> Result<CreateTopic, Refused> {
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
        if partitions.is_some() || replicas.is_some() {
            return Err(Refused::Both);
        }
        // Placement is the cluster's; how many partitions is the client's.
        check_placement(context, topic).map_err(Refused::By)?;
        partitions = Some(topic.assignments.len() as u32);
        replicas = Some(1);
    }
    let mut settings = Settings::default();
    for setting in &topic.configs {
        let value = setting.value.as_ref().map(|value| Change::Set(value.to_string()));
        let no_value = || BrokerError::InvalidConfig(format!("{} has no value", setting.name));
        let changed =
            value.ok_or_else(no_value).and_then(|change| settings.change(&setting.name, &change, &Settings::default()));
        if let Err(error) = changed {
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
    // One that is named twice is answered once, and not removed.
    let mut seen: Vec<(TopicRef, bool)> = Vec::new();
    let mut places = BTreeMap::new();
    for topic in topics {
        let place = *places.entry(topic.clone()).or_insert(seen.len());
        match seen.get_mut(place) {
            Some((_, twice)) => *twice = true,
            None => seen.push((topic, false)),
        }
    }
    let names = seen.iter().map(|(topic, _)| topic.clone()).collect();
    let query = TopicsQuery { topics: Some(names), create_missing: false };
    // What is gone afterwards has to be looked up before.
    let then: Then = Box::new(move |reply| {
        let found = if let Reply::Topics(found) = reply { found } else { Vec::new() };
        let known: Vec<Option<TopicInfo>> = found.into_iter().map(Result::ok).collect();
        let wanted = seen.iter().filter(|(_, twice)| !twice).map(|(topic, _)| topic.clone()).collect();
        ask(Request::DeleteTopics(wanted), move |reply| deleted(seen, known, reply))
    });
    Step::Ask(Request::Topics(query), then)
}

fn deleted(asked: Vec<(TopicRef, bool)>, known: Vec<Option<TopicInfo>>, reply: Reply) -> ResponseBody {
    let deleted = if let Reply::TopicsDeleted(deleted) = reply { deleted } else { Vec::new() };
    let (mut deleted, mut known) = (deleted.into_iter(), known.into_iter());
    let answer = |(topic, twice): (TopicRef, bool)| {
        let info = known.next().flatten();
        let by_id = matches!(topic, TopicRef::Id(_));
        let (name, topic_id) = match (info, topic) {
            (Some(info), _) => (Some(info.name.into()), Uuid(info.id.0)),
            (None, TopicRef::Name(name)) => (Some(name.into()), Uuid::default()),
            (None, TopicRef::Id(id)) => (None, Uuid(id.0)),
        };
        let (error_code, error_message) = if twice {
            Refused::Twice.answer()
        } else {
            match deleted.next().unwrap_or(Err(BrokerError::Unavailable)) {
                Ok(()) => (0, None),
                Err(BrokerError::UnknownTopic) if by_id => {
                    (ErrorCode::UnknownTopicId.code(), Some("there is no topic of this id".into()))
                }
                Err(error) => Refused::By(error).answer(),
            }
        };
        DeletableTopicResult { name, topic_id, error_code, error_message }
    };
    let responses = asked.into_iter().map(answer).collect();
    ResponseBody::DeleteTopics(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
}
