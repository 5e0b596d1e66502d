//! Faults that a test build can switch on in a machine, to prove that the simulator would notice them. They are part of
//! what every replica does, so no comparison of states shows them.
//!
//! Without the feature `canary` none can be switched on, and asking for one is a constant.

/// A known fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A stream that moves goes on where it was, too.
    UnfencedMove,
    /// A stream that moves leaves behind what it knows of its producers.
    ForgetfulMove,
    /// Trimming takes one record more than it was asked to.
    TrimTooFar,
    /// A producer goes on although another instance of it has begun.
    UnfencedProducer,
}
