//! Why a group refuses.

use model::NodeId;

/// Why a group request was refused; each names the Kafka error it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// UNKNOWN_MEMBER_ID: not a member of the group, or no longer.
    #[error("unknown member")]
    UnknownMember,
    /// ILLEGAL_GENERATION: the request is of another generation than the current one.
    #[error("not the current generation")]
    IllegalGeneration,
    /// REBALANCE_IN_PROGRESS: the member has to join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// INCONSISTENT_GROUP_PROTOCOL: no protocol, or none that all members support.
    #[error("protocols do not fit the group's")]
    InconsistentProtocol,
    /// INVALID_SESSION_TIMEOUT: outside of the configured bounds.
    #[error("session timeout out of bounds")]
    InvalidSessionTimeout,
    /// INVALID_GROUP_ID: empty or too long.
    #[error("invalid group id")]
    InvalidGroupId,
    /// GROUP_MAX_SIZE_REACHED: the group has as many members as it may.
    #[error("the group is full")]
    GroupMaxSize,
    /// MEMBER_ID_REQUIRED: join again with the id that comes with this error (KIP-394).
    #[error("join again with the given member id")]
    MemberIdRequired,
    /// FENCED_INSTANCE_ID: a newer member runs under this static id (KIP-345).
    #[error("a newer member has this static id")]
    FencedInstance,
    /// NON_EMPTY_GROUP: a group with members cannot be deleted.
    #[error("the group has members")]
    NonEmpty,
    /// GROUP_SUBSCRIBED_TO_TOPIC: offsets of a topic that members consume are not deleted.
    #[error("members of the group consume the topic")]
    Subscribed,
    /// GROUP_ID_NOT_FOUND.
    #[error("no such group")]
    GroupIdNotFound,
    /// COORDINATOR_NOT_AVAILABLE: the group could not be stored, or is being deleted; try again.
    #[error("the group could not be stored, try again")]
    CoordinatorNotAvailable,
    /// Nobody is known to coordinate the group. Soon somebody will be: this node, or another that it knows then.
    #[error("the coordinator of the group is moving")]
    CoordinatorMoving,
    /// That node has begun to coordinate the group a moment ago. Clients are to look for the coordinator.
    #[error("node {0} coordinates the group now")]
    CoordinatorMoved(NodeId),
    /// As many groups as there may be. Kafka has no such bound; GROUP_MAX_SIZE_REACHED says it best.
    #[error("too many groups")]
    TooManyGroups,
    /// Texts, subscriptions or assignments larger than a group may store. Kafka answers
    /// UNKNOWN_SERVER_ERROR where its log refuses a group's record for its size.
    #[error("larger than a group may store")]
    TooLarge,
}
