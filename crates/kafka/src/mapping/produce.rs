//! Produce and InitProducerId.

use super::error::code;
use super::leaders::{Leader, Leaders};
use super::nodes::Node;
use super::{Context, Rejecting, Step, ask, partition_ref, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::codec::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use batch::{Batch, BatchError, Batches};
use broker::request::{AppendPart, AppendRefusal, Appended, TopicRef};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use model::Durability;
use std::sync::Arc;

/// The first version that names topics by id.
const BY_ID: i16 = 13;
/// The first version that names leaders (KIP-951).
const LEADERS: i16 = 10;

pub(super) fn handle(context: &Arc<Context>, rejections: &Rejecting, version: i16, request: ProduceRequest) -> Step {
    let silent = request.acks == 0;
    let durability = (request.acks != -1).then_some(Durability::QuorumMemory);
    let mut parts = Vec::new();
    // For the log: which topic, and which partition, each part is for.
    let (mut targets, mut asked) = (Vec::new(), Vec::new());
    // What is wrong with a partition's batch is known before the broker is asked.
    let mut topics: Vec<(TopicProduceResponse, Vec<Option<Refusal>>)> = Vec::new();
    let legal_acks = (-1..=1).contains(&request.acks);
    for topic in request.topic_data {
        let target = topic_ref(&topic.name, topic.topic_id, version >= BY_ID);
        let mut refused = Vec::new();
        let mut responses = Vec::new();
        for partition in topic.partition_data {
            let checked = match partition.records {
                _ if !legal_acks => Err(ErrorCode::InvalidRequiredAcks.into()),
                _ if request.transactional_id.is_some() => Err(ErrorCode::TransactionalIdAuthorizationFailed.into()),
                Some(records) => check(records),
                None => Err(invalid("no batch")),
            };
            if let Err(refusal) = &checked {
                note(rejections, partition.index, &target, &refusal.why);
            }
            refused.push(checked.as_ref().err().cloned());
            responses.push(PartitionProduceResponse { index: partition.index, ..PartitionProduceResponse::default() });
            if let Ok(bytes) = checked {
                let to = partition_ref(&target, partition.index);
                asked.push((targets.len(), partition.index));
                parts.push(AppendPart { to, bytes, durability, inspect: broker::batches::inspect });
            }
        }
        targets.push(target);
        let response =
            TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, partition_responses: responses };
        topics.push((response, refused));
    }
    let (context, rejections) = (context.clone(), rejections.clone());
    Step::Ask(
        Request::Append(parts),
        Box::new(move |reply| {
            let Reply::Appended(outcomes) = reply else { return Step::Silent };
            for (outcome, (topic, partition)) in outcomes.iter().zip(&asked) {
                if let Err(AppendRefusal { error, .. }) = outcome
                    && is_malformed(error)
                {
                    note(&rejections, *partition, &targets[*topic], &error.to_string());
                }
            }
            if silent {
                // Nobody waits for an answer; that something is wrong is said the way Kafka does.
                let refused =
                    topics.iter().flat_map(|(_, refused)| refused).flatten().map(|refusal| refusal.code.code());
                let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
                let failed = failed.map(|AppendRefusal { error, .. }| error_code(error, version));
                let errors: Vec<i16> = refused.chain(failed).collect();
                return if errors.is_empty() { Step::Silent } else { Step::Close(errors) };
            }
            let (mut outcomes, mut leaders) = (outcomes.into_iter(), Leaders::new(&context));
            let responses = topics.into_iter().zip(&targets).map(|((mut topic, refused), target)| {
                for (partition, refused) in topic.partition_responses.iter_mut().zip(refused) {
                    match refused {
                        Some(refusal) => {
                            partition.error_message = refusal.message.filter(|_| version >= 8).map(Into::into);
                            refuse(partition, refusal.code.code());
                        }
                        None => {
                            let outcome = outcomes.next();
                            if version >= LEADERS
                                && let Some(Err(AppendRefusal { error: BrokerError::NotLeader(_), .. })) = &outcome
                            {
                                let leader = leaders.find(&partition_ref(target, partition.index));
                                partition.current_leader = leader.map_or_else(LeaderIdAndEpoch::default, named);
                            }
                            answer(partition, outcome, version);
                        }
                    }
                }
                topic
            });
            let responses = responses.collect();
            let node_endpoints = leaders.endpoints(endpoint);
            let response = ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() };
            Step::Reply(ResponseBody::Produce(response))
        }),
    )
}

fn named(leader: Leader) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch }
}

fn endpoint(Node { id, host, port, rack }: Node) -> NodeEndpoint {
    NodeEndpoint { node_id: id, host, port, rack }
}

/// Why a partition's records do not even reach the broker.
#[derive(Clone, Debug)]
struct Refusal {
    code: ErrorCode,
    message: Option<String>,
    /// For the log.
    why: String,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Refusal { code, message: None, why: code.to_string() }
    }
}

