//! What has to be so in the end, when everything works again and nobody asks for anything any more.

use super::contents::{Contents, place_of, replicas_of};
use super::logs::TOPICS;
use super::names::Seen;
use super::operator::seen;
use super::racks;
use super::run::Run;
use crate::time::now;
use broker::members::{NodeState, ReplicaStatus};
use broker::request::TopicsQuery;
use broker::{Broker, Reply, Request};
use model::{NodeId, ShardId};
use openraft_rt_sim::SimRuntime;
use shard::Shard;
use shard::runtime::Runtime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a cluster may take to become as it shall be.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often that is looked at.
const AGAIN: Duration = Duration::from_millis(500);
/// How many replicas a shard shall have, and of how many replicas of the catalog vote.
const REPLICATION: usize = 3;
const CATALOG_VOTERS: usize = 5;

impl Run {
    /// Waits until every shard is where the catalog wants it, everybody has what the others have, and nobody is in
    /// doubt.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        let deadline = now() + PATIENCE;
        loop {
            self.look().await?;
            self.remove_leaver(AGAIN).await?;
            self.have_all_active().await;
            let complaints = self.complaints();
            if complaints.is_empty() {
                self.note(format_args!("all is as it shall be"));
                let shape = self.shape;
                let mut facts = self.scene.facts.lock();
                facts.runs_of_seven += u64::from(shape.nodes == 7);
                // Some places for a shard are better than others.
                facts.runs_in_racks += u64::from(shape.racks > 1 && shape.nodes > 3);
                return Ok(());
            }
            if now() >= deadline {
                return Err(format!("the cluster does not settle: {}", complaints.join("; ")));
            }
            SimRuntime::sleep(AGAIN).await;
        }
    }

    /// Nodes that were drained take replicas again.
    async fn have_all_active(&mut self) {
        let Some(broker) = self.brokers().into_iter().next() else { return };
        let members = broker.members().nodes;
        let leaving = self.leaving;
        let is_idle = |node, state| state == NodeState::Draining && Some(node) != leaving;
        for member in members.into_iter().filter(|member| is_idle(member.node, member.state)) {
            self.set_state(member.node, NodeState::Active).await;
        }
    }

    /// What is not as it shall be.
    fn complaints(&self) -> Vec<String> {
        let brokers = self.brokers();
        let mut wrong = Vec::new();
        if brokers.len() < self.nodes.len() {
            let down: Vec<String> = self
                .nodes
                .iter()
                .filter(|node| node.broker().is_none())
                .map(|node| format!("h{}", node.place))
                .collect();
            return vec![format!("{} are not up", down.join(", "))];
        }
        let nodes: BTreeSet<NodeId> = brokers.iter().map(Broker::node).collect();
        if nodes.len() < brokers.len() {
            wrong.push(format!("there are {} nodes of {} numbers", brokers.len(), nodes.len()));
        }
        for broker in &brokers {
            let known: BTreeSet<NodeId> = broker.members().nodes.iter().map(|member| member.node).collect();
            if known != nodes {
                wrong.push(format!("{} knows of {known:?}, and there are {nodes:?}", broker.node()));
            }
            wrong.extend(broker.problems().into_iter().map(|problem| format!("{}: {problem}", broker.node())));
        }
        let replicas: BTreeMap<NodeId, Vec<ReplicaStatus>> =
            brokers.iter().map(|broker| (broker.node(), broker.replicas())).collect();
        let (shards, racks) = (shards_of(&brokers[0], &mut wrong), self.racks());
        // Each node is to have one to lead, and none goes with a node.
        let (least, most) =
            (nodes.len().max(self.shape.shards as usize), self.most_nodes.max(self.shape.shards as usize));
        if !(least..=most).contains(&(shards.len() - 1)) {
            wrong.push(format!("there are {shards:?} for {} nodes", nodes.len()));
        }
        for shard in shards {
            let placed = placed(&brokers[0], shard, &nodes);
            wrong.extend(complaints_of(shard, &placed, &nodes, &replicas));
            wrong.extend(racks::complaint(shard, &placed.replicas, &racks));
            let at: BTreeSet<_> =
                replicas_of(&brokers, shard).iter().map(Shard::applied).map(|at| (at.term, at.index)).collect();
            if at.len() > 1 {
                wrong.push(format!("{shard} is applied up to {at:?}"));
            }
        }
        wrong
    }

    /// Compares what clients were told of records with what every replica has.
    pub(super) fn compare_records(&mut self) {
        let brokers = self.brokers();
        let mut digests: BTreeMap<ShardId, BTreeMap<u32, Vec<NodeId>>> = BTreeMap::new();
        let mut wrong = Vec::new();
        for broker in &brokers {
            for shard in broker.shards() {
                // One that lags is told already, and has nothing to say about the others.
                let newest = replicas_of(&brokers, shard.id()).iter().map(Shard::applied).max();
                if Some(shard.applied()) == newest {
                    let digest = shard.machine().digest();
                    digests.entry(shard.id()).or_default().entry(digest).or_default().push(broker.node());
                }
            }
        }
        for (shard, digests) in digests.into_iter().filter(|(_, digests)| digests.len() > 1) {
            wrong.push(format!("the states of {shard} differ: {digests:?}"));
        }
        let mut split = 0;
        let logs = self.scene.logs.lock().all();
        let book = self.scene.book.lock();
        for log in logs {
            let place = brokers.iter().find_map(|broker| place_of(broker, log.topic, log.partition.partition));
            let Some((shard, stream)) = place else {
                wrong.push(format!("nobody knows where {:?} is", log.partition));
                continue;
            };
            let contents = Contents::of(&brokers, shard, stream);
            split += u64::from(contents.is_in_two);
            wrong.extend(contents.wrong);
            for (who, content) in contents.found {
                wrong.extend(book.records.compare(&who, log.key, &content));
            }
        }
        let (histories, unordered) = book.histories.judge();
        drop(book);
        wrong.extend(unordered);
        let mut facts = self.scene.facts.lock();
        (facts.logs_in_two_shards, facts.histories) = (split, histories);
        drop(facts);
        self.outcome.violations.extend(wrong);
    }

    /// Compares what nodes say of topics with what clients were told, and with each other.
    pub(super) async fn compare_nodes(&mut self) {
        let mut told: BTreeMap<BTreeMap<String, String>, Vec<NodeId>> = BTreeMap::new();
        for door in self.scene.doors.all() {
            let query = TopicsQuery { topics: None, create_missing: false };
            let Some(Reply::Topics(topics)) = door.ask(Request::Topics(query)).await else {
                self.outcome.violations.push(format!("{} does not say which topics there are", door.node));
                continue;
            };
            let topics: BTreeMap<String, Seen> =
                topics.into_iter().flatten().map(|info| (info.name.clone(), seen(&info))).collect();
            let mut book = self.scene.book.lock();
            let names = book.names.list();
            for name in &names {
                let outcome = book.names.check(name, topics.get(name).copied());
                book.note(format_args!("{} in the end:", door.node), outcome);
            }
            for name in topics.keys().filter(|name| !names.contains(name) && !TOPICS.contains(&name.as_str())) {
                book.note(format_args!("{} in the end:", door.node), Err(format!("nobody has made {name}")));
            }
            drop(book);
            let shown = topics.into_iter().map(|(name, seen)| (name, format!("{seen:?}"))).collect();
            told.entry(shown).or_default().push(door.node);
        }
        if told.len() > 1 {
            self.outcome.violations.push(format!("nodes know different topics: {told:?}"));
        }
    }
}

