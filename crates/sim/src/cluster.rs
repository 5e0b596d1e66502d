//! Three replicas of the real shard under virtual time, over simulated disks and a simulated
//! network.
//!
//! One seed decides everything: the schedule, the network's delays and losses, what the disks do,
//! who is killed or loses power and when, what clients ask. Start with [`run`].

mod checker;
mod client;
mod net;
mod node;
pub mod run;

pub use run::{Outcome, Plan, run};
