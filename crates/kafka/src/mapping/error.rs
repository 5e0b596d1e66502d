//! The table from the broker's errors to Kafka's codes.

use crate::codec::error_code::ErrorCode;
use broker::BrokerError;
use broker::group::GroupError;

/// The code that says `error` to a Kafka client.
pub(crate) fn code(error: &BrokerError) -> i16 {
    let code = match error {
        BrokerError::UnknownTopic | BrokerError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        BrokerError::InvalidName(_) => ErrorCode::InvalidTopicException,
        BrokerError::TopicExists => ErrorCode::TopicAlreadyExists,
        BrokerError::InvalidPartitions | BrokerError::EnoughPartitions(_) => ErrorCode::InvalidPartitions,
        BrokerError::InvalidPlacement(_) => ErrorCode::InvalidReplicaAssignment,
        BrokerError::InvalidReplicas(_) => ErrorCode::InvalidReplicationFactor,
        BrokerError::InvalidConfig(_) => ErrorCode::InvalidConfig,
        BrokerError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        BrokerError::Unknown => ErrorCode::RequestTimedOut,
        BrokerError::Unavailable => ErrorCode::LeaderNotAvailable,
        BrokerError::DiskFull | BrokerError::Damaged => ErrorCode::KafkaStorageError,
        BrokerError::InvalidRecord(_) => ErrorCode::InvalidRecord,
        BrokerError::InRecord { error, .. } => return code(error),
        BrokerError::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
        BrokerError::NotAllowed(_) => ErrorCode::PolicyViolation,
        BrokerError::TooLarge => ErrorCode::MessageTooLarge,
        BrokerError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        BrokerError::FencedProducer => ErrorCode::InvalidProducerEpoch,
        BrokerError::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        BrokerError::FencedEpoch => ErrorCode::FencedLeaderEpoch,
        BrokerError::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
        BrokerError::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        BrokerError::LimitReached(_) => ErrorCode::PolicyViolation,
        // No request of this protocol is about them.
        BrokerError::UnknownNode
        | BrokerError::NodeInUse
        | BrokerError::NodeRemoved
        | BrokerError::UnknownShard
        | BrokerError::NoLeader(_)
        | BrokerError::Moving
        | BrokerError::TooManyMoves => ErrorCode::InvalidRequest,
        BrokerError::Group(error) => return group_code(error),
    };
    code.code()
}

/// The code that says a group coordinator's error.
pub(crate) fn group_code(error: &GroupError) -> i16 {
    let code = match error {
        GroupError::UnknownMember => ErrorCode::UnknownMemberId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::GroupMaxSize | GroupError::TooManyGroups => ErrorCode::GroupMaxSizeReached,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::FencedInstance => ErrorCode::FencedInstanceId,
        GroupError::NonEmpty => ErrorCode::NonEmptyGroup,
        GroupError::Subscribed => ErrorCode::GroupSubscribedToTopic,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::CoordinatorMoving => ErrorCode::CoordinatorLoadInProgress,
        GroupError::CoordinatorMoved(_) => ErrorCode::NotCoordinator,
        GroupError::TooLarge => ErrorCode::UnknownServerError,
    };
    code.code()
}

/// The code for what went wrong with a part of a request that only a controller does in Kafka: here any node does,
/// with the leader of the catalog.
///
/// Whoever is told NOT_CONTROLLER looks for the controller again and sends the whole request anew. So that is
/// said when nothing of it was done, and else what lets the client decide.
pub(crate) fn controller_code(error: &BrokerError, is_undone: bool) -> i16 {
    match error {
        BrokerError::NotLeader(_) if is_undone => ErrorCode::NotController.code(),
        error => code(error),
    }
}

/// Whether nothing of a request was done, for certain.
pub(crate) fn is_undone<T>(outcomes: &[Result<T, BrokerError>]) -> bool {
    !outcomes.iter().any(|outcome| matches!(outcome, Ok(_) | Err(BrokerError::Unknown)))
}

/// The code for what went wrong with a fetch: consumers take no others for something that passes.
pub(crate) fn fetch_code(error: &BrokerError) -> i16 {
    match error {
        BrokerError::Unavailable | BrokerError::Unknown => ErrorCode::NotLeaderOrFollower.code(),
        error => code(error),
    }
}

/// The code for what went wrong on the way to a coordinator: a client looks for it again.
pub(crate) fn coordinator_code(error: &BrokerError) -> i16 {
    match error {
        BrokerError::NotLeader(_) => ErrorCode::NotCoordinator.code(),
        // Asked again, it may be done.
        BrokerError::Unavailable | BrokerError::Unknown | BrokerError::DiskFull => {
            ErrorCode::CoordinatorNotAvailable.code()
        }
        BrokerError::LimitReached("offset metadata") => ErrorCode::OffsetMetadataTooLarge.code(),
        error => code(error),
    }
}

/// The code that says a request makes no sense.
pub(crate) fn invalid_request() -> i16 {
    ErrorCode::InvalidRequest.code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeId;

    #[test]
    fn another_leader_is_said_in_the_words_of_each_kind_of_request() {
        for error in [BrokerError::NotLeader(None), BrokerError::NotLeader(Some(NodeId(3)))] {
            assert_eq!(code(&error), ErrorCode::NotLeaderOrFollower.code());
            assert_eq!(fetch_code(&error), ErrorCode::NotLeaderOrFollower.code());
            assert_eq!(coordinator_code(&error), ErrorCode::NotCoordinator.code());
            assert_eq!(controller_code(&error, true), ErrorCode::NotController.code());
            assert_eq!(controller_code(&error, false), ErrorCode::NotLeaderOrFollower.code());
        }
    }

    #[test]
    fn a_request_is_sent_anew_only_if_nothing_of_it_was_done() {
        let refused = || Err(BrokerError::NotLeader(None));
        assert!(is_undone::<()>(&[refused(), Err(BrokerError::TopicExists)]));
        assert!(!is_undone(&[refused(), Ok(())]));
        assert!(!is_undone::<()>(&[refused(), Err(BrokerError::Unknown)]), "it may have been");
    }

    #[test]
    fn a_consumer_goes_on_whatever_is_wrong_with_a_node() {
        // What else a Java consumer is told of a fetch, it throws.
        let passes = [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::KafkaStorageError,
            ErrorCode::FencedLeaderEpoch,
            ErrorCode::UnknownLeaderEpoch,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::OffsetNotAvailable,
        ];
        for error in [
            BrokerError::NotLeader(None),
            BrokerError::Unavailable,
            BrokerError::Unknown,
            BrokerError::DiskFull,
            BrokerError::Damaged,
            BrokerError::FencedEpoch,
            BrokerError::UnknownEpoch,
            BrokerError::OffsetNotAvailable,
            BrokerError::UnknownTopic,
            BrokerError::UnknownPartition,
        ] {
            assert!(passes.iter().any(|code| code.code() == fetch_code(&error)), "{error}");
        }
    }
}
