//! CreatePartitions.

use super::error::{controller_code, is_undone};
use super::nodes::Nodes;
use super::{Context, Step, ask, is_kafka_name, placement};
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
    let nodes = Nodes::of(context);
    let is_placed = |topic: &CreatePartitionsTopic| topic.assignments.is_some();
    let by_hand = nodes.is_choice() && !request.validate_only && request.topics.iter().any(is_placed);
    let mut wanted = Vec::new();
    let mut results = Vec::new();
    for topic in request.topics {
        let refused = match check(&nodes, &topic, twice.contains(topic.name.as_str())) {
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
        if by_hand && outcomes.iter().any(Result::is_ok) {
            placement::say_not_followed();
        }
        let undone = is_undone(&outcomes);
        let mut outcomes = outcomes.into_iter();
        let result = |(name, refused): (_, Option<(ErrorCode, &str)>)| {
            let (error_code, error_message) = match refused {
                Some((error, message)) => (error.code(), Some(message.into())),
                None => match outcomes.next().unwrap_or(Err(BrokerError::Unavailable)) {
                    Ok(()) => (0, None),
                    Err(BrokerError::UnknownTopic) => (ErrorCode::UnknownTopicOrPartition.code(), None),
                    Err(error) => (controller_code(&error, undone), Some(error.to_string().into())),
                },
            };
            CreatePartitionsTopicResult { name, error_code, error_message }
        };
        let results = results.into_iter().map(result).collect();
        ResponseBody::CreatePartitions(CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() })
    })
}

/// How many partitions a topic shall have.
fn check(nodes: &Nodes, topic: &CreatePartitionsTopic, twice: bool) -> Result<u32, (ErrorCode, &'static str)> {
    if twice {
        return Err((ErrorCode::InvalidRequest, "the topic is named twice"));
    }
    if !is_kafka_name(&topic.name) {
        return Err((ErrorCode::UnknownTopicOrPartition, "there is no such topic"));
    }
    // Placement is the cluster's: what the client says is held against the nodes that there are.
    let placed = topic.assignments.iter().flatten().map(|assignment| &assignment.broker_ids[..]);
    placement::replicas(nodes, placed).map_err(|why| (ErrorCode::InvalidReplicaAssignment, why))?;
    u32::try_from(topic.count).map_err(|_| (ErrorCode::InvalidPartitions, "not a number of partitions"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::create_partitions::CreatePartitionsAssignment;
    use crate::fake::Fake;

    #[test]
    fn a_placement_names_nodes_that_there_are() {
        let grown = |placed: &[&[i32]]| {
            let assignment = |ids: &&[i32]| CreatePartitionsAssignment { broker_ids: ids.to_vec() };
            let assignments = Some(placed.iter().map(assignment).collect());
            let topic = CreatePartitionsTopic { name: "a".into(), count: 5, assignments };
            let request = CreatePartitionsRequest { topics: vec![topic], ..CreatePartitionsRequest::default() };
            let step = handle(&Fake::three().context(), request);
            let Step::Ask(Request::AddPartitions(wanted), then) = step else { panic!("not asked") };
            let outcomes = wanted.iter().map(|_| Err(BrokerError::NotLeader(None))).collect();
            let Step::Reply(ResponseBody::CreatePartitions(response)) = then(Reply::PartitionsAdded(outcomes)) else {
                panic!("another answer")
            };
            (wanted.first().and_then(|add| add.placed), response.results[0].error_code)
        };
        assert_eq!(grown(&[&[1, 3], &[2, 1]]), (Some(2), ErrorCode::NotController.code()));
        assert_eq!(grown(&[&[1, 3], &[4, 1]]), (None, ErrorCode::InvalidReplicaAssignment.code()));
    }
}
