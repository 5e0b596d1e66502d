//! Everything the product can do, for every protocol: names to streams to shards.
//!
//! [`request`] lists it on one screen. A protocol session turns frames into requests and replies
//! into frames; this crate resolves names, groups work by shard, waits where waiting is asked for,
//! and keeps what a node needs around its shards: the folder, deliveries between shards, consumer
//! group coordinators, the links to other nodes.
//!
//! It deliberately does not know any protocol, socket or frame; nor what consensus or the journal
//! do inside. Start with [`request`], then [`broker`].

mod alter;
mod append;
pub mod batches;
pub mod broker;
pub mod cluster;
mod defaults;
mod delivery;
#[cfg(test)]
#[path = "../../model/tests/golden/mod.rs"]
mod golden;

pub mod group;
mod group_answers;
pub mod group_usage;
mod groups;
mod hedge;
pub mod home;
pub mod identity;
mod lag;
mod links;
mod local_shard;
pub mod members;
pub mod memory;
mod moves;
pub mod node;
mod older;
mod read;
pub mod request;
mod roster;
pub mod setting;
mod shards;
mod sizes;
pub mod skip;
pub mod status;
mod topic_page;
mod topics;
pub mod traffic;
pub mod usage;
mod waiters;
pub mod world;

pub use broker::{Broker, Config, Parts, Pending};
pub use journal::{Chunk, FileRange, Slice};
pub use members::Members;
pub use memory::Memory;
pub use node::NodeError;
pub use request::{BrokerError, Reply, Request};
pub use setting::Settings;
pub use skip::{SkipError, skip_entries};
pub use status::ShardStatus;
