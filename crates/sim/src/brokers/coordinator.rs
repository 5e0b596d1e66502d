//! Whom a client takes for the coordinator of a group.

use super::caller::{Caller, Door};
use broker::BrokerError;
use broker::group::GroupError;
use model::NodeId;

/// In how many of a hundred cases a client asks anybody although it knows whom to ask.
const ASTRAY_PERCENT: u64 = 4;

/// See the module's documentation.
pub(super) struct Coordinator {
    group: String,
    node: Option<NodeId>,
}

impl Coordinator {
    pub(super) fn of(group: &str) -> Self {
        Coordinator { group: group.to_owned(), node: None }
    }

    /// The way there, as anybody knows it.
    pub(super) fn door(&mut self, caller: &mut Caller) -> Option<Door> {
        let anybody = caller.anybody()?;
        if caller.rng.percent(ASTRAY_PERCENT) {
            return Some(anybody);
        }
        if let Some(known) = self.node.and_then(|node| caller.door(node)) {
            return Some(known);
        }
        let node = anybody.broker.coordinator(&self.group).ok()?;
        self.node = Some(node);
        caller.door(node)
    }

    /// Heeds what was said about who it is.
    pub(super) fn heed(&mut self, error: &BrokerError) {
        self.node = match error {
            BrokerError::NotLeader(leader) => *leader,
            BrokerError::Group(GroupError::CoordinatorMoved(leader)) => Some(*leader),
            _ => None,
        };
    }

    pub(super) fn forget(&mut self) {
        self.node = None;
    }
}
