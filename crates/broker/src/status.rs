//! How the node's shards are: for health checks and metrics.

use crate::broker::Broker;
use journal::{Counters, Usage};
use machine::catalog::NodeState;
use model::{NodeId, ShardId};
use shard::{Copying, Role, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A replica that has said nothing for so long is not counted on.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// How a shard is.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// Whether this node leads it.
    pub leads: bool,
    /// Raft index applied.
    pub applied: u64,
    /// Bytes of files.
    pub disk_bytes: u64,
    /// What is alive and what finished files take, as last looked for.
    pub usage: Usage,
    /// How far the clocks of most replicas are ahead of this node's, in milliseconds.
    pub clock_offset_millis: i64,
    /// Whether this replica may have forgotten what it acknowledged.
    pub in_doubt: bool,
    /// Ranges on this node's disk that are known to be damaged.
    pub damaged: u64,
    /// How far this replica is with a snapshot that it copies.
    pub copying: Option<Copying>,
    /// Streams in it.
    pub streams: u64,
    /// The journal's counters.
    pub counters: Arc<Counters>,
}

impl Broker {
    /// How every shard is.
    #[must_use]
    pub fn status(&self) -> Vec<ShardStatus> {
        self.shards()
            .into_iter()
            .map(|shard| ShardStatus {
                shard: shard.id(),
                leads: shard.role() == Role::Leader,
                applied: shard.journal().applied(),
                disk_bytes: shard.journal().disk_bytes(),
                usage: shard.journal().usage(),
                clock_offset_millis: shard.clock_offset_millis(),
                in_doubt: shard.is_in_doubt(),
                damaged: shard.journal().damage_count(),
                copying: shard.copying().get(&self.node()).copied(),
                streams: shard.machine().messaging.stream_count() as u64,
                counters: shard.journal().counters.clone(),
            })
            .collect()
    }

    /// A checksum of each shard's state as applied here: replicas that have applied the same entries have the same.
    /// While one is made, its shard applies nothing.
    pub async fn state_checksums(&self) -> BTreeMap<ShardId, u32> {
        let shards = self.shards();
        let checksums = move || shards.iter().map(|shard| (shard.id(), shard.machine().digest())).collect();
        self.inner.world.blocking(checksums).await.unwrap_or_default()
    }

    /// What keeps the node from serving, a sentence each; empty when it serves.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let state = self.inner.catalog().machine().catalog.node(self.node()).map(|node| node.state);
        if state == Some(NodeState::Removed) {
            problems.push("this node has been removed from the cluster".to_owned());
        }
        for shard in self.shards() {
            match shard.role() {
                Role::Leader if !has_majority(&shard, self.node()) => {
                    problems.push(format!("shard {} has no leader that most of its replicas hear", shard.id().0));
                }
                Role::Leader | Role::Follower(Some(_)) => {}
                Role::Follower(None) => problems.push(format!("shard {} has no leader", shard.id().0)),
                Role::Stopped => problems.push(format!("shard {} has stopped: see the log", shard.id().0)),
            }
            if shard.is_in_doubt() {
                problems.push(format!("shard {} is in doubt: acknowledged records may be missing here", shard.id().0));
            }
            if !shard.journal().has_room() {
                problems.push(format!("shard {} has no room on disk", shard.id().0));
            }
        }
        problems
    }
}
/// Whether most of a shard's replicas have confirmed lately that this node leads it. One that has just begun to is
/// taken at its word.
fn has_majority(shard: &Shard, me: NodeId) -> bool {
    let silences = shard.silences();
    let is_heard = |node: &NodeId| *node == me || silences.get(node).is_some_and(|silence| *silence <= SILENCE_MAX);
    let heard = |voters: &BTreeSet<NodeId>| voters.iter().filter(|node| is_heard(node)).count() > voters.len() / 2;
    shard.leading().is_err() || shard.membership().voters.iter().all(heard)
}
