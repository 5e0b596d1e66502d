//! How nodes are replaced by new ones with empty disks: one that is emptied first, or one that has burnt down.

use super::node::Node;
use super::run::Run;
use crate::time::now;
use broker::BrokerError;
use broker::members::NodeState;
use model::NodeId;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::time::Duration;

/// How long a node that is emptied is waited for before other things happen, and one that has burnt down at most.
const PATIENCE: Duration = Duration::from_secs(20);
const BURNT_PATIENCE: Duration = Duration::from_secs(90);
/// How long a try to remove a node may take, and how long the pause in between is.
const TRY: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(300);
/// In how many of a hundred cases a node burns down, if the cluster can lose one.
const BURNS_PERCENT: u64 = 40;

impl Run {
    /// A node goes for ever, and a new one comes. One at a time, and not before all have joined.
    pub(super) async fn replace(&mut self, victim: usize) -> Result<(), String> {
        let Some(leaver) = self.nodes[victim].id() else { return Ok(()) };
        if self.begun < self.nodes.len() || self.leaving.is_some() {
            return Ok(());
        }
        let burns = self.rng.percent(BURNS_PERCENT) && self.can_lose_one();
        self.leaving = Some(leaver);
        self.most_nodes = self.most_nodes.max(self.nodes.len() + 1);
        if burns {
            self.burn(victim).await;
        }
        self.place += 1;
        self.nodes.push(Node::new(self.place, self.ground.clone(), self.rng.fork()));
        self.start(self.nodes.len() - 1);
        if !self.set_state(leaver, NodeState::Draining).await && burns {
            return Err(format!("{leaver} has burnt down, and nobody takes note of it"));
        }
        let pause = self.moment(2_000);
        SimRuntime::sleep(pause).await;
        if self.rng.percent(50) {
            // Where one node is gone, no other loses what it had in memory.
            let (other, power, pause) = (self.anyone(), !burns && self.rng.percent(40), self.moment(1_000));
            self.down(other, power, pause).await;
        }
        let patience = if burns { BURNT_PATIENCE } else { PATIENCE };
        if !self.remove_leaver(patience).await? && burns {
            return Err(format!("{leaver} has burnt down, and cannot be removed"));
        }
        Ok(())
    }

    /// Whether everything that was acknowledged is on two nodes besides any one, or on the stable storage of one.
    fn can_lose_one(&self) -> bool {
        let brokers = self.brokers();
        let all = || brokers.iter().flat_map(broker::Broker::shards);
        let is_sound = |id| {
            let leader = all().find(|shard| shard.id() == id && shard.leading().is_ok());
            leader.is_some_and(|leader| {
                let membership = leader.membership();
                !membership.is_joint() && membership.voters.iter().all(|voters| voters.len() >= 3)
            })
        };
        self.has_grown
            && brokers.len() == self.nodes.len()
            && !all().any(|shard| shard.is_in_doubt())
            && self.shards().into_iter().all(is_sound)
    }

    /// A node is gone, and so are its disks.
    async fn burn(&mut self, victim: usize) {
        let mut node = self.nodes.remove(victim);
        self.begun -= 1;
        self.note(format_args!("h{} burns down", node.place));
        node.end().await;
        if let Some(id) = node.id() {
            self.scene.book.lock().records.losses.add(id, Duration::ZERO, now());
        }
        self.outcome.tally.add(&node.hardware.tally());
        self.scene.facts.lock().burnt_down += 1;
    }

    /// Removes the node that leaves as soon as nobody needs it. Returns whether none leaves any more.
    pub(super) async fn remove_leaver(&mut self, patience: Duration) -> Result<bool, String> {
        let Some(leaver) = self.leaving else { return Ok(true) };
        let deadline = now() + patience;
        while now() < deadline {
            self.look().await?;
            let brokers = self.brokers();
            if let Some(broker) = self.rng.pick(&brokers).cloned() {
                let removing = broker.set_node_state(leaver, NodeState::Removed);
                match SimRuntime::timeout(TRY, removing).await {
                    Ok(Ok(())) => {
                        self.note(format_args!("{leaver} is removed by {}", broker.node()));
                        self.retire(leaver).await;
                        return Ok(true);
                    }
                    Ok(Err(BrokerError::UnknownNode)) => {
                        return Err(format!("{} does not know {leaver}", broker.node()));
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            SimRuntime::sleep(AGAIN).await;
        }
        Ok(false)
    }

    /// A node that was removed goes, if it is there still.
    async fn retire(&mut self, leaver: NodeId) {
        self.scene.facts.lock().replaced += 1;
        if let Some(nth) = self.nodes.iter().position(|node| node.id() == Some(leaver)) {
            // It may not have heard yet.
            let pause = self.moment(1_500);
            SimRuntime::sleep(pause).await;
            let mut node = self.nodes.remove(nth);
            self.begun -= 1;
            if self.rng.percent(50) {
                node.stop().await;
            } else {
                node.end().await;
            }
            self.outcome.tally.add(&node.hardware.tally());
        }
        self.leaving = None;
    }
}
