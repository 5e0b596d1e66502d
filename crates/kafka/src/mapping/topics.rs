//! CreateTopics and DeleteTopics.

use super::error::{controller_code, is_undone};
use super::nodes::Nodes;
use super::{Context, Step, Then, ask, is_kafka_name, placement};
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
    let nodes = Nodes::of(context);
    let is_placed = |topic: &CreatableTopic| !topic.assignments.is_empty();
    let by_hand = nodes.is_choice() && !request.validate_only && request.topics.iter().any(is_placed);
    let mut wanted = Vec::new();
    let mut results = Vec::new();
    let mut answered = BTreeSet::new();
    // One that is named twice is answered once.
    for topic in request.topics.iter().filter(|topic| answered.insert(topic.name.as_str())) {
        let checked = if twice.contains(topic.name.as_str()) {
            Err(Refused::Twice)
        } else {
            convert(&nodes, topic, request.validate_only)
        };
        let configs = Some(Vec::new());
        let mut result = CreatableTopicResult { name: topic.name.clone(), configs, ..CreatableTopicResult::default() };
        let refused = match checked {
            Ok(create) => {
                wanted.push(create);
                false
            }
            Err(refused) => {
                (result.error_code, result.error_message) = refused.answer(false);
                true
            }
        };
        results.push((result, refused));
    }
    let then: Then = Box::new(move |reply| {
        let defaults = if let Reply::Node(node) = reply { node.topic_defaults } else { Settings::default() };
        ask(Request::CreateTopics(wanted), move |reply| {
            if by_hand && matches!(&reply, Reply::TopicsCreated(made) if made.iter().any(Result::is_ok)) {
                placement::say_not_followed();
            }
            answer(results, reply, &defaults)
        })
    });
    Step::Ask(Request::Node, then)
}

fn answer(results: Vec<(CreatableTopicResult, bool)>, reply: Reply, defaults: &Settings) -> ResponseBody {
    let created = if let Reply::TopicsCreated(created) = reply { created } else { Vec::new() };
    let undone = is_undone(&created);
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
            Some(Err(error)) => (result.error_code, result.error_message) = Refused::By(error).answer(undone),
            None => (result.error_code, result.error_message) = Refused::By(BrokerError::Unavailable).answer(undone),
        }
        result
    };
    let topics = results.into_iter().map(answer).collect();
    ResponseBody::CreateTopics(CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
}

/// On how many nodes each partition is placed: once, on nodes that there are.
fn placed(nodes: &Nodes, topic: &CreatableTopic) -> Result<Option<u32>, BrokerError> {
    let numbers: BTreeSet<i32> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    let count = topic.assignments.len();
    if numbers.len() != count || numbers.first() != Some(&0) || numbers.last() != Some(&(count as i32 - 1)) {
        return Err(BrokerError::InvalidPlacement("partitions are not numbered from 0 one by one"));
    }
    let placed = topic.assignments.iter().map(|assignment| &assignment.broker_ids[..]);
    placement::replicas(nodes, placed).map_err(BrokerError::InvalidPlacement)
}

enum Refused {
    Twice,
    Both,
    By(BrokerError),
}

impl Refused {
    /// Whether nothing of the request was done makes a difference to where it is sent next.
    fn answer(self, undone: bool) -> (i16, Option<crate::codec::text::Text>) {
        match self {
            Refused::Twice => (super::error::invalid_request(), Some("the topic is named twice".into())),
            Refused::Both => {
                let message = "a topic that says where its partitions shall be does not say how many";
                (super::error::invalid_request(), Some(message.into()))
            }
            Refused::By(error) => (controller_code(&error, undone), Some(error.to_string().into())),
        }
    }
}

