//! Fetch.

use super::error::code;
use super::fetch_session::{Asked, FetchSessions};
use super::{Context, Step, ask, partition_ref, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::codec::records::Records;
use broker::request::{EpochEnd, ReadPart, ReadQuery, ReadRange};
use broker::{BrokerError, Chunk, Reply, Request};
use gateway::Output;
use model::limit;
use model::{LeaderEpoch, Offset};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A connection's fetch session, shared with the answers that are on their way.
pub(crate) type Sessions = Arc<Mutex<FetchSessions>>;

/// The first version that names topics by id.
const BY_ID: i16 = 13;
/// Nobody waits longer than this.
const WAIT_MAX: Duration = Duration::from_secs(300);

fn bytes(asked: i32) -> usize {
    usize::try_from(asked).unwrap_or(0).min(limit::FETCH_BYTES_MAX)
}

pub(super) fn handle(context: &Context, sessions: &Sessions, version: i16, mut request: FetchRequest) -> Step {
    let asked = match sessions.lock().take(&mut request, version >= BY_ID, (context.random)()) {
        Ok(asked) => asked,
        Err(error) => {
            let error_code = error.code();
            return Step::Reply(ResponseBody::Fetch(FetchResponse { error_code, ..FetchResponse::default() }));
        }
    };
    let Asked { topics: wanted, session, incremental } = asked;
    let mut parts = Vec::new();
    let mut topics = Vec::new();
    for topic in wanted {
        let from = topic_ref(&topic.topic, topic.topic_id, version >= BY_ID);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            partitions.push(PartitionData { partition_index: partition.partition, ..PartitionData::default() });
            parts.push(ReadRange {
                from: partition_ref(&from, partition.partition),
                // Below every offset there is, so answered as out of range.
                offset: Offset(u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX)),
                max_bytes: bytes(partition.partition_max_bytes),
                epoch: u32::try_from(partition.current_leader_epoch).ok().map(LeaderEpoch),
                last_epoch: u32::try_from(partition.last_fetched_epoch).ok().map(LeaderEpoch),
            });
        }
        topics.push(FetchableTopicResponse { topic: topic.topic, topic_id: topic.topic_id, partitions });
    }
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    // With nothing to read from there is nothing to wait for.
    let min_bytes = if parts.is_empty() { 0 } else { bytes(request.min_bytes) };
    let query = ReadQuery { parts, min_bytes, max_wait, max_bytes: bytes(request.max_bytes), in_files: true };
    let sessions = sessions.clone();
    let read_committed = request.isolation_level == 1;
    ask(Request::Read(query), move |reply| {
        let Reply::Read { parts: outcomes, .. } = reply else { return ResponseBody::Fetch(FetchResponse::default()) };
        let mut outcomes = outcomes.into_iter();
        for topic in &mut topics {
            for partition in &mut topic.partitions {
                match outcomes.next() {
                    Some(Ok(part)) => {
                        fill(partition, part);
                        partition.aborted_transactions = read_committed.then(Vec::new);
                    }
                    Some(Err(error)) => refuse(partition, &error, version),
                    None => refuse(partition, &BrokerError::Unavailable, version),
                }
            }
        }
        sessions.lock().tell(session, incremental, &mut topics);
        ResponseBody::Fetch(FetchResponse { responses: topics, session_id: session, ..FetchResponse::default() })
    })
}

fn fill(partition: &mut PartitionData, part_of: ReadPart) {
    partition.high_watermark = part_of.end.0 as i64;
    partition.last_stable_offset = part_of.end.0 as i64;
    partition.log_start_offset = part_of.start.0 as i64;
    if let Some(EpochEnd { epoch, end }) = part_of.diverges {
        partition.diverging_epoch.epoch = epoch.map_or(-1, |epoch| epoch.0 as i32);
        partition.diverging_epoch.end_offset = end.map_or(-1, |end| end.0 as i64);
    }
    let part = |chunk| match chunk {
        Chunk::Slice(slice) => Output::Bytes(slice.bytes),
        Chunk::File { range, .. } => Output::File(range),
    };
    partition.records = Some(Records { parts: part_of.chunks.into_iter().map(part).collect() });
}

fn refuse(partition: &mut PartitionData, error: &BrokerError, version: i16) {
    partition.error_code = match error {
        BrokerError::UnknownTopic if version >= BY_ID => ErrorCode::UnknownTopicId.code(),
        error => code(error),
    };
    if matches!(error, BrokerError::UnknownTopic | BrokerError::UnknownPartition) {
        partition.aborted_transactions = Some(Vec::new());
    }
    partition.high_watermark = -1;
    partition.records = Some(Records::default());
}
