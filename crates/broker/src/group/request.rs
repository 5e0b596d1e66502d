//! Everything that can be asked of the group coordinator.

use bytes::Bytes;

model::wire_struct! {
    /// A way to divide the work that a member supports, and what it says about itself under it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Protocol {
        /// The assignor, `range` for example.
        pub name: String,
        /// The member's subscription, opaque here.
        pub metadata: Bytes,
    }
}

/// Everything that can be asked of the group coordinator. In all of them `member` is empty for a
/// caller without a member id, and `instance` is the static id (KIP-345).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// Become or stay a member in the next generation. Waits for the other members.
    Join(JoinRequest),
    /// Get one's assignment, or, as the leader, give everyone theirs. Waits for the leader.
    Sync(SyncRequest),
    /// Stay alive.
    Heartbeat {
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// Its static id.
        instance: Option<String>,
        /// Its generation.
        generation: i32,
    },
    /// Leave, or remove others.
    Leave {
        /// The group.
        group: String,
        /// Who leaves.
        members: Vec<LeavingMember>,
    },
    /// Tell about one group.
    Describe {
        /// The group.
        group: String,
    },
    /// Tell which groups there are.
    List,
    /// Forget a group that has no members, and its offsets.
    Delete {
        /// The group.
        group: String,
    },
    /// May offsets of this group be deleted now, and of which topics not?
    CheckDelete {
        /// The group.
        group: String,
    },
    /// May this member commit offsets now? Makes the group known if a consumer outside of the group
    /// protocol is the first to ask.
    CheckCommit {
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// Its static id.
        instance: Option<String>,
        /// Its generation, or less than 0 for a consumer outside of the group protocol.
        generation: i32,
    },
}

impl GroupRequest {
    /// The group it is about; all groups when `None`.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            GroupRequest::Join(JoinRequest { group, .. })
            | GroupRequest::Sync(SyncRequest { group, .. })
            | GroupRequest::Heartbeat { group, .. }
            | GroupRequest::Leave { group, .. }
            | GroupRequest::Describe { group }
            | GroupRequest::Delete { group }
            | GroupRequest::CheckDelete { group }
            | GroupRequest::CheckCommit { group, .. } => Some(group),
            GroupRequest::List => None,
        }
    }
}

/// See [`GroupRequest::Join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: String,
    /// The member, empty for a new one.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// Name that the client gives itself; opens the ids of its members.
    pub client_id: String,
    /// Where the client is, for people.
    pub client_host: String,
    /// Kind of group, `consumer` for example.
    pub protocol_type: String,
    /// What the member supports, best first.
    pub protocols: Vec<Protocol>,
    /// Milliseconds without a word from the member after which it is removed.
    pub session_timeout: i32,
    /// Milliseconds that a rebalance waits for the member. Version 0 does not carry it: the session
    /// timeout then (KIP-62).
    pub rebalance_timeout: i32,
    /// Whether a new dynamic member is first told its id and has to join again with it
    /// (version 4 and up, KIP-394).
    pub member_id_required: bool,
    /// Whether the client understands that it leads but need not assign (version 9 and up, KIP-814).
    pub can_skip_assignment: bool,
    /// Makes the new member's id unique.
    pub random: u128,
}

/// See [`GroupRequest::Sync`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: String,
    /// The member.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
    /// Its generation.
    pub generation: i32,
    /// The protocol type it believes in (version 5 and up, KIP-559).
    pub protocol_type: Option<String>,
    /// The protocol it believes in (version 5 and up, KIP-559).
    pub protocol: Option<String>,
    /// From the leader: everyone's share.
    pub assignments: Vec<MemberAssignment>,
}

/// A member's share of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAssignment {
    /// The member.
    pub member: String,
    /// Its share, opaque here.
    pub assignment: Bytes,
}

/// Who leaves. Named by its static id alone, the static member of that name is removed, whoever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member, or empty.
    pub member: String,
    /// Its static id.
    pub instance: Option<String>,
}
