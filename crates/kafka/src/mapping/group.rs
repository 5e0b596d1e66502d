//! Membership of consumer groups: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use super::error::{coordinator_code, group_code};
use super::nodes::{Node, Nodes};
use super::{Context, Step, ask};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::codec::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::codec::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::codec::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use crate::codec::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::codec::text::Text;
use broker::group::{
    GroupReply, GroupRequest, JoinRequest, Joined, LeavingMember, MemberAssignment, Protocol, SyncRequest,
};
use broker::{BrokerError, Reply, Request};

/// Key type of a consumer group; the others (transactions, share groups) are not spoken yet.
const GROUP: i8 = 0;

pub(super) fn find_coordinator(context: &Context, version: i16, request: &FindCoordinatorRequest) -> Step {
    let spoken = version == 0 || request.key_type == GROUP;
    let keys = if version >= 4 { request.coordinator_keys.clone() } else { vec![request.key.clone()] };
    let nodes = Nodes::of(context);
    let answer = |key: Text| {
        let found = match spoken {
            true => coordinator(context, &nodes, &key),
            false => Err((ErrorCode::InvalidRequest.code(), "only consumer groups have a coordinator here".to_owned())),
        };
        match found {
            Ok(Node { id, host, port, .. }) => {
                Coordinator { key, node_id: *id, host: host.clone(), port: *port, ..Coordinator::default() }
            }
            Err((error_code, message)) => Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code,
                error_message: Some(message.into()),
                ..Coordinator::default()
            },
        }
    };
    let mut coordinators: Vec<Coordinator> = keys.into_iter().map(answer).collect();
    let mut response = FindCoordinatorResponse::default();
    if version >= 4 {
        response.coordinators = coordinators;
    } else if let Some(one) = coordinators.pop() {
        response.error_code = one.error_code;
        response.error_message = one.error_message;
        response.node_id = one.node_id;
        response.host = one.host;
        response.port = one.port;
    }
    Step::Reply(ResponseBody::FindCoordinator(response))
}

/// Where the coordinator of a group is.
///
/// # Errors
/// The code and what there is to say.
fn coordinator<'a>(context: &Context, nodes: &'a Nodes, group: &str) -> Result<&'a Node, (i16, String)> {
    let nobody = |why: &str| (ErrorCode::CoordinatorNotAvailable.code(), why.to_owned());
    match context.directory.coordinator(group) {
        Ok(node) => nodes.get(node).ok_or_else(|| nobody("the coordinator has no listener for this protocol")),
        Err(BrokerError::NotLeader(_)) => Err(nobody("nobody is known to coordinate the group at the moment")),
        Err(error) => Err((coordinator_code(&error), error.to_string())),
    }
}

fn text(text: &Text) -> String {
    text.to_string()
}

fn instance(id: Option<&Text>) -> Option<String> {
    id.map(text)
}

/// The code of whatever is not the reply that was hoped for.
fn refusal(reply: &Reply) -> i16 {
    match reply {
        Reply::Group(Ok(GroupReply::Refused { error, .. })) => group_code(error),
        Reply::Group(Err(BrokerError::Group(error))) => group_code(error),
        Reply::Group(Err(error)) => coordinator_code(error),
        _ => ErrorCode::UnknownServerError.code(),
    }
}

pub(super) fn join(context: &Context, version: i16, client_id: Option<Text>, request: JoinGroupRequest) -> Step {
    let protocols = request.protocols.into_iter();
    let join = JoinRequest {
        group: text(&request.group_id),
        member: text(&request.member_id),
        instance: instance(request.group_instance_id.as_ref()),
        client_id: client_id.map(|id| text(&id)).unwrap_or_default(),
        client_host: context.client.clone(),
        protocol_type: text(&request.protocol_type),
        protocols: protocols.map(|p| Protocol { name: text(&p.name), metadata: p.metadata }).collect(),
        session_timeout: request.session_timeout_ms,
        rebalance_timeout: if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms },
        member_id_required: version >= 4,
        can_skip_assignment: version >= 9,
        random: (context.random)(),
    };
    ask(Request::Group(GroupRequest::Join(join)), move |reply| {
        ResponseBody::JoinGroup(match reply {
            Reply::Group(Ok(GroupReply::Joined(joined))) => joined_response(joined),
            reply => {
                let error_code = refusal(&reply);
                let member = match reply {
                    Reply::Group(Ok(GroupReply::Refused { member, .. })) => member,
                    _ => String::new(),
                };
                // Before version 7 the protocol cannot be null, and is empty then.
                JoinGroupResponse { error_code, member_id: member.into(), ..JoinGroupResponse::default() }
            }
        })
    })
}

