//! What holds for every sequence of entries, tried with many.
//!
//! `replica`: the same entries make the same state, with and without restarts. `leader`: what a
//! sequencer promises is what the log does, through lost leaders, against a model of its own.
//! `surprise`: when its guesses prove wrong, nothing is lost or doubled. `catalog`: what it says of nodes, shards
//! and slots fits together. `reply`: answers survive the way between nodes. `garbage`: no bytes panic.

mod piece;
mod property;
