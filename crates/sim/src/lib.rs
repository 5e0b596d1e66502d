//! The simulator: the real journal, the real shard and whole brokers over a disk and a network that lose,
//! tear, reorder and refuse, as a seed says.
//!
//! Its checkers share no code with what they check. A checker counts only when a canary, a build
//! with a known fault, shows that it would notice.
//!
//! Start with [`disk`] (the hardware), then [`journal_run`] (one journal, no consensus), then `net`, and
//! [`cluster`] (three replicas and clients) and [`brokers`] (nodes that are founded, join and leave, with
//! several shards, and clients that ask any of them). What comes of a run of these two is an [`outcome`], of
//! many a [`campaign`]. [`queue_run`] asks whether the disk is given back.

pub mod brokers;
pub mod campaign;
pub mod cluster;
pub mod disk;
pub mod facts;
pub mod journal_run;
mod life;
mod net;
pub mod outcome;
pub mod pace;
mod panics;
pub mod queue_run;
pub mod rng;
mod time;
pub mod trace;
mod upkeep;
