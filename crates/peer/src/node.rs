//! What all connections of a node share.

use crate::codec::greeting::SECRET_BYTES;
use crate::counters::Counters;
use crate::options::Options;
use model::NodeId;

pub(crate) struct Node {
    pub(crate) me: NodeId,
    pub(crate) cluster: u128,
    pub(crate) options: Options,
    pub(crate) counters: Counters,
}

impl Node {
    /// What the other side of a new connection has to prove with; zeros where the cluster has no secret.
    pub(crate) fn nonce(&self) -> [u8; SECRET_BYTES] {
        if self.options.secret.is_some() { rand::random() } else { [0; SECRET_BYTES] }
    }
}
