//! Whole brokers in one process, each with a folder of its own, over TCP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod elections;
mod errands;
mod forming;
mod founding;
mod identity;
mod moving;
mod nodes;
mod racks;
