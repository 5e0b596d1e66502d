//! What all connections of a node share.

use crate::counters::Counters;
use crate::options::Options;
use model::NodeId;

pub(crate) struct Node {
    pub(crate) me: NodeId,
    pub(crate) cluster: u128,
    pub(crate) options: Options,
    pub(crate) counters: Counters,
}
