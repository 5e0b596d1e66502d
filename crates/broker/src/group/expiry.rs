//! Which offsets nobody needs any more: Kafka's `offsets.retention.minutes` (KIP-211).

use super::error::GroupError;
use super::group::{Group, Phase};
use super::member::Member;
use super::reply::GroupReply;
use super::subscription;
use model::Timestamp;
use std::collections::BTreeSet;

/// What of a group may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expirable {
    /// All offsets: the group has been without members for long enough.
    All,
    /// Offsets committed before this, if they are of none of these topics.
    Before {
        /// The time.
        time: Timestamp,
        /// The topics that members consume.
        subscribed: BTreeSet<String>,
    },
}

impl Group {
    /// What may be forgotten that was last needed before `time`.
    pub(super) fn expirable(&self, time: Timestamp) -> Option<Expirable> {
        let kind = self.protocol_type.as_deref();
        match self.phase {
            // A group of consumers outside of the group protocol: nobody knows who is there.
            Phase::Empty { .. } if kind.is_none_or(str::is_empty) => {
                Some(Expirable::Before { time, subscribed: BTreeSet::new() })
            }
            Phase::Empty { since } => (since <= time && self.pending.is_empty()).then_some(Expirable::All),
            // Others have offsets that nobody else can tell needed from not.
            Phase::Stable { .. } if kind == Some(subscription::CONSUMER) => {
                Some(Expirable::Before { time, subscribed: self.subscribed() })
            }
            _ => None,
        }
    }

    /// Of which topics offsets may not be deleted now.
    pub(super) fn check_delete(&self) -> Result<GroupReply, GroupError> {
        match self.phase {
            Phase::Dead { .. } => Err(GroupError::GroupIdNotFound),
            Phase::Empty { .. } => Ok(GroupReply::MayDelete { subscribed: BTreeSet::new() }),
            _ if self.protocol_type.as_deref() == Some(subscription::CONSUMER) => {
                Ok(GroupReply::MayDelete { subscribed: self.subscribed() })
            }
            _ => Err(GroupError::NonEmpty),
        }
    }

    /// The topics that any member names under any protocol.
    fn subscribed(&self) -> BTreeSet<String> {
        let said = |member: &Member| {
            let protocols = member.kept.protocols.iter();
            protocols.flat_map(|protocol| subscription::topics(&protocol.metadata)).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(said).collect()
    }
}
