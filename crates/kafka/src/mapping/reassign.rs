//! AlterPartitionReassignments and ListPartitionReassignments. Where replicas are is the cluster's to say, for a
//! shard with all its partitions at once: nothing is moved by hand, so nothing is ever under way.

use super::nodes::{Nodes, ids};
use super::{Context, Step, ask, is_kafka_name};
use crate::codec::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};
use crate::codec::body::ResponseBody;
use crate::codec::error_code::ErrorCode;
use crate::codec::list_partition_reassignments::ListPartitionReassignmentsResponse;
use broker::request::{TopicInfo, TopicRef, TopicsQuery};
use broker::{Reply, Request};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn list() -> Step {
    Step::Reply(ResponseBody::ListPartitionReassignments(ListPartitionReassignmentsResponse::default()))
}

pub(super) fn alter(context: &Context, request: AlterPartitionReassignmentsRequest) -> Step {
    let names: BTreeSet<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    let names = names.into_iter().filter(|name| is_kafka_name(name)).map(TopicRef::Name).collect();
    let nodes = Nodes::of(context);
    let query = TopicsQuery { topics: Some(names), create_missing: false };
    ask(Request::Topics(query), move |reply| {
        let found = if let Reply::Topics(found) = reply { found } else { Vec::new() };
        let found: BTreeMap<String, TopicInfo> =
            found.into_iter().flatten().map(|info| (info.name.clone(), info)).collect();
        let topic = |topic: ReassignableTopic| {
            let info = found.get(topic.name.as_str());
            let partitions = topic.partitions.iter().map(|partition| answer(&nodes, info, partition)).collect();
            ReassignableTopicResponse { name: topic.name, partitions }
        };
        ResponseBody::AlterPartitionReassignments(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            responses: request.topics.into_iter().map(topic).collect(),
            ..AlterPartitionReassignmentsResponse::default()
        })
    })
}

fn answer(nodes: &Nodes, info: Option<&TopicInfo>, asked: &ReassignablePartition) -> ReassignablePartitionResponse {
    let mut answer = ReassignablePartitionResponse {
        partition_index: asked.partition_index,
        ..ReassignablePartitionResponse::default()
    };
    if let Err((error, message)) = check(nodes, info, asked) {
        (answer.error_code, answer.error_message) = (error.code(), message.map(Into::into));
    }
    answer
}

/// Whether a partition is where it shall be.
fn check(
    nodes: &Nodes,
    info: Option<&TopicInfo>,
    asked: &ReassignablePartition,
) -> Result<(), (ErrorCode, Option<&'static str>)> {
    let nth = usize::try_from(asked.partition_index).unwrap_or(usize::MAX);
    let partition = info.and_then(|info| info.partitions.get(nth));
    let partition = partition.ok_or((ErrorCode::UnknownTopicOrPartition, Some("there is no such partition")))?;
    let Some(replicas) = &asked.replicas else {
        // Which says it all, to Kafka's clients too.
        return Err((ErrorCode::NoReassignmentInProgress, None));
    };
    nodes.check_replicas(replicas).map_err(|why| (ErrorCode::InvalidReplicaAssignment, Some(why)))?;
    let (wanted, there): (BTreeSet<i32>, BTreeSet<i32>) =
        (replicas.iter().copied().collect(), ids(&partition.replicas).into_iter().collect());
    if wanted != there {
        let why = "the cluster places the replicas of a shard, with all its partitions at once: none is moved by hand";
        return Err((ErrorCode::PolicyViolation, Some(why)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, topic};
    use model::NodeId;

    #[test]
    fn nothing_is_moved_by_hand() {
        let nodes = Nodes::of(&Fake::three().context());
        let mut info = topic("a", 1);
        info.partitions[0].replicas = vec![NodeId(1), NodeId(2)];
        let of = |partition_index, replicas: Option<&[i32]>| {
            let replicas = replicas.map(<[i32]>::to_vec);
            check(&nodes, Some(&info), &ReassignablePartition { partition_index, replicas }).map_err(|(error, _)| error)
        };
        assert_eq!(of(0, Some(&[2, 1])), Ok(()), "there it is");
        assert_eq!(of(0, Some(&[1, 3])), Err(ErrorCode::PolicyViolation));
        assert_eq!(of(0, Some(&[1])), Err(ErrorCode::PolicyViolation));
        assert_eq!(of(0, Some(&[1, 77])), Err(ErrorCode::InvalidReplicaAssignment));
        assert_eq!(of(0, None), Err(ErrorCode::NoReassignmentInProgress));
        for missing in [1, -1] {
            assert_eq!(of(missing, Some(&[1, 2])), Err(ErrorCode::UnknownTopicOrPartition));
        }
        let asked = ReassignablePartition { partition_index: 0, replicas: None };
        assert_eq!(check(&nodes, None, &asked).unwrap_err().0, ErrorCode::UnknownTopicOrPartition);
    }
}
