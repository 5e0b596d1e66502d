//! Where the replicas of a shard are to be.

use crate::refusal::{Fault, Refusal};
use model::{NodeId, limit};
use std::collections::BTreeSet;

model::wire_struct! {
    /// Where the replicas of a shard are to be. Its Raft group is led there step by step: who votes today is
    /// the group's membership.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Placement {
        /// The nodes, none twice, 1 to [`limit::REPLICAS_MAX`].
        pub replicas: Vec<NodeId>,
        /// The one among them that should lead while all is well.
        pub preferred: NodeId,
        /// How often the shard was placed.
        pub revision: u64,
    }
}

impl Placement {
    /// Looks at what does not depend on the catalog.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let count = self.replicas.len();
        if !(1..=limit::REPLICAS_MAX).contains(&count) || self.replicas.iter().collect::<BTreeSet<_>>().len() < count {
            return Err(Refusal::Invalid(Fault::Replicas));
        }
        if !self.replicas.contains(&self.preferred) {
            return Err(Refusal::Invalid(Fault::Preferred));
        }
        Ok(())
    }
}
