//! Frames and connections between the nodes of a cluster.
//!
//! A node calls another with opaque bytes and gets opaque bytes back. A call names a `channel`, a
//! number whose meaning is the caller's, and a [`Lane`], so that heartbeats and votes never wait
//! behind bulk. This crate moves the bytes in order, bounds what may be under way, notices the dead
//! and comes back to them. It deliberately does not know what a shard is, what a payload says, or
//! when a call is worth repeating; it says whether a failed call may have been carried out
//! ([`PeerError::may_have_happened`]).
//!
//! Each node dials its own connections and only the dialling side sends requests, so a pair of nodes
//! that call each other holds two connections per lane. That costs a few sockets and saves the
//! question of whose connection survives when both dial at once; and whoever dials in under a false
//! name cannot make us send it anything.
//!
//! Start with [`peers`], then follow a call: `link` queues it, `outbound` sends it, `inbound`
//! hands it to the [`Handler`]. The bytes are drawn in docs/formats/peer.md and read in [`codec`].

pub mod codec;
pub mod counters;
pub mod error;
pub mod handler;
pub mod lane;
pub mod limit;
pub mod options;
pub mod peers;
pub mod refusal;
pub mod rejection;

mod backoff;
mod call;
mod end;
mod handshake;
mod inbound;
mod input;
mod link;
mod listener;
mod mistrust;
mod node;
mod node_verifier;
mod outbound;
mod output;
mod pulse;
mod seats;
mod secret;
mod stream;
pub mod tls;

pub use call::Reply;
pub use codec::answer::Verdict;
pub use counters::Counts;
pub use error::{NotSent, PeerError};
pub use handler::Handler;
pub use handshake::{Identity, identify};
pub use lane::Lane;
pub use mistrust::Mistrust;
pub use options::Options;
pub use peers::Peers;
pub use refusal::Refusal;
pub use rejection::{Rejection, RejectionCode};
pub use secret::Secret;
pub use tls::{Tls, TlsError};
