//! A cluster that there is not, for tests: three nodes, of which the first is asked.

use crate::{Context, Directory};
use broker::cluster::Advertised;
use broker::members::{Member, NodeState};
use broker::request::{PartitionInfo, PartitionRef, TopicInfo, TopicRef};
use broker::{BrokerError, Members, Settings};
use gateway::Seats;
use model::config::StreamConfig;
use model::{LeaderEpoch, NodeId, ShardId, TopicId, limit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a test says that the cluster is.
pub(crate) struct Fake {
    pub(crate) members: Members,
    /// Of every group whose name is not empty; nobody is known otherwise.
    pub(crate) coordinator: Option<NodeId>,
    /// By topic and partition.
    pub(crate) leaders: BTreeMap<(TopicRef, u32), (Option<NodeId>, LeaderEpoch)>,
    /// Who is nearest to whoever is in the rack of that name and reads the partition of that number.
    pub(crate) nearest: BTreeMap<(&'static str, u32), NodeId>,
    pub(crate) cut_off: bool,
}

/// A node that Kafka's clients reach at `node-N:909N`.
fn member(node: u64) -> Member {
    let (host, port) = (format!("node-{node}"), 9090 + node as u16);
    Member {
        node: NodeId(node),
        state: NodeState::Active,
        rack: Some(format!("rack-{node}")),
        version: 2,
        peer: Some((host.clone(), 9190)),
        endpoints: vec![
            Advertised { protocol: "http".to_owned(), host: host.clone(), port: 8080 },
            Advertised { protocol: "kafka".to_owned(), host, port },
        ],
    }
}

/// A topic with partitions that node 1 leads and nobody else has.
pub(crate) fn topic(name: &str, partitions: usize) -> TopicInfo {
    let (me, epoch) = (NodeId(1), Some(LeaderEpoch(0)));
    let (replicas, in_sync, offline) = (vec![me], vec![me], Vec::new());
    let (shard, older_shard, moving_to) = (Some(ShardId(1)), None, None);
    let leader = Some(me);
    let partition = PartitionInfo { leader, epoch, replicas, in_sync, offline, shard, older_shard, moving_to };
    TopicInfo {
        name: name.to_owned(),
        id: TopicId::default(),
        config: StreamConfig::default(),
        settings: Settings::default(),
        partitions: vec![partition; partitions],
    }
}

impl Fake {
    /// Nodes 1, 2 and 3; the second leads the catalog, the third coordinates groups and leads partition 0 of
    /// `elsewhere` in epoch 7. Of partition 1 nobody knows who leads it; in rack 2 it is read from the second.
    pub(crate) fn three() -> Self {
        let nodes = (1..=3).map(member).collect();
        let partition = |nth| (TopicRef::Name("elsewhere".to_owned()), nth);
        Fake {
            members: Members { me: NodeId(1), version: 2, controller: Some(NodeId(2)), nodes },
            coordinator: Some(NodeId(3)),
            leaders: [(partition(0), (Some(NodeId(3)), LeaderEpoch(7))), (partition(1), (None, LeaderEpoch(7)))].into(),
            nearest: BTreeMap::from([(("rack-2", 1), NodeId(2))]),
            cut_off: false,
        }
    }

    /// One node that has told nobody where it is.
    pub(crate) fn alone() -> Self {
        let mut fake = Fake::three();
        fake.members.nodes.truncate(1);
        fake.members.nodes[0].endpoints.clear();
        (fake.members.controller, fake.coordinator) = (Some(NodeId(1)), Some(NodeId(1)));
        fake.leaders.clear();
        fake
    }

    /// The node of this id.
    pub(crate) fn node(&mut self, node: u64) -> &mut Member {
        self.members.nodes.iter_mut().find(|member| member.node == NodeId(node)).unwrap()
    }

    /// What a session of node 1 knows, whose client reached it at `reached:1`.
    pub(crate) fn context(self) -> Context {
        Context {
            node: NodeId(1),
            cluster: 0,
            host: "reached".to_owned(),
            port: 1,
            client: "there".to_owned(),
            idle: Duration::from_secs(600),
            random: || 0,
            fetch_places: Seats::new(9),
            memory: broker::Memory::new(limit::MEMORY_BYTES_MIN),
            counters: Arc::new(crate::session::counters()),
            directory: Arc::new(self),
        }
    }
}

impl Directory for Fake {
    fn members(&self) -> Members {
        self.members.clone()
    }

    fn coordinator(&self, group: &str) -> Result<NodeId, BrokerError> {
        self.coordinator.filter(|_| !group.is_empty()).ok_or(BrokerError::NotLeader(None))
    }

    fn leader_epoch(&self, partition: &PartitionRef) -> Option<(Option<NodeId>, LeaderEpoch)> {
        self.leaders.get(&(partition.topic.clone(), partition.partition)).copied()
    }

    fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    fn nearest_replica(&self, partition: &PartitionRef, rack: &str) -> Option<NodeId> {
        self.nearest.get(&(rack, partition.partition)).copied()
    }
}
