//! Three replicas of the real shard under virtual time, over simulated disks and a simulated
//! network.
//!
//! One seed decides everything: the schedule, the network's delays and losses, what the disks do,
//! who is killed or loses power and when, what clients ask.
//!
//! - [`run`](mod@run) is the state of a run and its course, `trouble` what goes wrong in it, `shape`
//!   its sizes.
//! - `node` is hardware and the replica on it, `net` what it sends through.
//! - `client` is who asks, `record` what is written, `checker` what clients were told against what
//!   is there in the end, `losses` which acknowledgements from memory power loss may take, `states`
//!   the replicas' states against each other.
//! - `growth` makes three replicas of one, in a run that begins so.
//! - `keyed` is the same for compacted streams, which a run has when it is asked to.

pub(crate) mod checker;
pub(crate) mod client;
mod facts;
mod growth;
mod keyed;
pub(crate) mod losses;
mod net;
mod node;
pub(crate) mod record;
pub mod run;
mod shape;
pub(crate) mod states;
mod trouble;

pub use facts::Facts;
pub use run::{Plan, run};

use model::StreamId;

/// Streams with odd numbers promise that what is acknowledged is on stable storage.
fn is_durable(stream: StreamId) -> bool {
    stream.0 % 2 == 1
}
