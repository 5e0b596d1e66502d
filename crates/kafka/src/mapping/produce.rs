//! Produce and InitProducerId.

use super::error::code;
use super::{Rejecting, Step, ask, partition_ref, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::codec::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use batch::{Batch, BatchError, Batches};
use broker::request::{AppendPart, AppendRefusal, Appended, TopicRef};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use model::Durability;

/// The first version that names topics by id.
const BY_ID: i16 = 13;

pub(super) fn handle(rejections: &Rejecting, version: i16, request: ProduceRequest) -> Step {
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
                None => Err(ErrorCode::InvalidRecord.into()),
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
    let rejections = rejections.clone();
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
            let mut outcomes = outcomes.into_iter();
            let responses = topics.into_iter().map(|(mut topic, refused)| {
                for (partition, refused) in topic.partition_responses.iter_mut().zip(refused) {
                    match refused {
                        Some(refusal) => {
                            partition.error_message = refusal.message.filter(|_| version >= 8).map(Into::into);
                            refuse(partition, refusal.code.code());
                        }
                        None => answer(partition, outcomes.next(), version),
                    }
                }
                topic
            });
            Step::Reply(ResponseBody::Produce(ProduceResponse {
                responses: responses.collect(),
                ..ProduceResponse::default()
            }))
        }),
    )
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

/// The one batch that `records` must be.
fn check(records: Bytes) -> Result<Bytes, Refusal> {
    let mut batches = Batches::new(records);
    let batch: Batch = batches.next().ok_or(ErrorCode::InvalidRecord)?.map_err(|error| refusal(&error))?;
    if batches.next().is_some() {
        return Err(ErrorCode::InvalidRecord.into());
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
        // Clients ask again for these.
        Reply::NewProducer(Err(BrokerError::NotLeader(_) | BrokerError::Unavailable)) => {
            refused(ErrorCode::CoordinatorNotAvailable)
        }
        Reply::NewProducer(Err(BrokerError::Unknown)) => refused(ErrorCode::RequestTimedOut),
        _ => refused(ErrorCode::UnknownServerError),
    })
}
