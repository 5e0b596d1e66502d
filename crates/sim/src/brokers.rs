//! Whole brokers under virtual time: a cluster that is founded, that nodes join, drain and come back to, and
//! whose clients go by what they are told.
//!
//! What runs is what a node runs but for its sockets, threads and files: the broker with its catalog, several
//! shards, their growth from one replica to three, forwarded commands, deliveries between shards. One seed
//! decides everything.
//!
//! - [`run`](mod@run) is the state of a run and its course, `trouble`, `joins`, `replacement` and `flips` what
//!   goes wrong in it, `settle` what has to be so in the end, `contents` what replicas have then, `racks` where they
//!   are, `shape` its sizes.
//! - `node` is hardware and the process on it, `process` what ends with it, `home` where it keeps what it must
//!   not forget, `net` what lies between nodes, `join` how one asks to be let in.
//! - `caller` asks as a client does, going by hints; `producer`, `reader`, `trimmer`, `mover`, `operator`, `group`,
//!   `member` and `register` are who does, the last three by way of a `coordinator`.
//! - What they were told is judged by `book`: records by what the shards' own campaign judges them by, `ends` and
//!   `starts` how far logs reach, `names` which topics there are, `positions` what groups committed, `generations`
//!   who was in them, `history` whether there is an order of what was done, `ids` what must never be given twice.

mod book;
mod caller;
mod contents;
mod coordinator;
mod ends;
mod facts;
mod flips;
mod generations;
mod group;
mod history;
mod home;
mod ids;
mod join;
mod joins;
mod logs;
mod member;
mod mover;
mod names;
mod net;
mod node;
mod operator;
mod positions;
mod process;
mod producer;
mod racks;
mod reader;
mod register;
mod replacement;
pub mod run;
mod settle;
mod shape;
mod starts;
mod trimmer;
mod trouble;

pub use facts::Facts;
pub use run::{Plan, run};
