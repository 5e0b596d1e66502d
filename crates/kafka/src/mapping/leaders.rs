//! What an answer says of those who lead what is not led here (KIP-951): a client goes there at once, without
//! asking for metadata first.

use super::Context;
use super::nodes::{Node, Nodes};
use broker::request::PartitionRef;
use model::NodeId;
use std::collections::BTreeMap;

/// The leaders that one answer names.
pub(super) struct Leaders<'a> {
    context: &'a Context,
    /// Looked up when the first is asked for: most answers name none.
    nodes: Option<Nodes>,
    named: BTreeMap<NodeId, Node>,
}

/// Who leads a partition, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) id: i32,
    pub(super) epoch: i32,
}

impl<'a> Leaders<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Leaders { context, nodes: None, named: BTreeMap::new() }
    }

    /// Who leads a partition, if it is known and clients can reach it.
    pub(super) fn find(&mut self, partition: &PartitionRef) -> Option<Leader> {
        let (leader, epoch) = self.context.directory.leader_epoch(partition)?;
        let leader = leader?;
        let nodes = self.nodes.get_or_insert_with(|| Nodes::of(self.context));
        let node = nodes.get(leader)?;
        self.named.entry(leader).or_insert_with(|| node.clone());
        Some(Leader { id: node.id, epoch: epoch.0 as i32 })
    }

    /// Where those are reached that were found, by id.
    pub(super) fn endpoints<E>(self, endpoint: impl Fn(Node) -> E) -> Vec<E> {
        self.named.into_values().map(endpoint).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use broker::request::TopicRef;

    fn partition(topic: &str, partition: u32) -> PartitionRef {
        PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition }
    }

    #[test]
    fn a_leader_is_named_with_its_place_and_once() {
        let context = Fake::three().context();
        let mut leaders = Leaders::new(&context);
        let leader = Some(Leader { id: 3, epoch: 7 });
        assert_eq!(leaders.find(&partition("elsewhere", 0)), leader);
        assert_eq!(leaders.find(&partition("elsewhere", 0)), leader);
        let places = leaders.endpoints(|node| (node.id, node.host.to_string(), node.port));
        assert_eq!(places, [(3, "node-3".to_owned(), 9093)]);
    }

    #[test]
    fn nobody_is_named_who_is_not_known_or_not_reachable() {
        let mut fake = Fake::three();
        fake.node(3).endpoints.clear();
        let context = fake.context();
        let mut leaders = Leaders::new(&context);
        for (topic, nth) in [("elsewhere", 0), ("elsewhere", 1), ("elsewhere", 2), ("gone", 0)] {
            assert_eq!(leaders.find(&partition(topic, nth)), None, "{topic}-{nth}");
        }
        assert!(leaders.endpoints(|node| node.id).is_empty());
    }
}