fn convert(nodes: &Nodes, topic: &CreatableTopic, validate_only: bool) -> Result<CreateTopic, Refused> {
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
            Err(_) => return refuse(BrokerError::InvalidReplicas(nodes.replicas(u32::MAX))),
        },
    };
    if !topic.assignments.is_empty() {
        if partitions.is_some() || replicas.is_some() {
            return Err(Refused::Both);
        }
        // Placement is the cluster's; how many partitions and replicas is the client's.
        replicas = placed(nodes, topic).map_err(Refused::By)?;
        partitions = Some(topic.assignments.len() as u32);
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
    let undone = is_undone(&deleted);
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
            Refused::Twice.answer(undone)
        } else {
            match deleted.next().unwrap_or(Err(BrokerError::Unavailable)) {
                Ok(()) => (0, None),
                Err(BrokerError::UnknownTopic) if by_id => {
                    (ErrorCode::UnknownTopicId.code(), Some("there is no topic of this id".into()))
                }
                Err(error) => Refused::By(error).answer(undone),
            }
        };
        DeletableTopicResult { name, topic_id, error_code, error_message }
    };
    let responses = asked.into_iter().map(answer).collect();
    ResponseBody::DeleteTopics(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::create_topics::CreatableReplicaAssignment;
    use crate::fake::{Fake, topic};
    use model::NodeId;

    fn new(name: &str, partitions: i32, replicas: i16, placed: &[&[i32]]) -> CreatableTopic {
        let assignment =
            |(nth, ids): (i32, &&[i32])| CreatableReplicaAssignment { partition_index: nth, broker_ids: ids.to_vec() };
        CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: replicas,
            assignments: (0..).zip(placed).map(assignment).collect(),
            configs: Vec::new(),
        }
    }

    #[test]
    fn a_placement_counts_as_numbers() {
        let nodes = Nodes::of(&Fake::three().context());
        let asked = |topic: &CreatableTopic| match convert(&nodes, topic, false) {
            Ok(create) => Ok((create.partitions, create.replicas)),
            Err(refused) => Err(refused.answer(false).0),
        };
        assert_eq!(asked(&new("a", -1, -1, &[&[1, 2], &[2, 3]])), Ok((Some(2), Some(2))));
        assert_eq!(asked(&new("a", 3, 2, &[])), Ok((Some(3), Some(2))));
        assert_eq!(asked(&new("a", -1, -1, &[])), Ok((None, None)));
        let misplaced = Err(ErrorCode::InvalidReplicaAssignment.code());
        assert_eq!(asked(&new("a", -1, -1, &[&[1, 2], &[3]])), misplaced);
        assert_eq!(asked(&new("a", -1, -1, &[&[4]])), misplaced);
        assert_eq!(asked(&new("a", 1, -1, &[&[1]])), Err(ErrorCode::InvalidRequest.code()));
        assert_eq!(asked(&new("a", 1, -2, &[])), Err(ErrorCode::InvalidReplicationFactor.code()));
    }

    /// The codes that making topics `a` and `b` is answered with, of which the broker says these.
    fn created(outcomes: Vec<Result<TopicInfo, BrokerError>>) -> Vec<(i16, i16)> {
        let topics = vec![new("a", 1, 3, &[]), new("b", 1, 3, &[])];
        let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
        let Step::Ask(Request::Node, then) = create(&Fake::three().context(), request) else { panic!("not asked") };
        let Step::Ask(Request::CreateTopics(wanted), then) = then(Reply::Topics(Vec::new())) else {
            panic!("not asked")
        };
        assert_eq!(wanted.iter().map(|topic| topic.replicas).collect::<Vec<_>>(), [Some(3), Some(3)]);
        match then(Reply::TopicsCreated(outcomes)) {
            Step::Reply(ResponseBody::CreateTopics(response)) => {
                response.topics.iter().map(|topic| (topic.error_code, topic.replication_factor)).collect()
            }
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn the_answer_tells_the_factor_that_there_is() {
        let mut info = topic("a", 1);
        info.partitions[0].replicas = vec![NodeId(1), NodeId(2)];
        assert_eq!(created(vec![Ok(info), Ok(topic("b", 1))]), [(0, 2), (0, 1)]);
    }

    #[test]
    fn a_request_that_reached_no_leader_is_sent_anew_as_a_whole_or_not_at_all() {
        let elsewhere = || Err(BrokerError::NotLeader(None));
        let codes = |outcomes| created(outcomes).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        let (again, exists) = (ErrorCode::NotController.code(), ErrorCode::TopicAlreadyExists.code());
        assert_eq!(codes(vec![elsewhere(), elsewhere()]), [again, again]);
        assert_eq!(codes(vec![Err(BrokerError::TopicExists), elsewhere()]), [exists, again]);
        let made = codes(vec![Ok(topic("a", 1)), elsewhere()]);
        assert_eq!(made, [0, ErrorCode::NotLeaderOrFollower.code()], "else the first would be there already");
    }
}
