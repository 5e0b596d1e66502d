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
        BrokerError::InvalidReplicas => ErrorCode::InvalidReplicationFactor,
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
        BrokerError::LimitReached(_) => ErrorCode::PolicyViolation,
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
        GroupError::TooLarge => ErrorCode::UnknownServerError,
    };
    code.code()
}

/// The code for what went wrong on the way to a coordinator: a client looks for it again.
pub(crate) fn coordinator_code(error: &BrokerError) -> i16 {
    match error {
        BrokerError::NotLeader(_) => ErrorCode::NotCoordinator.code(),
        BrokerError::Unavailable | BrokerError::Unknown => ErrorCode::CoordinatorNotAvailable.code(),
        BrokerError::LimitReached("offset metadata") => ErrorCode::OffsetMetadataTooLarge.code(),
        error => code(error),
    }
}

/// The code that says a request makes no sense.
pub(crate) fn invalid_request() -> i16 {
    ErrorCode::InvalidRequest.code()
}
