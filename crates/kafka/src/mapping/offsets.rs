//! ListOffsets.

use super::error::{code, invalid_request};
use super::{Step, ask, partition_ref, topic_ref};
use crate::codec::batch::Batches;
use crate::codec::body::ResponseBody;
use crate::codec::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::codec::primitive::Uuid;
use broker::request::{FoundOffset, OffsetQuery, OffsetSpec};
use broker::{Reply, Request};
use bytes::Bytes;
use model::{LeaderEpoch, Timestamp, limit};

/// Special timestamps (KIP-79, KIP-734, KIP-405): there is one tier, so local is all.
fn spec(timestamp: i64) -> Option<OffsetSpec> {
    match timestamp {
        -1 => Some(OffsetSpec::Latest),
        -2 | -4 => Some(OffsetSpec::Earliest),
        -3 => Some(OffsetSpec::MaxTimestamp),
        time if time >= 0 => Some(OffsetSpec::AtOrAfter(Timestamp(time))),
        _ => None,
    }
}

pub(super) fn handle(request: ListOffsetsRequest) -> Step {
    let mut queries = Vec::new();
    let mut topics = Vec::new();
    let mut specs = Vec::new();
    for topic in request.topics {
        let name = topic_ref(&topic.name, Uuid::default(), false);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let which = spec(partition.timestamp);
            specs.push(which);
            if let Some(which) = which {
                queries.push(OffsetQuery {
                    partition: partition_ref(&name, partition.partition_index),
                    which,
                    epoch: u32::try_from(partition.current_leader_epoch).ok().map(LeaderEpoch),
                });
            }
            partitions.push(ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                ..ListOffsetsPartitionResponse::default()
            });
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ask(Request::Offsets(queries), move |reply| {
        let Reply::Offsets(found) = reply else { return ResponseBody::ListOffsets(ListOffsetsResponse::default()) };
        let (mut found, mut specs) = (found.into_iter(), specs.into_iter());
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            match specs.next().flatten().and_then(|which| Some((which, found.next()?))) {
                Some((which, Ok(found))) => fill(partition, which, found),
                Some((_, Err(error))) => partition.error_code = code(&error),
                None => partition.error_code = invalid_request(),
            }
        }
        ResponseBody::ListOffsets(ListOffsetsResponse { topics, ..ListOffsetsResponse::default() })
    })
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
