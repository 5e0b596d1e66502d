//! Removing the oldest records of a partition.

use super::error::{Subject, refusal};
use super::{mismatch, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::refusal::Refusal;
use crate::shape::{Code, Trimmed};
use broker::request::TrimPart;
use broker::{BrokerError, Reply, Request};
use model::Offset;
use std::sync::Arc;

pub(crate) async fn trim(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let (topic, partition) = (call.name(0), call.partition());
    // Without a number it is all there is.
    let to = call.query.natural("before").map(Offset);
    let part = TrimPart { partition: partition_ref(topic, partition), to };
    let Reply::Trimmed(mut trimmed) = api.ask(Request::Trim(vec![part])).await else { return Err(mismatch()) };
    let start = trimmed.pop().unwrap_or(Err(BrokerError::Unavailable)).map_err(|error| match (&error, to) {
        (BrokerError::OffsetOutOfRange, Some(to)) => {
            let message = format!("partition {partition} of topic {topic} ends before offset {}", to.0);
            Refusal::new(Code::OffsetOutOfRange, message)
        }
        _ => refusal(&error, Subject::Partition(topic, partition)),
    })?;
    Answer::json(200, &Trimmed { topic: topic.to_owned(), partition, start: start.0 })
}
