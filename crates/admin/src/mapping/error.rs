//! The table from the broker's errors to codes, and the sentences that say them.

use crate::query::shown;
use crate::refusal::Refusal;
use crate::shape::Code;
use broker::BrokerError;
use broker::group::GroupError;
use model::{ShardId, limit};

/// What a request is about, for the sentence that says what was wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Topic(&'a str),
    Partition(&'a str, u32),
    Group(&'a str),
    /// A group, and the topic of its positions.
    Positions(&'a str, &'a str),
    Node(u64),
}

impl Subject<'_> {
    fn topic(self) -> String {
        match self {
            Subject::Topic(topic) | Subject::Partition(topic, _) | Subject::Positions(_, topic) => shown(topic),
            Subject::Group(_) | Subject::Node(_) => "of this name".into(),
        }
    }

    fn group(self) -> String {
        match self {
            Subject::Group(group) | Subject::Positions(group, _) => shown(group),
            Subject::Topic(_) | Subject::Partition(..) | Subject::Node(_) => "of this name".into(),
        }
    }

    fn name(self) -> String {
        match self {
            Subject::Topic(topic) => format!("topic {}", shown(topic)),
            Subject::Partition(topic, partition) => format!("partition {partition} of topic {}", shown(topic)),
            Subject::Group(group) | Subject::Positions(group, _) => format!("group {}", shown(group)),
            Subject::Node(node) => format!("node {node}"),
        }
    }
}

/// The code that says `error`.
pub(crate) fn code(error: &BrokerError) -> Code {
    match error {
        BrokerError::UnknownTopic => Code::UnknownTopic,
        BrokerError::UnknownPartition => Code::UnknownPartition,
        BrokerError::InvalidName(_) => Code::InvalidName,
        BrokerError::TopicExists => Code::TopicExists,
        BrokerError::InvalidPartitions => Code::InvalidPartitions,
        BrokerError::EnoughPartitions(_) => Code::EnoughPartitions,
        BrokerError::InvalidReplicas(_) => Code::InvalidReplicas,
        BrokerError::InvalidConfig(_) => Code::InvalidConfig,
        BrokerError::NotLeader(_) => Code::NotLeader,
        BrokerError::Unknown => Code::OutcomeUnknown,
        BrokerError::Unavailable | BrokerError::NoLeader(_) => Code::Unavailable,
        BrokerError::DiskFull => Code::DiskFull,
        BrokerError::InvalidRecord(_) => Code::InvalidRecord,
        BrokerError::InvalidTimestamp(_) => Code::InvalidTimestamp,
        BrokerError::InRecord { error, .. } => code(error),
        BrokerError::NotAllowed(_) => Code::NotAllowed,
        BrokerError::TooLarge => Code::RecordTooLarge,
        BrokerError::OffsetOutOfRange => Code::OffsetOutOfRange,
        BrokerError::Damaged => Code::Damaged,
        BrokerError::LimitReached(_) | BrokerError::TooManyMoves => Code::LimitReached,
        BrokerError::UnknownNode => Code::UnknownNode,
        BrokerError::NodeInUse => Code::NodeInUse,
        BrokerError::NodeRemoved => Code::NodeRemoved,
        BrokerError::UnknownShard => Code::UnknownShard,
        BrokerError::Moving => Code::Moving,
        // Nothing here has to do with them.
        BrokerError::InvalidPlacement(_)
        | BrokerError::OutOfOrderSequence
        | BrokerError::FencedProducer
        | BrokerError::FencedEpoch
        | BrokerError::UnknownEpoch
        | BrokerError::OffsetNotAvailable => Code::Internal,
        BrokerError::Group(error) => group_code(error),
    }
}

fn group_code(error: &GroupError) -> Code {
    match error {
        // Whoever asks here is no member, which is all right while there is none.
        GroupError::UnknownMember | GroupError::IllegalGeneration | GroupError::NonEmpty => Code::GroupNotEmpty,
        GroupError::RebalanceInProgress => Code::GroupChanging,
        GroupError::InvalidGroupId => Code::InvalidName,
        GroupError::Subscribed => Code::GroupConsumesTopic,
        GroupError::GroupIdNotFound => Code::UnknownGroup,
        GroupError::CoordinatorNotAvailable | GroupError::CoordinatorMoving => Code::Unavailable,
        GroupError::CoordinatorMoved(_) => Code::NotLeader,
        GroupError::GroupMaxSize | GroupError::TooManyGroups | GroupError::TooLarge => Code::LimitReached,
        GroupError::InconsistentProtocol
        | GroupError::InvalidSessionTimeout
        | GroupError::MemberIdRequired
        | GroupError::FencedInstance => Code::Internal,
    }
}

