//! DeleteRecords.

use super::error::code;
use super::{Step, ask, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::codec::error_code::ErrorCode;
use broker::request::TrimPart;
use broker::{BrokerError, Reply, Request};
use model::Offset;

/// Everything up to the end.
const ALL: i64 = -1;

pub(super) fn handle(request: DeleteRecordsRequest) -> Step {
    let mut parts = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_named(&topic.name);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let to = match partition.offset {
                ALL => Ok(None),
                offset => u64::try_from(offset).map(|offset| Some(Offset(offset))),
            };
            let partition_index = partition.partition_index;
            let mut result = DeleteRecordsPartitionResult { partition_index, low_watermark: -1, ..Default::default() };
            match to {
                Ok(to) => parts.push(TrimPart { partition: partition_ref(&name, partition_index), to }),
                Err(_) => result.error_code = ErrorCode::OffsetOutOfRange.code(),
            }
            partitions.push(result);
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    ask(Request::Trim(parts), move |reply| {
        let outcomes = if let Reply::Trimmed(outcomes) = reply { outcomes } else { Vec::new() };
        let mut outcomes = outcomes.into_iter();
        let asked = topics.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|part| part.error_code == 0);
        for partition in asked {
            match outcomes.next().unwrap_or(Err(BrokerError::Unavailable)) {
                Ok(start) => partition.low_watermark = start.0 as i64,
                Err(error) => partition.error_code = code(&error),
            }
        }
        ResponseBody::DeleteRecords(DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() })
    })
}
