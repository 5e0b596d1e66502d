//! What survives of a group: the bytes of `SaveGroup`.

use super::request::Protocol;
use bytes::Bytes;
use model::{Timestamp, Wire, WireError, limit};

model::wire_enum! {
    /// A group in the log. The tag is the format's version.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Stored {
        /// The first format.
        1 = V1 {
            /// The group.
            group: StoredGroup,
        },
    }
}

model::wire_struct! {
    /// A group at the beginning of a generation, or when its members got their assignments.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredGroup {
        /// The generation; 0 before the first.
        pub generation: i32,
        /// Kind of group.
        pub protocol_type: Option<String>,
        /// The protocol of the generation.
        pub protocol: Option<String>,
        /// The member that leads the generation.
        pub leader: Option<String>,
        /// How far the generation has come.
        pub phase: StoredPhase,
        /// The members of the generation, by id.
        pub members: Vec<StoredMember>,
    }
}

model::wire_enum! {
    /// How far a generation has come. A group that rebalances is stored as the generation before.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StoredPhase {
        /// There are no members.
        1 = Empty {
            /// Since when.
            since: Timestamp,
        },
        /// The leader has yet to assign.
        2 = Completing,
        /// The members have their assignments.
        3 = Stable,
    }
}

model::wire_struct! {
    /// A member. All its protocols are kept, not only the chosen one as in Kafka, so that a member
    /// that joins again after a failover is seen to be unchanged.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredMember {
        /// The member.
        pub id: String,
        /// Its static id.
        pub instance: Option<String>,
        /// Name that the client gives itself.
        pub client_id: String,
        /// Where the client is.
        pub client_host: String,
        /// In milliseconds.
        pub session_timeout: u64,
        /// In milliseconds.
        pub rebalance_timeout: u64,
        /// What it supports, best first.
        pub protocols: Vec<Protocol>,
        /// What the leader gave it.
        pub assignment: Bytes,
    }
}

/// Bytes of one text a member brings: Kafka's limit for a string.
pub(super) const TEXT_BYTES_MAX: usize = i16::MAX as usize;
/// Bytes of all members of a group without their assignments.
pub(super) const MEMBERS_BYTES_MAX: usize = limit::GROUP_BYTES_MAX / 8 * 5;
/// Bytes of all assignments of a group.
pub(super) const ASSIGNMENTS_BYTES_MAX: usize = limit::GROUP_BYTES_MAX / 4;
/// More bytes than the fields of a group take that are no member's, which hold three texts.
const HEAD_BYTES_MAX: usize = 4 * (TEXT_BYTES_MAX + 1);
/// More bytes than counts, lengths, options and numbers of a member take, for each member and each
/// of its protocols.
const FIXED_BYTES_MAX: usize = 64;

const _: () = assert!(HEAD_BYTES_MAX + MEMBERS_BYTES_MAX + ASSIGNMENTS_BYTES_MAX <= limit::GROUP_BYTES_MAX);

impl StoredMember {
    /// A bound of the bytes it takes without its assignment.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.id, &self.client_id, &self.client_host].map(String::len).iter().sum::<usize>();
        let instance = self.instance.as_ref().map_or(0, String::len);
        let protocols = self.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len());
        FIXED_BYTES_MAX + texts + instance + protocols.map(|bytes| bytes + FIXED_BYTES_MAX).sum::<usize>()
    }

    /// What it said about itself under `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|offered| offered.name == protocol);
        found.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }
}

impl StoredGroup {
    /// The bytes for the log.
    pub(super) fn into_bytes(self) -> Bytes {
        let bytes = Bytes::from(Stored::V1 { group: self }.to_wire());
        debug_assert!(bytes.len() <= limit::GROUP_BYTES_MAX, "the bounds of its parts bound the group");
        bytes
    }

    /// A group from the log.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<StoredGroup, WireError> {
        let Stored::V1 { group } = Stored::from_wire(bytes)?;
        group.check()?;
        Ok(group)
    }

    /// What the rest of the coordinator takes for granted.
    fn check(&self) -> Result<(), WireError> {
        let believe = |fact: bool, what| if fact { Ok(()) } else { Err(WireError::Invalid(what)) };
        let empty = matches!(self.phase, StoredPhase::Empty { .. });
        believe(self.generation >= 0, "a group's generation is negative")?;
        believe(empty == self.members.is_empty(), "a group is empty and has members, or neither")?;
        believe(self.members.is_sorted_by(|a, b| a.id < b.id), "a group's members are not in order")?;
        let mut instances: Vec<_> = self.members.iter().filter_map(|member| member.instance.as_deref()).collect();
        instances.sort_unstable();
        believe(instances.is_sorted_by(|a, b| a < b), "two members of a group share a static id")?;
        if empty {
            return Ok(());
        }
        let leader = self.leader.as_deref();
        believe(self.protocol_type.is_some(), "a group with members has no protocol type")?;
        believe(self.members.iter().any(|member| Some(member.id.as_str()) == leader), "a group's leader is no member")?;
        let shared =
            |member: &StoredMember| member.protocols.iter().any(|offer| Some(&offer.name) == self.protocol.as_ref());
        believe(self.members.iter().all(shared), "a member does not support its group's protocol")
    }
}
