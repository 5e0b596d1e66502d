//! ListOffsets.

use super::error::code;
use super::{Step, Then, partition_ref, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::codec::primitive::Uuid;
use batch::Batches;
use broker::request::{FoundOffset, OffsetQuery, OffsetSpec};
use broker::{Reply, Request};
use bytes::Bytes;
use model::{LeaderEpoch, Timestamp, limit};
use std::collections::VecDeque;

/// The offset that nothing has.
const NONE: i64 = -1;

/// What a timestamp asks for; `None` when the version gives it no meaning.
fn spec(version: i16, timestamp: i64) -> Option<Asked> {
    /// Special timestamps, from which version on (KIP-79, KIP-734, KIP-405, KIP-1005, KIP-1023): there is one tier,
    /// so local is all, and nothing is in another.
    const SPECIAL: [(i64, i16, Asked); 6] = [
        (-1, 1, Asked::Offset(OffsetSpec::Latest)),
        (-2, 1, Asked::Offset(OffsetSpec::Earliest)),
        (-3, 7, Asked::Offset(OffsetSpec::MaxTimestamp)),
        (-4, 8, Asked::Offset(OffsetSpec::Earliest)),
        (-5, 9, Asked::Nothing),
        (-6, 11, Asked::Nothing),
    ];
    if timestamp >= 0 {
        return Some(Asked::Offset(OffsetSpec::AtOrAfter(Timestamp(timestamp))));
    }
    let found = SPECIAL.into_iter().find(|(special, ..)| *special == timestamp);
    found.filter(|(_, since, _)| version >= *since).map(|(.., asked)| asked)
}

/// What is asked of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Offset(OffsetSpec),
    /// Something that there never is here.
    Nothing,
}

/// What is asked about a partition, and where in the response its answer belongs.
struct Question {
    topic: usize,
    partition: usize,
    query: OffsetQuery,
}

pub(super) fn handle(version: i16, request: ListOffsetsRequest) -> Step {
    let mut questions = VecDeque::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_ref(&topic.name, Uuid::default(), false);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let mut answer = ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                ..ListOffsetsPartitionResponse::default()
            };
            match spec(version, partition.timestamp) {
                Some(Asked::Nothing) => (answer.offset, answer.timestamp) = (NONE, NONE),
                Some(Asked::Offset(which)) => {
                    let epoch = u32::try_from(partition.current_leader_epoch).ok().map(LeaderEpoch);
                    let query =
                        OffsetQuery { partition: partition_ref(&name, partition.partition_index), which, epoch };
                    questions.push_back(Question { topic: topics.len(), partition: partitions.len(), query });
                }
                None => answer.error_code = ErrorCode::UnsupportedVersion.code(),
            }
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    next(topics, questions)
}

/// Asks, then answers. The answer to a search by time has a piece with it, which may be large: so no more
/// than one of those is asked for at a time.
fn next(mut topics: Vec<ListOffsetsTopicResponse>, mut questions: VecDeque<Question>) -> Step {
    let is_search =
        |question: &Question| matches!(question.query.which, OffsetSpec::AtOrAfter(_) | OffsetSpec::MaxTimestamp);
    let count = questions.iter().position(is_search).map_or(questions.len(), |nth| nth + 1);
    if count == 0 {
        return Step::Reply(ResponseBody::ListOffsets(ListOffsetsResponse { topics, ..Default::default() }));
    }
    let asked: Vec<Question> = questions.drain(..count).collect();
    let queries = asked.iter().map(|question| question.query.clone()).collect();
    let then: Then = Box::new(move |reply| {
        let mut found = if let Reply::Offsets(found) = reply { found } else { Vec::new() }.into_iter();
        for Question { topic, partition, query } in asked {
            let partition = &mut topics[topic].partitions[partition];
            match found.next() {
                Some(Ok(found)) => fill(partition, query.which, found),
                Some(Err(error)) => partition.error_code = code(&error),
                None => partition.error_code = ErrorCode::UnknownServerError.code(),
            }
        }
        next(topics, questions)
    });
    Step::Ask(Request::Offsets(queries), then)
}

fn fill(partition: &mut ListOffsetsPartitionResponse, which: OffsetSpec, found: FoundOffset) {
    let record = match (which, &found.piece) {
        (OffsetSpec::AtOrAfter(time), Some(piece)) => record_at(piece, |at| at >= time.0),
        (OffsetSpec::MaxTimestamp, Some(piece)) => {
            let max = Batches::new(piece.clone()).flatten().map(|batch| batch.max_timestamp()).max();
            record_at(piece, |at| Some(at) == max)
        }
        _ => None,
    };
    if let Some((offset, timestamp)) = record {
        (partition.offset, partition.timestamp) = (offset, timestamp);
    } else if let Some(offset) = found.offset {
        partition.offset = offset.0 as i64;
    }
    partition.leader_epoch = found.epoch.map_or(-1, |epoch| epoch.0 as i32);
}

/// Offset and timestamp of the first record whose timestamp is as wanted.
fn record_at(piece: &Bytes, wanted: impl Fn(i64) -> bool) -> Option<(i64, i64)> {
    for batch in Batches::new(piece.clone()).flatten() {
        if batch.has_append_time() {
            // Every record has the batch's time.
            if wanted(batch.max_timestamp()) {
                return Some((batch.base_offset(), batch.max_timestamp()));
            }
            continue;
        }
        for record in batch.records(limit::PIECE_BYTES_MAX * 4).ok()?.flatten() {
            // Both are the producer's, and nobody has looked at them before.
            let timestamp = batch.base_timestamp().saturating_add(record.timestamp_delta);
            if wanted(timestamp) {
                return Some((batch.base_offset() + i64::from(record.offset_delta), timestamp));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_timestamp_means_something_from_its_version_on() {
        assert_eq!(spec(1, -2), Some(Asked::Offset(OffsetSpec::Earliest)));
        assert_eq!((spec(6, -3), spec(7, -3)), (None, Some(Asked::Offset(OffsetSpec::MaxTimestamp))));
        assert_eq!((spec(8, -5), spec(9, -5)), (None, Some(Asked::Nothing)));
        assert_eq!((spec(10, -6), spec(11, -7)), (None, None));
        assert_eq!(spec(1, 0), Some(Asked::Offset(OffsetSpec::AtOrAfter(Timestamp(0)))));
    }
}
