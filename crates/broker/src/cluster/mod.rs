//! The node among other nodes: being let in, who has which shard, and asking whoever leads one.
//!
//! The catalog says which nodes there are and where each shard's replicas shall be; the leader of a
//! shard changes its membership until they are there. What is to be done next is decided in [`plan`],
//! which is pure; [`driver`] does it, one step at a time. What goes elsewhere because of load is decided
//! in [`exchange`] and [`shed`], and [`spreader`] has it go. Nodes ask each other in the words of
//! [`call`], which [`desk`] answers. [`forward`] hands commands to the node that leads, and [`errand`] what
//! clients want of it.

pub(crate) mod address;
pub mod call;
mod config;
pub mod desk;
pub(crate) mod driver;
mod election;
pub(crate) mod entrance;
pub(crate) mod epochs;
pub mod errand;
pub mod exchange;
mod forward;
pub(crate) mod leaders;
pub(crate) mod load;
pub mod network;
pub mod plan;
pub(crate) mod reach;
pub mod shed;
pub(crate) mod spreader;
pub(crate) mod standing;
pub mod streak;

pub use config::{Advertised, ClusterConfig};
pub use peer::{Counts as PeerCounts, Refusal as PeerRefusal, Secret, Tls};
