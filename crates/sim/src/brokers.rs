//! Whole brokers under virtual time: a cluster that is founded, that nodes join, drain and come back to, and
//! whose clients go by what they are told.
//!
//! What runs is what a node runs but for its sockets, threads and files: the broker with its catalog, several
//! shards, their growth from one replica to three, forwarded commands, deliveries between shards. One seed
//! decides everything.
//!
//! - [`run`](mod@run) is the state of a run and its course, `trouble` and `joins` what goes wrong in it,
//!   `settle` what has to be so in the end, `racks` where replicas are then, `shape` its sizes.
//! - `node` is hardware and the process on it, `process` what ends with it, `home` where it keeps what it must
//!   not forget, `net` what lies between nodes, `join` how one asks to be let in.
//! - `caller` asks as a client does, going by hints; `producer`, `reader`, `group` and `operator` are who does.
//! - What they were told is judged by `book`: records by what the shards' own campaign judges them by, `ends`
//!   how far logs reach, `names` which topics there are, `positions` what groups committed, `ids` what must
//!   never be given twice.

mod book;
mod caller;
mod ends;
mod facts;
mod group;
mod home;
mod ids;
mod join;
mod joins;
mod logs;
mod names;
mod net;
mod node;
mod operator;
mod positions;
mod process;
mod producer;
mod racks;
mod reader;
pub mod run;
mod settle;
mod shape;
mod trouble;

pub use facts::Facts;
pub use run::{Plan, run};
