//! Looking at groups from outside and removing them: DescribeGroups, ListGroups, DeleteGroups,
//! OffsetDelete.

use super::cluster::operations;
use super::error::{code, coordinator_code, group_code};
use super::{Step, Then, ask, partition_ref, topic_named};
use crate::codec::body::ResponseBody;
use crate::codec::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::codec::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::codec::error_code::ErrorCode;
use crate::codec::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::codec::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::codec::text::Text;
use broker::group::{Description, GroupError, GroupReply, GroupRequest, GroupState};
use broker::request::OffsetDelete;
use broker::{BrokerError, Reply, Request};
use std::collections::{BTreeSet, VecDeque};

/// How a kind of group divides its work (KIP-848): all do it the way they always did.
const CLASSIC: &str = "classic";

fn error_code(error: &BrokerError) -> i16 {
    match error {
        BrokerError::Group(error) => group_code(error),
        error => coordinator_code(error),
    }
}

/// The code of whatever is not the reply that was hoped for.
fn refusal(reply: &Reply) -> i16 {
    match reply {
        Reply::Group(Ok(GroupReply::Refused { error, .. })) => group_code(error),
        Reply::Group(Err(error)) => error_code(error),
        _ => ErrorCode::UnknownServerError.code(),
    }
}

pub(super) fn describe(version: i16, request: DescribeGroupsRequest) -> Step {
    let authorized = if request.include_authorized_operations { operations::GROUP } else { operations::NOT_ASKED };
    let mut groups = request.groups;
    // One that is named twice is answered once: an answer is so much larger than what asks for it.
    let mut seen = BTreeSet::new();
    groups.retain(|group| seen.insert(group.clone()));
    let names = groups.iter().map(Text::to_string).collect();
    ask(Request::DescribeGroups(names), move |reply| {
        let found = if let Reply::GroupsDescribed(found) = reply { found } else { Vec::new() };
        let mut found = found.into_iter();
        let answer = |group: Text| match found.next().unwrap_or(Err(BrokerError::Unavailable)) {
            Ok(found) => described(found, authorized),
            Err(error) => undescribed(version, group, &error, authorized),
        };
        let groups = groups.into_iter().map(answer).collect();
        ResponseBody::DescribeGroups(DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() })
    })
}

fn undescribed(version: i16, group: Text, error: &BrokerError, authorized: i32) -> DescribedGroup {
    let mut answer = DescribedGroup { group_id: group, ..DescribedGroup::default() };
    answer.error_code = error_code(error);
    if answer.error_code == ErrorCode::GroupIdNotFound.code() {
        answer.group_state = GroupState::Dead.name().into();
        answer.authorized_operations = authorized;
        // Before version 6 a group that is not there is one that is dead (KIP-1043).
        if version >= 6 {
            answer.error_message = Some(format!("there is no group {}", answer.group_id).into());
        } else {
            answer.error_code = 0;
        }
    }
    answer
}

fn described(found: Description, authorized_operations: i32) -> DescribedGroup {
    let member = |member: broker::group::MemberDescription| DescribedGroupMember {
        member_id: member.member.into(),
        group_instance_id: member.instance.map(Text::from),
        client_id: member.client_id.into(),
        // As Java prints an address.
        client_host: format!("/{}", member.client_host).into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    };
    DescribedGroup {
        group_id: found.group.into(),
        group_state: found.state.name().into(),
        protocol_type: found.protocol_type.into(),
        protocol_data: found.protocol.into(),
        members: found.members.into_iter().map(member).collect(),
        authorized_operations,
        ..DescribedGroup::default()
    }
}

pub(super) fn list(request: ListGroupsRequest) -> Step {
    ask(Request::Group(GroupRequest::List), move |reply| {
        let mut response = ListGroupsResponse::default();
        let passes = |filter: &[Text], word: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
        };
        match reply {
            Reply::Group(Ok(GroupReply::Listed(groups))) => {
                let wanted = groups.into_iter().filter(|group| {
                    passes(&request.states_filter, group.state.name()) && passes(&request.types_filter, CLASSIC)
                });
                let listed = |group: broker::group::ListedGroup| ListedGroup {
                    group_id: group.group.into(),
                    protocol_type: group.protocol_type.into(),
                    group_state: group.state.name().into(),
                    group_type: CLASSIC.into(),
                };
                response.groups = wanted.map(listed).collect();
            }
            reply => response.error_code = refusal(&reply),
        }
        ResponseBody::ListGroups(response)
    })
}

pub(super) fn delete(request: DeleteGroupsRequest) -> Step {
    delete_next(request.groups_names.into(), Vec::new())
}

fn delete_next(mut groups: VecDeque<Text>, mut results: Vec<DeletableGroupResult>) -> Step {
    let Some(group_id) = groups.pop_front() else {
        let response = DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() };
        return Step::Reply(ResponseBody::DeleteGroups(response));
    };
    let request = GroupRequest::Delete { group: group_id.to_string() };
    let then: Then = Box::new(move |reply| {
        let error_code = match reply {
            Reply::Group(Ok(GroupReply::Deleted)) => 0,
            reply => refusal(&reply),
        };
        results.push(DeletableGroupResult { group_id, error_code });
        delete_next(groups, results)
    });
    Step::Ask(Request::Group(request), then)
}

pub(super) fn delete_offsets(request: OffsetDeleteRequest) -> Step {
    let mut partitions = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let name = topic_named(&topic.name);
        let mut answers = Vec::new();
        for asked in topic.partitions {
            partitions.push(partition_ref(&name, asked.partition_index));
            answers.push(OffsetDeleteResponsePartition { partition_index: asked.partition_index, error_code: 0 });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions: answers });
    }
    let delete = OffsetDelete { group: request.group_id.to_string(), partitions };
    ask(Request::DeleteOffsets(delete), move |reply| {
        let mut response = OffsetDeleteResponse::default();
        match reply {
            Reply::OffsetsDeleted(Ok(outcomes)) => {
                let answers = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                for (answer, outcome) in answers.zip(outcomes) {
                    answer.error_code = match outcome {
                        Ok(()) => 0,
                        Err(BrokerError::Group(GroupError::Subscribed)) => ErrorCode::GroupSubscribedToTopic.code(),
                        Err(error) => code(&error),
                    };
                }
                response.topics = topics;
            }
            Reply::OffsetsDeleted(Err(error)) => response.error_code = error_code(&error),
            _ => response.error_code = ErrorCode::UnknownServerError.code(),
        }
        ResponseBody::OffsetDelete(response)
    })
}
