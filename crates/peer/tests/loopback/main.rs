//! Nodes in one process that talk over loopback, and programs that only pretend to be nodes.
//!
//! Tests wait for something to happen, and [`node::within`] fails them when it does not. Only where
//! time itself is what is tested do they sleep.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod handshake;
mod hostile;
mod lanes;
mod node;
mod ordering;
mod pressure;
mod reconnect;
mod silence;
mod stop;
mod stranger;
mod tls;
