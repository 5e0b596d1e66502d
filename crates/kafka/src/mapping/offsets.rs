//! ListOffsets.

use super::error::code;
use super::{Step, ask, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use broker::batches::find_record;
use broker::request::{FoundOffset, OffsetQuery, OffsetSpec};
use broker::{Reply, Request};
use model::{LeaderEpoch, Timestamp};

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

pub(super) fn handle(version: i16, request: ListOffsetsRequest) -> Step {
    let mut queries = Vec::new();
    // Where in the response the answer to each belongs.
    let mut places = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_named(&topic.name);
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
                    let partition = partition_ref(&name, partition.partition_index);
                    queries.push(OffsetQuery { partition, which, find: find_record, epoch });
                    places.push((topics.len(), partitions.len()));
                }
                None => answer.error_code = ErrorCode::UnsupportedVersion.code(),
            }
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ask(Request::Offsets(queries), move |reply| {
        let mut found = if let Reply::Offsets(found) = reply { found } else { Vec::new() }.into_iter();
        for (topic, partition) in places {
            let partition: &mut ListOffsetsPartitionResponse = &mut topics[topic].partitions[partition];
            match found.next() {
                Some(Ok(found)) => fill(partition, &found),
                Some(Err(error)) => partition.error_code = code(&error),
                None => partition.error_code = ErrorCode::UnknownServerError.code(),
            }
        }
        ResponseBody::ListOffsets(ListOffsetsResponse { topics, ..Default::default() })
    })
}

fn fill(partition: &mut ListOffsetsPartitionResponse, found: &FoundOffset) {
    if let Some(offset) = found.offset {
        partition.offset = offset.0 as i64;
    }
    if let Some(timestamp) = found.timestamp {
        partition.timestamp = timestamp.0;
    }
    partition.leader_epoch = found.epoch.map_or(-1, |epoch| epoch.0 as i32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use batch::{BatchBuilder, Compression, Record};
    use broker::request::Search;
    use bytes::Bytes;
    use model::Offset;

    #[test]
    fn a_large_batch_is_searched_elsewhere() {
        let record = |nth: i32| Record {
            timestamp_delta: nth.into(),
            offset_delta: nth,
            value: Some(Bytes::from_static(&[7; 1000])),
            ..Record::default()
        };
        let records = (0..10).map(record).collect();
        let plain = batch::Batch::checked(BatchBuilder { base_timestamp: 100, records, ..Default::default() }.encode());
        let piece = plain.compressed(Compression::Zstd, 1 << 20).unwrap().into_bytes();
        assert_eq!(find_record(&piece, Timestamp(100), 9000), Search::Found(Offset(0), Timestamp(100)));
        assert_eq!(find_record(&piece, Timestamp(109), 9000), Search::TooMuch);
        assert_eq!(find_record(&piece, Timestamp(109), 1 << 20), Search::Found(Offset(9), Timestamp(109)));
        assert_eq!(find_record(&piece, Timestamp(110), 1 << 20), Search::Nothing);
    }

    #[test]
    fn a_special_timestamp_means_something_from_its_version_on() {
        assert_eq!(spec(1, -2), Some(Asked::Offset(OffsetSpec::Earliest)));
        assert_eq!((spec(6, -3), spec(7, -3)), (None, Some(Asked::Offset(OffsetSpec::MaxTimestamp))));
        assert_eq!((spec(8, -5), spec(9, -5)), (None, Some(Asked::Nothing)));
        assert_eq!((spec(10, -6), spec(11, -7)), (None, None));
        assert_eq!(spec(1, 0), Some(Asked::Offset(OffsetSpec::AtOrAfter(Timestamp(0)))));
    }
}
