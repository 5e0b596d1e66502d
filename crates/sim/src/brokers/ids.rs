//! What must never be given twice: numbers of nodes, and of producers.

use model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Who has which number, by what was drawn when its folder was made.
    nodes: BTreeMap<u128, NodeId>,
    producers: BTreeSet<u64>,
}

impl Ids {
    /// A node was given a number.
    pub(super) fn node(&mut self, incarnation: u128, node: NodeId) -> Result<(), String> {
        let taken = self.nodes.iter().any(|(other, given)| *other != incarnation && *given == node);
        match self.nodes.insert(incarnation, node) {
            _ if taken => Err(format!("the number of {node} was given to another node, too")),
            Some(before) if before != node => Err(format!("{before} was given another number: {node}")),
            _ => Ok(()),
        }
    }

    /// A producer id was handed out.
    pub(super) fn producer(&mut self, id: u64) -> Result<(), String> {
        if self.producers.insert(id) { Ok(()) } else { Err(format!("producer id {id} was handed out twice")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_twice_is_told() {
        let mut ids = Ids::default();
        assert_eq!((ids.node(7, NodeId(2)), ids.node(7, NodeId(2)), ids.node(8, NodeId(3))), (Ok(()), Ok(()), Ok(())));
        assert!(ids.node(9, NodeId(3)).is_err(), "somebody else has it");
        assert!(ids.node(7, NodeId(4)).is_err(), "it has another one");
        assert!(ids.producer(1).is_ok() && ids.producer(2).is_ok() && ids.producer(1).is_err());
    }
}
