//! Who is where in the cluster: what sessions need to know to send a client to another node.

use broker::request::PartitionRef;
use broker::{Broker, BrokerError, Members};
use model::{LeaderEpoch, NodeId};

/// The cluster, as the node at hand knows it. Nothing here waits.
pub trait Directory: Send + Sync {
    /// Who is in the cluster.
    fn members(&self) -> Members;

    /// Who coordinates a consumer group.
    ///
    /// # Errors
    /// `NotLeader` when nobody is known to.
    fn coordinator(&self, group: &str) -> Result<NodeId, BrokerError>;

    /// Who leads a partition, as far as is known, and in which epoch.
    fn leader_epoch(&self, partition: &PartitionRef) -> Option<(Option<NodeId>, LeaderEpoch)>;

    /// Whether others may know better, because this node hears of nobody who leads.
    fn is_cut_off(&self) -> bool;

    /// Who had better be read by a consumer in a rack, if this node leads the partition and another is nearer.
    fn nearest_replica(&self, partition: &PartitionRef, rack: &str) -> Option<NodeId>;
}

impl Directory for Broker {
    fn members(&self) -> Members {
        Broker::members(self)
    }

    fn coordinator(&self, group: &str) -> Result<NodeId, BrokerError> {
        Broker::coordinator(self, group)
    }

    fn leader_epoch(&self, partition: &PartitionRef) -> Option<(Option<NodeId>, LeaderEpoch)> {
        Broker::leader_epoch(self, partition)
    }

    fn is_cut_off(&self) -> bool {
        Broker::is_cut_off(self)
    }

    fn nearest_replica(&self, partition: &PartitionRef, rack: &str) -> Option<NodeId> {
        Broker::nearest_replica(self, partition, rack)
    }
}