/// The sentence that says it.
fn message(error: &BrokerError, subject: Subject<'_>) -> String {
    let (topic, group, name) = (subject.topic(), subject.group(), subject.name());
    match code(error) {
        Code::UnknownTopic => format!("there is no topic {topic}; POST /v1/topics makes one"),
        Code::UnknownPartition => match subject {
            Subject::Partition(_, partition) => format!("topic {topic} has no partition {partition}"),
            _ => format!("topic {topic} has fewer partitions"),
        },
        Code::TopicExists => format!("there is a topic {topic} already"),
        Code::InvalidPartitions => format!("a topic has 1 to {} partitions", limit::TOPIC_PARTITIONS_MAX),
        Code::EnoughPartitions => format!("{name}: {error}"),
        Code::InvalidReplicas => match error {
            BrokerError::InvalidReplicas(2..) => format!("{name}: {error}"),
            _ => "this cluster has one node, so a partition has 1 replica".into(),
        },
        Code::NotLeader => {
            // Topics and nodes are for the catalog to decide about.
            let led = match subject {
                Subject::Topic(_) | Subject::Node(_) => "the catalog".to_owned(),
                Subject::Partition(..) | Subject::Group(_) | Subject::Positions(..) => name,
            };
            match error {
                BrokerError::NotLeader(Some(node)) | BrokerError::Group(GroupError::CoordinatorMoved(node)) => {
                    format!("node {} leads {led}; ask that one", node.0)
                }
                _ => format!("nobody leads {led} at the moment; try again"),
            }
        }
        Code::OutcomeUnknown => {
            format!("{name}: it took too long; it may or may not have been done, so look before you try again")
        }
        Code::Unavailable => match error {
            BrokerError::NoLeader(shard) => {
                let shard = match *shard {
                    ShardId::CATALOG => "the catalog".to_owned(),
                    ShardId(number) => format!("shard {number}"),
                };
                format!(
                    "{shard} has no leader that most of its replicas follow, so nothing was done; GET /v1/nodes tells \
                     which nodes have them; try again when they are back"
                )
            }
            _ => format!("{name} is not available at the moment; GET /v1/node tells why; try again"),
        },
        Code::DiskFull => "there is no room on disk; make some, and service resumes by itself".into(),
        Code::RecordTooLarge => format!("a record is larger than max.message.bytes of {name}"),
        Code::Damaged => format!("bytes of {name} are damaged on disk, and there is no replica to repair them from"),
        Code::UnknownNode => format!("there is no {name}; GET /v1/nodes lists those that there are"),
        Code::NodeInUse => format!("{name} has replicas: drain it, and remove it when it has none"),
        Code::NodeRemoved => format!("{name} has been removed, which is for ever; its machine can join as a new one"),
        Code::LimitReached if *error == BrokerError::TooManyMoves => format!(
            "{name} cannot move yet: {} partitions are on their way, which is as many as may be; try again when one of \
             them is there, as moving_to of its topic's description tells",
            limit::MOVES_MAX
        ),
        Code::UnknownGroup => format!("there is no group {group}"),
        Code::GroupNotEmpty => format!("group {group} has members; stop its consumers first"),
        Code::GroupConsumesTopic => {
            format!("members of group {group} consume topic {topic}; stop its consumers first")
        }
        Code::GroupChanging => format!("group {group} is rebalancing; try again"),
        _ => format!("{name}: {error}"),
    }
}

/// What is answered to `error`.
pub(crate) fn refusal(error: &BrokerError, subject: Subject<'_>) -> Refusal {
    Refusal::new(code(error), message(error, subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;

    #[test]
    fn messages_name_what_they_are_about_and_say_what_to_do() {
        let says = |error: BrokerError, subject| refusal(&error, subject).message;
        let (topic, partition, group) =
            (Subject::Topic("orders"), Subject::Partition("orders", 7), Subject::Group("g"));
        for (error, subject, expected) in [
            (BrokerError::UnknownTopic, topic, "no topic orders; POST /v1/topics"),
            (BrokerError::UnknownPartition, partition, "topic orders has no partition 7"),
            (BrokerError::EnoughPartitions(3), topic, "topic orders: the topic has 3 partitions already"),
            (BrokerError::NotLeader(Some(NodeId(2))), partition, "node 2 leads partition 7 of topic orders"),
            (GroupError::CoordinatorMoved(NodeId(2)).into(), group, "node 2 leads group g; ask that one"),
            (BrokerError::NotLeader(None), topic, "nobody leads the catalog at the moment"),
            (BrokerError::NotLeader(None), Subject::Node(2), "nobody leads the catalog at the moment"),
            (BrokerError::NotLeader(None), partition, "nobody leads partition 7 of topic orders"),
            (BrokerError::NoLeader(ShardId(3)), partition, "shard 3 has no leader"),
            (BrokerError::NoLeader(ShardId::CATALOG), partition, "the catalog has no leader"),
            (BrokerError::TooManyMoves, partition, "partition 7 of topic orders cannot move yet: 16 partitions are"),
            (BrokerError::InvalidReplicas(1), topic, "a partition has 1 replica"),
            (BrokerError::InvalidReplicas(3), topic, "there are 1 to 3 replicas"),
            (BrokerError::InvalidConfig("retention.ms=x".into()), topic, "invalid configuration: retention.ms=x"),
            (GroupError::GroupIdNotFound.into(), group, "there is no group g"),
            (GroupError::UnknownMember.into(), group, "group g has members"),
            (
                GroupError::Subscribed.into(),
                Subject::Positions("g", "orders"),
                "members of group g consume topic orders",
            ),
        ] {
            let said = says(error, subject);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn what_may_be_tried_again_says_so_by_its_status() {
        for error in [
            BrokerError::NotLeader(None),
            BrokerError::NoLeader(ShardId(3)),
            BrokerError::Unavailable,
            GroupError::CoordinatorNotAvailable.into(),
        ] {
            assert_eq!(code(&error).status(), 503, "{error}");
        }
        assert_eq!(code(&BrokerError::Unknown).status(), 504);
        assert_eq!(code(&BrokerError::DiskFull).status(), 507);
    }
}
