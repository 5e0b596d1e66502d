//! OffsetForLeaderEpoch.

use super::error::code;
use super::{Step, ask, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use broker::request::EpochQuery;
use broker::{BrokerError, Reply, Request};
use model::LeaderEpoch;

pub(super) fn handle(request: OffsetForLeaderEpochRequest) -> Step {
    let mut queries = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_named(&topic.topic);
        let mut partitions = Vec::new();
        for asked in topic.partitions {
            partitions.push(EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() });
            queries.push(EpochQuery {
                partition: partition_ref(&name, asked.partition),
                current: u32::try_from(asked.current_leader_epoch).ok().map(LeaderEpoch),
                epoch: asked.leader_epoch,
            });
        }
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    ask(Request::EpochEnds(queries), move |reply| {
        let outcomes = if let Reply::EpochEnds(outcomes) = reply { outcomes } else { Vec::new() };
        let mut outcomes = outcomes.into_iter();
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            match outcomes.next().unwrap_or(Err(BrokerError::Unavailable)) {
                Ok(found) => {
                    partition.leader_epoch = found.epoch.map_or(-1, |epoch| epoch.0 as i32);
                    partition.end_offset = found.end.map_or(-1, |end| end.0 as i64);
                }
                Err(error) => partition.error_code = code(&error),
            }
        }
        let response = OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() };
        ResponseBody::OffsetForLeaderEpoch(response)
    })
}
