//! The classic consumer group coordinator: who is a member, of which generation, with what share.
//!
//! A state machine without I/O, clock or chance: requests, times and verdicts of the log go into a
//! [`Coordinator`], [`Output`]s come out. It behaves as Apache Kafka's classic coordinator does
//! (KIP-62, KIP-345, KIP-394, KIP-559, KIP-814), with one promise more: a generation is in the log
//! before any member hears of it, so a generation number never names two different memberships,
//! not even across a failover.
//!
//! Who is alive is this memory's business and starts afresh on a new leader. What follows from it
//! is [`stored`].
//!
//! Subscriptions and assignments are the members' own bytes; only whoever deletes offsets, or
//! shows a group to people, looks for topics in them ([`subscription`], [`assignment`]).
//! Start with [`request`], then `coordinator`, then `rebalance`.

pub mod assignment;
mod commit;
mod config;
mod coordinator;
mod durable;
mod error;
mod expiry;
#[allow(clippy::module_inception)]
mod group;
mod join;
mod leave;
mod member;
mod output;
mod rebalance;
pub mod reply;
pub mod request;
pub mod stored;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

pub use config::GroupConfig;
pub use coordinator::Coordinator;
pub use error::GroupError;
pub use expiry::Expirable;
pub use output::{Output, SaveNumber, Token};
pub use reply::{
    Description, GroupReply, GroupState, Joined, JoinedMember, LeftMember, ListedGroup, MemberDescription, Synced,
};
pub use request::{GroupRequest, JoinRequest, LeavingMember, MemberAssignment, Protocol, SyncRequest};

/// Whether bytes are a group in the log, or a subscription that names topics: for whoever throws bytes at it.
#[must_use]
pub fn is_readable(bytes: &[u8]) -> bool {
    stored::StoredGroup::from_bytes(bytes).is_ok() || !subscription::topics(bytes).is_empty()
}
