//! Everything the group coordinator answers.

use super::error::GroupError;
use bytes::Bytes;
use std::collections::BTreeSet;

/// An answer of the group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReply {
    /// The member belongs to this generation.
    Joined(Joined),
    /// The member's share.
    Synced(Synced),
    /// The member is alive and nothing has changed.
    Alive,
    /// What became of each, in the order asked.
    Left(Vec<LeftMember>),
    /// The group.
    Described(Description),
    /// The groups, by name.
    Listed(Vec<ListedGroup>),
    /// The group is forgotten.
    Deleted,
    /// Offsets may be deleted, but for those of topics that members consume.
    MayDelete {
        /// These topics.
        subscribed: BTreeSet<String>,
    },
    /// The offsets may be committed.
    MayCommit,
    /// Not done.
    Refused {
        /// Why.
        error: GroupError,
        /// For a join, the member id that its answer carries: the new one with
        /// [`GroupError::MemberIdRequired`]. Empty for all others.
        member: String,
    },
}

impl GroupReply {
    pub(super) fn refused(error: GroupError) -> GroupReply {
        GroupReply::Refused { error, member: String::new() }
    }
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// Kind of group (in the answer from version 7 on, KIP-559).
    pub protocol_type: String,
    /// The protocol chosen for the generation.
    pub protocol: String,
    /// The member that assigns.
    pub leader: String,
    /// The leader need not assign, the assignment stands (version 9 and up, KIP-814).
    pub skip_assignment: bool,
    /// The member that is answered.
    pub member: String,
    /// For the leader: all members. Empty for the others.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// What it said about itself under the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Kind of group.
    pub protocol_type: String,
    /// The protocol of the generation.
    pub protocol: String,
    /// What the leader gave the member; empty when it gave nothing.
    pub assignment: Bytes,
}

/// What became of a member that was to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As asked.
    pub member: String,
    /// As asked.
    pub instance: Option<String>,
    /// Why it did not leave.
    pub result: Result<(), GroupError>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// Members wait for the leader's assignment.
    CompletingRebalance,
    /// Members have their assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl GroupState {
    /// Kafka's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: String,
    /// Kind of group; empty when it only ever had consumers outside of the group protocol.
    pub protocol_type: String,
    /// Where it stands.
    pub state: GroupState,
    /// How many members it has.
    pub members: usize,
}

/// A group in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The group.
    pub group: String,
    /// Where it stands.
    pub state: GroupState,
    /// Kind of group; empty when it only ever had consumers outside of the group protocol.
    pub protocol_type: String,
    /// The protocol; empty unless the group is stable, as in Kafka.
    pub protocol: String,
    /// The members.
    pub members: Vec<MemberDescription>,
}

/// A member in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// The member.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// Name the client gives itself.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// Its subscription; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}