/// All shards that the catalog knows of, and what is wrong about them.
fn shards_of(broker: &Broker, wrong: &mut Vec<String>) -> BTreeSet<ShardId> {
    let catalog = broker.shards().into_iter().find(|shard| shard.id() == ShardId::CATALOG);
    let Some(catalog) = catalog else { return BTreeSet::new() };
    let machine = catalog.machine();
    let counted: BTreeSet<ShardId> = machine.catalog.shards().collect();
    let placed = machine.catalog.placements().map(|(shard, _)| shard);
    let placed: BTreeSet<ShardId> = placed.filter(|shard| *shard != ShardId::CATALOG).collect();
    let moving: Vec<_> = machine.catalog.moves().map(|(stream, _)| stream).collect();
    if !moving.is_empty() {
        wrong.push(format!("{moving:?} are on their way to other shards"));
    }
    if counted != placed {
        wrong.push(format!("{placed:?} are placed, and {counted:?} count"));
    }
    counted.into_iter().chain(placed).chain([ShardId::CATALOG]).collect()
}

/// Where a shard shall be, and which of these replicas vote.
struct Placed {
    replicas: BTreeSet<NodeId>,
    /// How many of them.
    voters: usize,
    complaint: Option<String>,
}

fn placed(broker: &Broker, shard: ShardId, nodes: &BTreeSet<NodeId>) -> Placed {
    let odd = |count: usize| if count % 2 == 1 { count } else { count.saturating_sub(1) };
    if shard == ShardId::CATALOG {
        // Every node has it.
        return Placed { replicas: nodes.clone(), voters: odd(nodes.len().min(CATALOG_VOTERS)), complaint: None };
    }
    let catalog = broker.shards().into_iter().find(|shard| shard.id() == ShardId::CATALOG);
    let replicas: BTreeSet<NodeId> = catalog
        .and_then(|catalog| {
            let machine = catalog.machine();
            machine.catalog.placement(shard).map(|placement| placement.replicas.iter().copied().collect())
        })
        .unwrap_or_default();
    let complaint = (replicas.len() != REPLICATION || !replicas.is_subset(nodes))
        .then(|| format!("{shard} is placed on {replicas:?} of {nodes:?}"));
    Placed { voters: odd(replicas.len()), replicas, complaint }
}

fn complaints_of(
    shard: ShardId,
    placed: &Placed,
    nodes: &BTreeSet<NodeId>,
    replicas: &BTreeMap<NodeId, Vec<ReplicaStatus>>,
) -> Vec<String> {
    let mut wrong: Vec<String> = placed.complaint.iter().cloned().collect();
    let mut memberships = BTreeSet::new();
    for node in nodes {
        let status = replicas.get(node).and_then(|all| all.iter().find(|status| status.shard == shard));
        match status {
            None if placed.replicas.contains(node) => wrong.push(format!("{node} has no {shard}")),
            Some(_) if !placed.replicas.contains(node) => wrong.push(format!("{node} has {shard} still")),
            None => {}
            Some(status) => {
                memberships.insert((status.voters.clone(), status.learners.clone(), status.joint));
                if status.leader.is_none() {
                    wrong.push(format!("{node} knows of nobody who leads {shard}"));
                }
            }
        }
    }
    for (voters, learners, joint) in &memberships {
        let all: BTreeSet<NodeId> = voters.iter().chain(learners).copied().collect();
        if *joint || voters.len() != placed.voters || all != placed.replicas {
            wrong.push(format!("of {shard}, {voters:?} vote and {learners:?} follow, joint: {joint}"));
        }
    }
    if memberships.len() > 1 {
        wrong.push(format!("{shard} is known to have different members: {memberships:?}"));
    }
    wrong
}
