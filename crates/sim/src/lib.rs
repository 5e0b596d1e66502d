//! The simulator: the real journal, and later the real shard, over a disk and a network that lose,
//! tear, reorder and refuse, as a seed says.
//!
//! Its checkers share no code with what they check. A checker counts only when a canary, a build
//! with a known fault, shows that it would notice.
//!
//! Start with [`disk`] (the hardware), then [`journal_run`] (one journal, no consensus), then
//! [`campaign`] (many seeds, and the ones kept as regressions).

pub mod campaign;
pub mod cluster;
pub mod disk;
pub mod journal_run;
pub mod rng;
pub mod trace;