fn note(rejections: &Rejecting, partition: i32, topic: &TopicRef, why: &str) {
    let topic = match topic {
        TopicRef::Name(name) => format!("topic {name:?}"),
        TopicRef::Id(id) => format!("the topic with the id {id}"),
    };
    rejections.lock().note(format!("a batch for partition {partition} of {topic}: {why}"));
}

/// Whether what is wrong is what was sent, and not when or where.
fn is_malformed(error: &BrokerError) -> bool {
    match error {
        BrokerError::InRecord { error, .. } => is_malformed(error),
        error => {
            matches!(error, BrokerError::InvalidRecord(_) | BrokerError::InvalidTimestamp(_) | BrokerError::TooLarge)
        }
    }
}

/// What no batch explains. As with Kafka, only the log says more than the code.
fn invalid(why: &str) -> Refusal {
    Refusal { code: ErrorCode::InvalidRecord, message: None, why: why.to_owned() }
}

/// The one batch that `records` must be.
fn check(records: Bytes) -> Result<Bytes, Refusal> {
    let mut batches = Batches::new(records);
    let first = batches.next().ok_or_else(|| invalid("no bytes in the place of a batch"))?;
    let batch: Batch = first.map_err(|error| refusal(&error))?;
    if batches.next().is_some() {
        return Err(invalid("more behind the batch: a request has one of each partition"));
    }
    if batch.is_transactional() {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    Ok(batch.into_bytes())
}

fn refusal(error: &BatchError) -> Refusal {
    let why = error.to_string();
    let (code, message) = match error {
        BatchError::Checksum { .. } => (ErrorCode::CorruptMessage, None),
        // What Kafka says of the formats before 0.11, and of those that never were.
        BatchError::Magic(0 | 1) => (ErrorCode::InvalidRecord, None),
        BatchError::Magic(_) => (ErrorCode::CorruptMessage, Some(why.clone())),
        BatchError::Compression(_) => (ErrorCode::UnsupportedCompressionType, None),
        BatchError::Length(_) => (ErrorCode::CorruptMessage, None),
        BatchError::Truncated { .. } | BatchError::Count { .. } => (ErrorCode::InvalidRecord, None),
    };
    Refusal { code, message, why }
}

fn refuse(partition: &mut PartitionProduceResponse, error: i16) {
    partition.error_code = error;
    partition.base_offset = -1;
}

fn answer(partition: &mut PartitionProduceResponse, outcome: Option<Result<Appended, AppendRefusal>>, version: i16) {
    match outcome {
        Some(Ok(appended)) => {
            partition.base_offset = appended.base.0 as i64;
            partition.log_start_offset = appended.start.0 as i64;
        }
        Some(Err(AppendRefusal { error, start })) => {
            if version >= 8 {
                partition.error_message = has_message(&error).then(|| error.to_string().into());
                partition.record_errors = record_errors(&error);
            }
            if tells_start(&error) {
                partition.log_start_offset = start.map_or(-1, |start| start.0 as i64);
            }
            refuse(partition, error_code(&error, version));
        }
        None => refuse(partition, ErrorCode::UnknownServerError.code()),
    }
}

fn error_code(error: &BrokerError, version: i16) -> i16 {
    match error {
        BrokerError::UnknownTopic if version >= BY_ID => ErrorCode::UnknownTopicId.code(),
        error => code(error),
    }
}

/// Whether the code alone does not tell enough.
fn has_message(error: &BrokerError) -> bool {
    match error {
        BrokerError::InRecord { error, .. } => has_message(error),
        BrokerError::InvalidRecord(_) | BrokerError::InvalidTimestamp(_) | BrokerError::LimitReached(_) => true,
        _ => false,
    }
}

/// The record that made its batch be refused (KIP-467).
fn record_errors(error: &BrokerError) -> Vec<BatchIndexAndErrorMessage> {
    let BrokerError::InRecord { nth, error } = error else { return Vec::new() };
    let batch_index_error_message = Some(error.to_string().into());
    vec![BatchIndexAndErrorMessage { batch_index: *nth as i32, batch_index_error_message }]
}

/// Whether the answer says where the partition begins: as Kafka does, of what its log refused.
fn tells_start(error: &BrokerError) -> bool {
    matches!(
        error,
        BrokerError::InRecord { .. }
            | BrokerError::InvalidRecord(_)
            | BrokerError::InvalidTimestamp(_)
            | BrokerError::OutOfOrderSequence
            | BrokerError::FencedProducer
            | BrokerError::LimitReached(_)
    )
}

pub(super) fn init_producer(request: &InitProducerIdRequest) -> Step {
    let refused = |error: ErrorCode| {
        let error_code = error.code();
        let none = InitProducerIdResponse { producer_id: -1, producer_epoch: -1, ..InitProducerIdResponse::default() };
        ResponseBody::InitProducerId(InitProducerIdResponse { error_code, ..none })
    };
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Step::Reply(refused(ErrorCode::InvalidRequest)),
        Some(_) => return Step::Reply(refused(ErrorCode::TransactionalIdAuthorizationFailed)),
        // Both say who the producer was, or neither does (KIP-360).
        None if (request.producer_id == -1) != (request.producer_epoch == -1) => {
            return Step::Reply(refused(ErrorCode::InvalidRequest));
        }
        None => {}
    }
    ask(Request::NewProducer, move |reply| match reply {
        Reply::NewProducer(Ok(id)) => {
            let response = InitProducerIdResponse { producer_id: id.0 as i64, ..InitProducerIdResponse::default() };
            ResponseBody::InitProducerId(response)
        }
        // Clients ask again, and no other node: a Java producer without transactions has no coordinator that it
        // could look for, and takes most other errors for its end.
        Reply::NewProducer(Err(BrokerError::NotLeader(_) | BrokerError::Unavailable | BrokerError::Unknown)) => {
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
        _ => refused(ErrorCode::UnknownServerError),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::produce::{PartitionProduceData, TopicProduceData};
    use crate::fake::Fake;
    use batch::{BatchBuilder, Record};
    use model::{NodeId, Offset};

    /// What producing to partitions 0, 1 and 2 is answered, of which the broker says these.
    fn produced(version: i16, outcomes: Vec<Result<Appended, AppendRefusal>>) -> ProduceResponse {
        let records = vec![Record { value: Some(Bytes::from_static(b"v")), ..Record::default() }];
        let batch = BatchBuilder { records, ..BatchBuilder::default() }.encode();
        let partition = |index| PartitionProduceData { index, records: Some(batch.clone()) };
        let partition_data = (0..3).map(partition).collect();
        let topic = TopicProduceData { name: "elsewhere".into(), partition_data, ..TopicProduceData::default() };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
        let step = handle(&Arc::new(Fake::three().context()), &Rejecting::default(), version, request);
        let Step::Ask(Request::Append(parts), then) = step else { panic!("not asked") };
        assert_eq!(parts.len(), 3);
        match then(Reply::Appended(outcomes)) {
            Step::Reply(ResponseBody::Produce(response)) => response,
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn who_leads_is_said_where_it_is_known() {
        let elsewhere = || Err(AppendRefusal { error: BrokerError::NotLeader(Some(NodeId(3))), start: None });
        let outcomes = || {
            let appended = Appended { base: Offset(5), start: Offset(0), duplicate: false };
            vec![elsewhere(), elsewhere(), Ok(appended)]
        };
        let response = produced(10, outcomes());
        let told: Vec<_> = response.responses[0].partition_responses.iter().collect();
        let codes: Vec<i16> = told.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::NotLeaderOrFollower.code(), 0]);
        let leaders = told.iter().map(|p| (p.current_leader.leader_id, p.current_leader.leader_epoch));
        assert_eq!(leaders.collect::<Vec<_>>(), [(3, 7), (-1, -1), (-1, -1)]);
        let place = NodeEndpoint { node_id: 3, host: "node-3".into(), port: 9093, rack: Some("rack-3".into()) };
        assert_eq!(response.node_endpoints, [place]);
        let older = produced(9, outcomes());
        assert!(older.node_endpoints.is_empty());
        assert_eq!(older.responses[0].partition_responses[0].current_leader, LeaderIdAndEpoch::default());
    }

    #[test]
    fn what_is_no_batch_is_told_from_what_is_two() {
        let records = vec![Record { value: Some(Bytes::from_static(b"v")), ..Record::default() }];
        let batch = BatchBuilder { records, ..BatchBuilder::default() }.encode();
        let said = |records: Option<Bytes>| {
            let data = PartitionProduceData { index: 4, records };
            let topic =
                TopicProduceData { name: "a".into(), partition_data: vec![data], ..TopicProduceData::default() };
            let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
            let (context, rejections) = (Arc::new(Fake::three().context()), Rejecting::default());
            let Step::Ask(Request::Append(parts), _) = handle(&context, &rejections, 9, request) else { panic!() };
            let said = rejections.lock().take();
            assert_eq!(parts.is_empty(), said.is_some());
            said.map(|(_, why)| why)
        };
        let refused = |why: &str| Some(format!("a batch for partition 4 of topic \"a\": {why}"));
        assert_eq!(said(Some(batch.clone())), None);
        assert_eq!(said(None), refused("no batch"));
        assert_eq!(said(Some(Bytes::new())), refused("no bytes in the place of a batch"));
        let two = Bytes::from([batch.clone(), batch].concat());
        assert_eq!(said(Some(two)), refused("more behind the batch: a request has one of each partition"));
    }

    #[test]
    fn a_producer_asks_again_for_its_id() {
        let refused = |error: BrokerError| {
            let none = InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..Default::default() };
            let Step::Ask(Request::NewProducer, then) = init_producer(&none) else { panic!("not asked") };
            match then(Reply::NewProducer(Err(error))) {
                Step::Reply(ResponseBody::InitProducerId(response)) => response.error_code,
                _ => panic!("another answer"),
            }
        };
        for error in [BrokerError::NotLeader(Some(NodeId(2))), BrokerError::Unavailable, BrokerError::Unknown] {
            assert_eq!(refused(error), ErrorCode::CoordinatorLoadInProgress.code());
        }
    }
}