fn joined_response(joined: Joined) -> JoinGroupResponse {
    let member = |member: broker::group::JoinedMember| JoinGroupResponseMember {
        member_id: member.member.into(),
        group_instance_id: member.instance.map(Text::from),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type.into()),
        protocol_name: Some(joined.protocol.into()),
        leader: joined.leader.into(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member.into(),
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

pub(super) fn sync(request: SyncGroupRequest) -> Step {
    let assignments = request.assignments.into_iter();
    let sync = SyncRequest {
        group: text(&request.group_id),
        member: text(&request.member_id),
        instance: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: instance(request.protocol_type.as_ref()),
        protocol: instance(request.protocol_name.as_ref()),
        assignments: assignments
            .map(|a| MemberAssignment { member: text(&a.member_id), assignment: a.assignment })
            .collect(),
    };
    ask(Request::Group(GroupRequest::Sync(sync)), |reply| {
        ResponseBody::SyncGroup(match reply {
            Reply::Group(Ok(GroupReply::Synced(synced))) => SyncGroupResponse {
                protocol_type: Some(synced.protocol_type.into()),
                protocol_name: Some(synced.protocol.into()),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            },
            reply => SyncGroupResponse { error_code: refusal(&reply), ..SyncGroupResponse::default() },
        })
    })
}

pub(super) fn heartbeat(request: &HeartbeatRequest) -> Step {
    let heartbeat = GroupRequest::Heartbeat {
        group: text(&request.group_id),
        member: text(&request.member_id),
        instance: instance(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    ask(Request::Group(heartbeat), |reply| {
        let error_code = match reply {
            Reply::Group(Ok(GroupReply::Alive)) => 0,
            reply => refusal(&reply),
        };
        ResponseBody::Heartbeat(HeartbeatResponse { error_code, ..HeartbeatResponse::default() })
    })
}

pub(super) fn leave(version: i16, request: LeaveGroupRequest) -> Step {
    let one_by_one = version >= 3;
    let members = if one_by_one {
        let members = request.members.iter();
        let leaving = |member: &crate::codec::leave_group::MemberIdentity| LeavingMember {
            member: text(&member.member_id),
            instance: instance(member.group_instance_id.as_ref()),
        };
        members.map(leaving).collect()
    } else {
        vec![LeavingMember { member: text(&request.member_id), instance: None }]
    };
    ask(Request::Group(GroupRequest::Leave { group: text(&request.group_id), members }), move |reply| {
        let mut response = LeaveGroupResponse::default();
        match reply {
            Reply::Group(Ok(GroupReply::Left(left))) => {
                let code = |result: &Result<(), _>| result.as_ref().err().map_or(0, group_code);
                if one_by_one {
                    let member = |member: broker::group::LeftMember| MemberResponse {
                        error_code: code(&member.result),
                        member_id: member.member.into(),
                        group_instance_id: member.instance.map(Text::from),
                    };
                    response.members = left.into_iter().map(member).collect();
                } else {
                    response.error_code = left.first().map_or(0, |member| code(&member.result));
                }
            }
            reply => response.error_code = refusal(&reply),
        }
        ResponseBody::LeaveGroup(response)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn found(context: &Context, version: i16, key_type: i8, keys: &[&str]) -> FindCoordinatorResponse {
        let coordinator_keys = keys.iter().map(|key| (*key).into()).collect();
        let request = FindCoordinatorRequest { key: keys[0].into(), key_type, coordinator_keys };
        match find_coordinator(context, version, &request) {
            Step::Reply(ResponseBody::FindCoordinator(response)) => response,
            _ => panic!("another answer"),
        }
    }

    #[test]
    fn a_coordinator_is_where_its_node_is() {
        let context = Fake::three().context();
        let one = found(&context, 3, GROUP, &["g"]);
        assert_eq!((one.error_code, one.node_id, one.host.as_str(), one.port), (0, 3, "node-3", 9093));
        let many = found(&context, 6, GROUP, &["g", "", "h"]);
        let told: Vec<_> = many.coordinators.iter().map(|c| (c.key.as_str(), c.error_code, c.node_id)).collect();
        let nobody = ErrorCode::CoordinatorNotAvailable.code();
        assert_eq!(told, [("g", 0, 3), ("", nobody, -1), ("h", 0, 3)]);
        assert!(many.coordinators[1].error_message.is_some() && many.coordinators[0].error_message.is_none());
    }

    #[test]
    fn a_coordinator_that_is_not_known_or_not_reachable_is_not_available() {
        let (mut unknown, mut unreachable) = (Fake::three(), Fake::three());
        unknown.coordinator = None;
        unreachable.node(3).endpoints.clear();
        for fake in [unknown, unreachable] {
            let answer = found(&fake.context(), 2, GROUP, &["g"]);
            let told = (answer.error_code, answer.node_id, answer.host.as_str(), answer.port);
            assert_eq!(told, (ErrorCode::CoordinatorNotAvailable.code(), -1, "", -1));
        }
        let transactions = found(&Fake::three().context(), 4, 1, &["t"]);
        assert_eq!(transactions.coordinators[0].error_code, ErrorCode::InvalidRequest.code());
    }
}
