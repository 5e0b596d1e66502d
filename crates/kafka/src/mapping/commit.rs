//! A group's positions: OffsetCommit and OffsetFetch.

use super::error::{coordinator_code, group_code};
use super::{Step, ask, partition_ref, topic_named, topic_ref};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::codec::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::codec::primitive::Uuid;
use crate::codec::text::Text;
use broker::group::GroupError;
use broker::request::{FetchedOffset, NewOffset, OffsetCommit, OffsetFetch, PartitionRef, TopicRef};
use broker::{BrokerError, Reply, Request};
use model::Offset;
use std::collections::{BTreeMap, BTreeSet};

fn error_code(error: &BrokerError) -> i16 {
    match error {
        BrokerError::Group(error) => group_code(error),
        error => coordinator_code(error),
    }
}

/// The first version that names topics by id.
const BY_ID: i16 = 10;

/// The code of a topic that is not there, as the version names topics.
fn topic_code(version: i16, error: &BrokerError) -> i16 {
    match error {
        BrokerError::UnknownTopic if version >= BY_ID => ErrorCode::UnknownTopicId.code(),
        // Older clients take a group that is not there for one that is at another generation.
        BrokerError::Group(GroupError::GroupIdNotFound) if version < 9 => ErrorCode::IllegalGeneration.code(),
        error => error_code(error),
    }
}

pub(super) fn commit(version: i16, request: OffsetCommitRequest) -> Step {
    let mut offsets = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_ref(&topic.name, topic.topic_id, version >= BY_ID);
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                ..OffsetCommitResponsePartition::default()
            });
            offsets.push(NewOffset {
                partition: partition_ref(&name, partition.partition_index),
                // -1 says that there is none, and comes back as it was.
                offset: Offset(partition.committed_offset as u64),
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.map(|text| text.to_string()).unwrap_or_default(),
            });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    let commit = OffsetCommit {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: request.group_instance_id.map(|text| text.to_string()),
        generation: request.generation_id_or_member_epoch,
        offsets,
    };
    ask(Request::CommitOffsets(commit), move |reply| {
        let outcomes = if let Reply::OffsetsCommitted(outcomes) = reply { outcomes } else { Vec::new() };
        let mut outcomes = outcomes.into_iter();
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = match outcomes.next() {
                Some(Ok(())) => 0,
                Some(Err(error)) => topic_code(version, &error),
                None => ErrorCode::UnknownServerError.code(),
            };
        }
        ResponseBody::OffsetCommit(OffsetCommitResponse { topics, ..OffsetCommitResponse::default() })
    })
}

/// The partitions that are asked for. One that is named twice is answered once: its metadata is so much larger
/// than what asks for it.
fn partitions(topics: impl Iterator<Item = (TopicRef, Vec<i32>)>) -> Vec<PartitionRef> {
    let mut seen: BTreeMap<TopicRef, BTreeSet<i32>> = BTreeMap::new();
    let mut partitions = Vec::new();
    for (topic, indexes) in topics {
        let seen = seen.entry(topic.clone()).or_default();
        let new = indexes.into_iter().filter(|index| seen.insert(*index));
        partitions.extend(new.map(|index| partition_ref(&topic, index)));
    }
    partitions
}

pub(super) fn fetch(version: i16, request: OffsetFetchRequest) -> Step {
    let mut groups = request.groups;
    let fetches: Vec<OffsetFetch> = if version >= 8 {
        // So is a group.
        let mut seen = BTreeSet::new();
        groups.retain(|group| seen.insert(group.group_id.clone()));
        let fetch = |group: &mut OffsetFetchRequestGroup| {
            let topics = group.topics.take().map(|topics| {
                let topic = |t: OffsetFetchRequestTopics| {
                    (topic_ref(&t.name, t.topic_id, version >= BY_ID), t.partition_indexes)
                };
                partitions(topics.into_iter().map(topic))
            });
            OffsetFetch { group: group.group_id.to_string(), partitions: topics }
        };
        groups.iter_mut().map(fetch).collect()
    } else {
        let topics = request
            .topics
            .map(|topics| partitions(topics.into_iter().map(|t| (topic_named(&t.name), t.partition_indexes))));
        groups = vec![OffsetFetchRequestGroup { group_id: request.group_id, ..OffsetFetchRequestGroup::default() }];
        vec![OffsetFetch { group: groups[0].group_id.to_string(), partitions: topics }]
    };
    let then = move |reply| {
        let found = if let Reply::OffsetsFetched(found) = reply { found } else { Vec::new() };
        let moved = moved(&found);
        if !moved.is_empty() {
            return Step::Close(moved);
        }
        let mut found = found.into_iter();
        let answer = |group: OffsetFetchRequestGroup| {
            let mut answer =
                OffsetFetchResponseGroup { group_id: group.group_id, ..OffsetFetchResponseGroup::default() };
            match found.next() {
                Some(Ok(offsets)) => answer.topics = by_topic(version, offsets),
                Some(Err(error)) => answer.error_code = error_code(&error),
                None => answer.error_code = ErrorCode::UnknownServerError.code(),
            }
            answer
        };
        Step::Reply(ResponseBody::OffsetFetch(response(version, groups.into_iter().map(answer).collect())))
    };
    Step::Ask(Request::FetchOffsets(fetches), Box::new(then))
}

/// What would be said of the groups whose coordinator has just moved to another node, if librdkafka did not give up
/// for good where it was to begin when it reads it. Every client looks for a coordinator anew when the connection to it
/// ends.
fn moved(found: &[Result<Vec<FetchedOffset>, BrokerError>]) -> Vec<i16> {
    let errors = found.iter().filter_map(|found| found.as_ref().err());
    let moved = errors.filter(|error| matches!(error, BrokerError::Group(GroupError::CoordinatorMoved(_))));
    moved.map(error_code).collect()
}

fn by_topic(version: i16, offsets: Vec<FetchedOffset>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for FetchedOffset { topic, id, partition, known, committed } in offsets {
        let mut answer = OffsetFetchResponsePartitions {
            partition_index: partition as i32,
            committed_offset: -1,
            metadata: Some(Text::default()),
            ..OffsetFetchResponsePartitions::default()
        };
        if version >= BY_ID && !known {
            answer.error_code = ErrorCode::UnknownTopicId.code();
        }
        if let Some(committed) = committed {
            answer.committed_offset = committed.offset.0 as i64;
            answer.committed_leader_epoch = committed.leader_epoch;
            answer.metadata = Some(committed.metadata.into());
        }
        match topics.last_mut() {
            Some(last) if last.name.as_str() == topic && last.topic_id.0 == id.0 => last.partitions.push(answer),
            _ => topics.push(OffsetFetchResponseTopics {
                name: topic.into(),
                topic_id: Uuid(id.0),
                partitions: vec![answer],
            }),
        }
    }
    topics
}

/// Before version 8 the only group's answer is the response itself.
fn response(version: i16, mut groups: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if version >= 8 {
        response.groups = groups;
    } else if let Some(group) = groups.pop() {
        let partition = |p: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
            partition_index: p.partition_index,
            committed_offset: p.committed_offset,
            committed_leader_epoch: p.committed_leader_epoch,
            metadata: p.metadata,
            // Versions 0 and 1 have no code of their own.
            error_code: if version < 2 { group.error_code } else { p.error_code },
        };
        response.error_code = group.error_code;
        let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(partition).collect(),
        };
        response.topics = group.topics.into_iter().map(topic).collect();
    }
    response
}
