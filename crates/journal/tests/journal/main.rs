//! The journal on a real folder, its writer driven by hand.
//!
//! What only power loss can show is judged by the simulator; here are the paths that a restart of
//! the process takes, and the answers to reads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cold_pages;
mod compaction;
mod damage;
mod fixture;
mod formats;
mod install;
mod log;
mod pieces;
mod reclaim;
mod residency;
