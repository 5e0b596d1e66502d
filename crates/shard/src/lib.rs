//! One replica of a shard: journal and machine under consensus.
//!
//! openraft decides the order, the journal keeps it, the machine applies it. This crate is where
//! the three meet, and the only one that knows openraft: nothing of it is in the public face but the
//! runtime it runs on ([`runtime`]). That face is [`shard::Shard`]: propose, look at the state, role, membership.
//!
//! It deliberately does not know names, protocols, sockets or the operating system: the world
//! reaches it through [`environment::Environment`] and a [`raft::Runtime`], so that the simulator
//! can run it under virtual time.
//!
//! Start with [`shard`], then [`batcher`] (the way in), [`apply`] (the way out) and `store` (what
//! openraft may rely on).

pub mod apply;
mod bandwidth;
pub mod batcher;
mod candidacy;
mod census;
mod compaction;
mod consensus;
mod door;
mod doubt;
pub mod environment;
mod handover;
mod hearing;
mod housekeeping;
mod leadership;
mod lease;
pub mod liveness;
pub mod membership;
mod network;
mod permits;
mod pull;
mod purges;
pub mod raft;
mod receiver;
mod repair;
mod replica;
pub mod retention;
mod rpc;
pub mod shard;
mod skew;
pub mod snapshot;
mod spoil;
mod store;
mod takeover;
pub mod transport;

pub use bandwidth::{Bandwidth, Pace};
pub use batcher::{Answer, ProposeError, Request};
pub use environment::{CatchUp, Environment, Upkeep};
pub use membership::{Membership, MembershipError};
pub use pull::Copying;
/// What a shard runs on: tokio, or the simulator's virtual time.
pub mod runtime {
    pub use openraft::TokioRuntime as Tokio;
    pub use openraft::async_runtime::{AsyncRuntime as Runtime, Instant};
}
pub use raft::Runtime;
pub use replica::RestoreError;
pub use rpc::is_readable;
pub use shard::{Role, Shard, StartError};
pub use transport::{Alone, Lane, Transport, TransportError};
