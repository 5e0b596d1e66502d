//! ElectLeaders. Who leads is a shard's to say, of all its partitions at once: an election of one of them moves the
//! others of its shard along.

use super::error::{code, invalid_request};
use super::{Step, ask, is_kafka_name, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
};
use crate::codec::error_code::ErrorCode;
use broker::request::{Elected, Election, LeaderQuery, PartitionElection, TopicRef};
use broker::{BrokerError, Reply, Request};
use std::time::Duration;

/// Numbers of the kinds of election.
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn handle(request: ElectLeadersRequest) -> Step {
    // Of whatever kind.
    let is_of_nothing = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    if is_of_nothing {
        return Step::Reply(ResponseBody::ElectLeaders(ElectLeadersResponse::default()));
    }
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Any,
        _ => return Step::Reply(ResponseBody::ElectLeaders(unknown_election(request))),
    };
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let asked = request.topic_partitions;
    let partitions = asked.as_deref().map(|topics| {
        let of = |topic: &TopicPartitions| {
            let name = topic_named(&topic.topic);
            topic.partitions.iter().map(move |partition| partition_ref(&name, *partition)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    });
    ask(Request::ElectLeaders(LeaderQuery { partitions, election, patience }), move |reply| {
        let outcomes = if let Reply::LeadersElected(outcomes) = reply { outcomes } else { Vec::new() };
        let replica_election_results = match asked {
            Some(topics) => of_those(topics, outcomes, election),
            None => of_all(outcomes, election),
        };
        ResponseBody::ElectLeaders(ElectLeadersResponse { replica_election_results, ..Default::default() })
    })
}

/// The answer to a kind of election that there is not, of each partition, too, as Kafka's.
fn unknown_election(request: ElectLeadersRequest) -> ElectLeadersResponse {
    let message = format!("there is no election type {}", request.election_type);
    let result = |partition_id| {
        let error_message = Some(message.as_str().into());
        PartitionResult { partition_id, error_code: invalid_request(), error_message }
    };
    let topic = |topic: TopicPartitions| {
        let partition_result = topic.partitions.into_iter().map(result).collect();
        ReplicaElectionResult { topic: topic.topic, partition_result }
    };
    let replica_election_results = request.topic_partitions.unwrap_or_default().into_iter().map(topic).collect();
    ElectLeadersResponse { error_code: invalid_request(), replica_election_results, ..ElectLeadersResponse::default() }
}

/// The answer about those that were asked for, in that order.
fn of_those(
    topics: Vec<TopicPartitions>,
    outcomes: Vec<PartitionElection>,
    election: Election,
) -> Vec<ReplicaElectionResult> {
    let mut outcomes = outcomes.into_iter().map(|elected| elected.outcome);
    let mut result = |partition_id| {
        let outcome = outcomes.next().unwrap_or(Err(BrokerError::Unavailable));
        result(partition_id, &outcome, election)
    };
    let mut topic = |topic: TopicPartitions| {
        let partition_result = topic.partitions.into_iter().map(&mut result).collect();
        ReplicaElectionResult { topic: topic.topic, partition_result }
    };
    topics.into_iter().map(&mut topic).collect()
}

/// The answer about all, topic by topic.
fn of_all(outcomes: Vec<PartitionElection>, election: Election) -> Vec<ReplicaElectionResult> {
    let mut results: Vec<ReplicaElectionResult> = Vec::new();
    for PartitionElection { partition, outcome } in outcomes {
        let TopicRef::Name(name) = partition.topic else { continue };
        if !is_kafka_name(&name) {
            continue;
        }
        if results.last().is_none_or(|last| last.topic.as_str() != name) {
            results.push(ReplicaElectionResult { topic: name.into(), partition_result: Vec::new() });
        }
        if let Some(last) = results.last_mut() {
            last.partition_result.push(result(partition.partition as i32, &outcome, election));
        }
    }
    results
}

fn result(partition_id: i32, outcome: &Result<Elected, BrokerError>, election: Election) -> PartitionResult {
    let (error, message) = match (outcome, election) {
        (Ok(Elected::Now), _) => return PartitionResult { partition_id, ..PartitionResult::default() },
        (Ok(Elected::Before), Election::Preferred) => {
            (ErrorCode::ElectionNotNeeded.code(), "the preferred replica leads already".to_owned())
        }
        (Ok(Elected::Before), Election::Any) => (ErrorCode::ElectionNotNeeded.code(), "there is a leader".to_owned()),
        (Ok(Elected::NotYet), Election::Preferred) => (
            ErrorCode::PreferredLeaderNotAvailable.code(),
            "the preferred replica is not there, lacks records or does not take over yet".to_owned(),
        ),
        // Never elected is who may lack what was acknowledged.
        (Ok(Elected::NotYet), Election::Any) => (
            ErrorCode::EligibleLeadersNotAvailable.code(),
            "nobody leads until most replicas are there: one of the others may lack what was acknowledged".to_owned(),
        ),
        (Err(error), _) => (code(error), error.to_string()),
    };
    PartitionResult { partition_id, error_code: error, error_message: Some(message.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::request::PartitionRef;

    fn outcome(topic: &str, partition: u32, outcome: Result<Elected, BrokerError>) -> PartitionElection {
        PartitionElection { partition: PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition }, outcome }
    }

    /// The request that the broker gets, and what is made of its answer.
    fn asked(request: ElectLeadersRequest) -> (LeaderQuery, super::super::Then) {
        match handle(request) {
            Step::Ask(Request::ElectLeaders(query), then) => (query, then),
            _ => panic!("the broker is not asked"),
        }
    }

    fn answer(then: super::super::Then, outcomes: Vec<PartitionElection>) -> Vec<(String, Vec<(i32, i16)>)> {
        let Step::Reply(ResponseBody::ElectLeaders(answer)) = then(Reply::LeadersElected(outcomes)) else { panic!() };
        assert_eq!(answer.error_code, 0);
        let of = |topic: &ReplicaElectionResult| {
            let of = |part: &PartitionResult| {
                assert_eq!(part.error_message.is_some(), part.error_code != 0);
                (part.partition_id, part.error_code)
            };
            (topic.topic.to_string(), topic.partition_result.iter().map(of).collect())
        };
        answer.replica_election_results.iter().map(of).collect()
    }

    fn topic(name: &str, partitions: &[i32]) -> TopicPartitions {
        TopicPartitions { topic: name.into(), partitions: partitions.to_vec() }
    }

    #[test]
    fn each_partition_that_is_asked_for_is_answered() {
        let topic_partitions = Some(vec![topic("a", &[1, 0, -1, 7]), topic("b", &[0])]);
        let (query, then) = asked(ElectLeadersRequest { election_type: 0, topic_partitions, timeout_ms: 5 });
        assert_eq!((query.election, query.patience), (Election::Preferred, Duration::from_millis(5)));
        let partitions: Vec<u32> = query.partitions.unwrap().iter().map(|part| part.partition).collect();
        assert_eq!(partitions, [1, 0, u32::MAX, 7, 0]);
        let outcomes = vec![
            outcome("a", 1, Ok(Elected::Now)),
            outcome("a", 0, Ok(Elected::Before)),
            outcome("a", u32::MAX, Err(BrokerError::UnknownPartition)),
            outcome("a", 7, Ok(Elected::NotYet)),
            outcome("b", 0, Err(BrokerError::UnknownTopic)),
        ];
        let expected = [("a".to_owned(), vec![(1, 0), (0, 84), (-1, 3), (7, 80)]), ("b".to_owned(), vec![(0, 3)])];
        assert_eq!(answer(then, outcomes), expected);
    }

    #[test]
    fn all_are_answered_topic_by_topic_but_for_names_that_kafka_cannot_spell() {
        let (query, then) = asked(ElectLeadersRequest { timeout_ms: -1, ..ElectLeadersRequest::default() });
        assert_eq!((query.partitions, query.patience), (None, Duration::ZERO));
        let outcomes = vec![
            outcome("a", 0, Ok(Elected::Now)),
            outcome("a", 2, Err(BrokerError::Unknown)),
            outcome("a b", 0, Ok(Elected::Now)),
            outcome("c", 0, Ok(Elected::NotYet)),
        ];
        let expected = [("a".to_owned(), vec![(0, 0), (2, 7)]), ("c".to_owned(), vec![(0, 80)])];
        assert_eq!(answer(then, outcomes), expected);
    }

    #[test]
    fn nobody_is_elected_who_may_lack_what_was_acknowledged() {
        let topic_partitions = Some(vec![topic("a", &[0, 1])]);
        let (query, then) = asked(ElectLeadersRequest { election_type: 1, topic_partitions, timeout_ms: 5 });
        assert_eq!(query.election, Election::Any);
        let outcomes = vec![outcome("a", 0, Ok(Elected::Before)), outcome("a", 1, Ok(Elected::NotYet))];
        assert_eq!(answer(then, outcomes), [("a".to_owned(), vec![(0, 84), (1, 83)])]);
    }

    #[test]
    fn a_kind_of_election_that_there_is_not_is_refused() {
        for election_type in [-1, 2] {
            let topic_partitions = Some(vec![topic("a", &[0, 1])]);
            let refused = handle(ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 5 });
            let Step::Reply(ResponseBody::ElectLeaders(refused)) = refused else { panic!() };
            let parts = refused.replica_election_results[0].partition_result.iter().map(|part| part.error_code);
            assert_eq!((refused.error_code, parts.collect()), (42, vec![42, 42]));
            let nothing = ElectLeadersRequest { election_type, topic_partitions: Some(Vec::new()), timeout_ms: 5 };
            let Step::Reply(ResponseBody::ElectLeaders(answer)) = handle(nothing) else { panic!() };
            assert_eq!(answer, ElectLeadersResponse::default());
        }
    }
}
