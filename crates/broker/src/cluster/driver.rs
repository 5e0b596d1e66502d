//! Does what [`super::plan`] says, one step of each shard at a time, for the shards this node leads.
//!
//! It decides nothing itself. Whatever fails is planned again from what is then the case.

use super::call::NodeCall;
use super::entrance::endpoints;
use super::network::Network;
use super::plan::{self, Known, Move, Step};
use super::standing::{Standing, is_heard};
use crate::broker::Inner;
use crate::world::{Moment, World};
use bytes::Bytes;
use futures::FutureExt;
use journal::canary::Fault;
use machine::catalog::{Endpoint, Node, NodeState};
use machine::machine::VERSION_MAX;
use machine::{Command, Refusal, Reply};
use model::wire::Wire;
use model::{NodeId, ShardId};
use shard::{MembershipError, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

/// Looked again after this even when nobody rang.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a step may take before it is left to itself. It is planned again if it did not come to be.
const PATIENCE: Duration = Duration::from_secs(5);
/// A leader hands over to the node that is preferred when it has led, and that one has answered, for so long: it may have
/// just come back and go again.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Other nodes are told again what this one leads after this: they may have been away.
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// Runs until the broker stops.
pub(crate) async fn run(broker: Weak<Inner>) {
    let (mut led, mut said) = (Led::default(), None);
    loop {
        let Some(inner) = broker.upgrade() else { return };
        let Some(network) = inner.network.clone().filter(|_| !inner.changes.are_over()) else { return };
        let is_led = !matches!(inner.catalog().leading(), Err(None));
        inner.reach.note(is_led, inner.world.now());
        network.follow(inner.other_nodes()).await;
        inner.have_what_is_placed_here().await;
        inner.give_up_what_is_placed_elsewhere(&*network).await;
        inner.lead_shards(&mut led).await;
        inner.keep_the_catalog_right(&mut said).await;
        let (changes, world) = (inner.changes.clone(), inner.world.clone());
        drop(inner);
        let _ = world.timeout(INTERVAL, changes.cluster.notified()).await;
    }
}

/// What is known of the shards that this node leads.
#[derive(Default)]
struct Led {
    /// The term, and since when.
    since: BTreeMap<ShardId, (u64, Moment)>,
    /// When it was last tried in vain to have another node lead.
    kept: BTreeMap<ShardId, Moment>,
    /// Who is preferred to lead instead, and since when it answers.
    heirs: BTreeMap<ShardId, (NodeId, Moment)>,
    /// Since when this node is to leave, if it is.
    leaves: Option<Moment>,
    /// What other nodes were last told, and when.
    told: Option<(BTreeMap<ShardId, u64>, Moment)>,
}

impl Led {
    /// Notes which are led now, and in which term, and whether this node is to leave.
    fn update(&mut self, shards: impl Iterator<Item = (ShardId, u64)>, leaves: bool, now: Moment) {
        self.leaves = if leaves { self.leaves.or(Some(now)) } else { None };
        let before = std::mem::take(&mut self.since);
        self.since = shards
            .map(|(shard, term)| match before.get(&shard) {
                Some(known) if known.0 == term => (shard, *known),
                _ => (shard, (term, now)),
            })
            .collect();
        self.kept.retain(|shard, since| self.since.contains_key(shard) && now.since(*since) < SETTLED_AFTER);
        self.heirs.retain(|shard, _| self.since.contains_key(shard));
    }

    /// Notes who is preferred to lead a shard, if it answers.
    fn note_heir(&mut self, shard: ShardId, heir: Option<NodeId>, now: Moment) {
        match heir {
            Some(heir) if self.heirs.get(&shard).is_none_or(|(known, _)| *known != heir) => {
                self.heirs.insert(shard, (heir, now));
            }
            Some(_) => {}
            None => drop(self.heirs.remove(&shard)),
        }
    }

    /// Whether a shard is handed now to whoever is preferred: when it has been led, and that one has answered, for long
    /// enough. A node that is to leave does not wait with what it led when it heard of that, where the other one stays.
    /// What comes to it later has been lost by another, which may have just come back here, too.
    fn is_due(&self, shard: ShardId, to_one_that_stays: bool, now: Moment) -> bool {
        let (Some((_, led)), Some((_, answers))) = (self.since.get(&shard), self.heirs.get(&shard)) else {
            return false;
        };
        let leaves = self.leaves.filter(|_| to_one_that_stays);
        now.since(*led.max(answers)) >= SETTLED_AFTER || leaves.is_some_and(|leaves| *led <= leaves)
    }

    /// What other nodes are to be told now, if that is due: each shard, and in which term it is led.
    fn news(&mut self, now: Moment) -> Option<BTreeMap<ShardId, u64>> {
        let terms: BTreeMap<ShardId, u64> = self.since.iter().map(|(shard, (term, _))| (*shard, *term)).collect();
        let is_known = |(told, at): &(BTreeMap<ShardId, u64>, Moment)| *told == terms && now.since(*at) < TELL_INTERVAL;
        if self.told.as_ref().is_some_and(is_known) {
            return None;
        }
        self.told = Some((terms.clone(), now));
        Some(terms)
    }

    /// Whether another node may be asked to lead a shard: not again and again, if none can.
    fn may_leave(&self, shard: ShardId) -> bool {
        !self.kept.contains_key(&shard)
    }
}

impl Inner {
    /// Where the other nodes are, as the catalog knows it.
    pub(crate) fn other_nodes(&self) -> BTreeMap<NodeId, Endpoint> {
        let machine = self.catalog().machine();
        let others = machine.catalog.nodes().filter(|(id, node)| *id != self.me() && node.state != NodeState::Removed);
        others.map(|(id, node)| (id, node.peer.clone())).collect()
    }

    /// Opens the replicas that this node is to have.
    async fn have_what_is_placed_here(&self) {
        let placed: Vec<ShardId> = {
            let machine = self.catalog().machine();
            let here = machine.catalog.placements().filter(|(_, placement)| placement.replicas.contains(&self.me()));
            here.map(|(shard, _)| shard).collect()
        };
        for shard in placed.into_iter().filter(|shard| self.shards.get(*shard).is_none()) {
            match self.open_shard(shard).await {
                Ok(()) => tracing::info!(%shard, "this node gets a replica"),
                Err(error) => tracing::error!(%shard, %error, "a replica cannot be opened"),
            }
        }
    }

    /// Closes and removes the replicas that this node is not to have any more, once the shard's leader says
    /// that it is done without them: until then they may be needed to decide.
    async fn give_up_what_is_placed_elsewhere(&self, network: &dyn Network) {
        if self.catalog().journal().faulty(Fault::KeepReplicas) {
            return;
        }
        let gone: Vec<ShardId> = {
            let machine = self.catalog().machine();
            let is_gone = |shard: &ShardId| match machine.catalog.placement(*shard) {
                Some(placement) => !placement.replicas.contains(&self.me()),
                None => machine.catalog.is_given_up(*shard),
            };
            self.shards.all().into_iter().map(|shard| shard.id()).filter(is_gone).collect()
        };
        for shard in gone {
            // Of a shard that was given up, nobody decides anything any more.
            if !self.catalog().machine().catalog.is_given_up(shard) {
                let deadline = self.world.now() + PATIENCE;
                let Some(standing) = self.standing_of(network, shard, deadline).await else { continue };
                if standing.membership.nodes().contains(&self.me()) {
                    continue;
                }
            }
            match self.drop_shard(shard).await {
                Ok(()) => tracing::info!(%shard, "the replica was given up"),
                Err(error) => tracing::error!(%shard, %error, "a replica that was given up cannot be removed"),
            }
        }
    }

    /// Takes the next step of every shard that this node leads.
    async fn lead_shards(&self, led: &mut Led) {
        // Looked at first: what is led by then counts as led before.
        let leaves = plan::leaving(&self.catalog().machine().catalog).contains(&self.me());
        let shards: Vec<(Shard, u64)> =
            self.shards.all().into_iter().filter_map(|shard| shard.leading().ok().map(|term| (shard, term))).collect();
        led.update(shards.iter().map(|(shard, term)| (shard.id(), *term)), leaves, self.world.now());
        if let Some(terms) = led.news(self.world.now()) {
            self.tell_what_is_led(&terms);
        }
        let in_force = self.catalog().machine().version();
        for (shard, _) in shards.iter().filter(|(shard, _)| shard.id() != ShardId::CATALOG) {
            // A new shard begins with what the first version did.
            if shard.machine().version() < in_force {
                let _ = self.world.timeout(PATIENCE, shard.command(Command::Barrier { version: in_force })).await;
            }
        }
        let steps = shards.iter().map(|(shard, _)| {
            let step = self.next_step(shard, led);
            async move {
                match step {
                    Some(step) => (!take(&self.world, shard, &step).await).then_some((shard.id(), step)),
                    None => None,
                }
            }
        });
        let steps = futures::future::join_all(steps.collect::<Vec<_>>()).await;
        let in_vain = steps.into_iter().flatten().filter(|(_, step)| matches!(step, Step::HandOver(_) | Step::Leave));
        let now = self.world.now();
        led.kept.extend(in_vain.map(|(shard, _)| (shard, now)));
    }

    /// Tells the nodes that have no replica of these shards that this one leads them: they send clients here, and
    /// would not hear of it otherwise. Nobody waits for their answers.
    fn tell_what_is_led(&self, terms: &BTreeMap<ShardId, u64>) {
        let Some(network) = &self.network else { return };
        let with: BTreeMap<ShardId, BTreeSet<NodeId>> =
            terms.keys().filter_map(|shard| Some((*shard, self.shards.get(*shard)?.membership().nodes()))).collect();
        for node in self.other_nodes().into_keys() {
            let without = with.iter().filter(|(_, nodes)| !nodes.contains(&node));
            let shards: Vec<(ShardId, u64)> = without.map(|(shard, _)| (*shard, terms[shard])).collect();
            if !shards.is_empty() {
                let said = network.ask(node, NodeCall::Leading { shards }.to_wire().into(), TELL_INTERVAL);
                self.world.spawn(said.map(drop));
            }
        }
    }

    fn next_step(&self, shard: &Shard, led: &mut Led) -> Option<Step> {
        let may_leave = led.may_leave(shard.id());
        let Standing { membership, at_hand, .. } = Standing::of(shard, self.me()).ok()?;
        // Nothing is made to wait for a node that is not heard, however near it was.
        let lags = shard.lags().into_iter().filter(|(node, _)| at_hand.contains(node)).collect();
        let is_full = may_leave && !shard.journal().has_room();
        let known = Known { me: self.me(), membership: &membership, lags: &lags, is_full };
        let (mut wanted, leaving) = {
            let machine = self.catalog().machine();
            let (catalog, leaving) = (&machine.catalog, plan::leaving(&machine.catalog));
            let wanted = match shard.id() {
                ShardId::CATALOG => plan::wanted_of_catalog(catalog, self.replication(), &known),
                id => {
                    let placement = catalog.placement(id)?;
                    let wanted = plan::wanted(&placement.replicas, &leaving, &membership);
                    plan::Wanted { leader: Some(placement.preferred), ..wanted }
                }
            };
            (wanted, leaving)
        };
        // Before there are nodes in the catalog, nothing is wanted.
        if wanted.voters.is_empty() {
            return None;
        }
        let now = self.world.now();
        led.note_heir(shard.id(), wanted.leader.filter(|heir| is_heard(*heir, &shard.silences())), now);
        // Whose clock is wrong would give it back.
        let is_fit = |heir: &NodeId| !shard.wrong_clocks().contains(heir);
        let is_due = |heir: &NodeId| led.is_due(shard.id(), !leaving.contains(heir), now);
        wanted.leader = wanted.leader.filter(|heir| may_leave && is_fit(heir) && is_due(heir));
        plan::next(&known, &wanted)
    }

    /// How many replicas a shard shall have.
    pub(crate) fn replication(&self) -> usize {
        self.config.cluster.replication as usize
    }

    /// Has the catalog know this node as it is and, if this node leads it, every shard placed.
    async fn keep_the_catalog_right(&self, said: &mut Option<Refusal>) {
        let leads = self.catalog().leading().is_ok();
        if leads && !self.has_versions().await {
            return;
        }
        let Some(own) = self.own_row() else { return };
        let row = self.catalog().machine().catalog.node(self.me()).cloned();
        let command = match row {
            // Only whoever founded the cluster is not in the catalog that it leads.
            None if leads => Command::AllocateNode {
                incarnation: own.incarnation,
                wanted: Some(self.me()),
                peer: own.peer,
                endpoints: own.endpoints,
                rack: own.rack,
                version: own.version,
            },
            None => return,
            Some(row) if is_same(&row, &own) => {
                if leads {
                    self.place_next().await;
                    self.count_what_has_grown().await;
                }
                return;
            }
            Some(_) => Command::UpdateNode {
                node: self.me(),
                incarnation: own.incarnation,
                peer: own.peer,
                endpoints: own.endpoints,
                rack: own.rack,
                version: own.version,
            },
        };
        match self.world.timeout(PATIENCE, self.catalog_command(command)).await {
            Some(Ok(Reply::Refused(refusal))) => {
                if said.as_ref() != Some(&refusal) {
                    tracing::error!(%refusal, "the catalog does not take this node for the one it knows");
                }
                *said = Some(refusal);
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => tracing::debug!(%error, "the catalog has not heard of this node yet"),
        }
    }

    /// This node, as the catalog is to know it.
    fn own_row(&self) -> Option<Node> {
        let config = &self.config.cluster;
        let rack = config.rack.as_ref().filter(|_| !self.catalog().journal().faulty(Fault::IgnoreRacks));
        Some(Node {
            incarnation: self.incarnation,
            state: NodeState::Active,
            peer: self.network.as_ref()?.advertised(),
            endpoints: endpoints(config),
            rack: rack.map(|rack| Bytes::copy_from_slice(rack.as_bytes())),
            version: VERSION_MAX as u16,
        })
    }

    /// Whether the version that all nodes know is in force everywhere; brings it into force where it is
    /// not, in the catalog last: what the catalog does then, all shards understand.
    async fn has_versions(&self) -> bool {
        let (in_force, known, shards) = {
            let machine = self.catalog().machine();
            let nodes = machine.catalog.nodes().filter(|(_, node)| node.state != NodeState::Removed);
            let known = nodes.map(|(_, node)| u32::from(node.version)).min().unwrap_or(VERSION_MAX).min(VERSION_MAX);
            (machine.version(), known, machine.catalog.shards().collect::<Vec<_>>())
        };
        if in_force >= known {
            return true;
        }
        let raise = move |shard| async move {
            match self.world.timeout(PATIENCE, self.command(shard, Command::Barrier { version: known })).await {
                Some(Ok(_)) => true,
                Some(Err(error)) => {
                    tracing::debug!(%shard, %error, "a new version is not in force yet");
                    false
                }
                None => false,
            }
        };
        let everywhere = futures::future::join_all(shards.into_iter().map(raise)).await.into_iter().all(|done| done);
        if !everywhere || !raise(ShardId::CATALOG).await {
            return false;
        }
        tracing::info!(version = known, "a new version is in force");
        true
    }

    /// Gives up a new shard that came to nothing, or places the next that has too few replicas, or that there
    /// shall be.
    async fn place_next(&self) {
        let given_up = plan::next_given_up(&self.catalog().machine().catalog);
        if let Some((shard, revision)) = given_up {
            tracing::info!(%shard, "a new shard is given up: a node that it was placed on is to leave");
            return self.change_placement(Command::GiveUpShard { shard, revision }).await;
        }
        let unfounded = self.unfounded().await;
        let next = {
            let machine = self.catalog().machine();
            plan::next_move(&machine.catalog, self.replication(), self.me(), &unfounded)
                .or_else(|| plan::next_shard(&machine.catalog))
        };
        let next = match next {
            // One at a time, so that little is copied at once: the next when all are where they shall be.
            None => {
                let balance = plan::next_balance(&self.catalog().machine().catalog);
                if balance.is_none() || self.is_all_in_place().await { balance } else { None }
            }
            next => next,
        };
        let Some(Move { shard, revision, replicas, preferred }) = next else { return };
        tracing::info!(%shard, ?replicas, "a shard is placed");
        self.change_placement(Command::PlaceShard { shard, revision, replicas, preferred }).await;
    }

    pub(super) async fn change_placement(&self, command: Command) {
        match self.world.timeout(PATIENCE, self.catalog().command(command)).await {
            Some(Ok(Reply::Refused(refusal))) => tracing::debug!(%refusal, "a placement was not changed"),
            // There may be another one.
            Some(Ok(_)) => self.changes.cluster.notify_one(),
            Some(Err(_)) | None => {}
        }
    }

    /// The shards that whoever has them first has not founded yet, as far as is known.
    async fn unfounded(&self) -> BTreeSet<ShardId> {
        let Some(network) = self.network.clone() else { return BTreeSet::new() };
        let new: Vec<ShardId> = {
            let machine = self.catalog().machine();
            let is_new = |shard: &ShardId| machine.catalog.placement(*shard).is_some_and(|placed| placed.revision == 1);
            plan::growing(&machine.catalog).into_iter().filter(is_new).collect()
        };
        let mut unfounded = BTreeSet::new();
        for shard in new {
            let standing = self.standing_of(&*network, shard, self.world.now() + PATIENCE).await;
            if standing.is_none_or(|standing| standing.membership.voters.is_empty()) {
                unfounded.insert(shard);
            }
        }
        unfounded
    }

    /// Whether the replicas of every shard are where the catalog says.
    pub(super) async fn is_all_in_place(&self) -> bool {
        let Some(network) = self.network.clone() else { return false };
        let placed: Vec<(ShardId, BTreeSet<NodeId>)> = {
            let machine = self.catalog().machine();
            let shards = machine.catalog.placements().filter(|(shard, _)| *shard != ShardId::CATALOG);
            shards.map(|(shard, placement)| (shard, placement.replicas.iter().copied().collect())).collect()
        };
        let deadline = self.world.now() + PATIENCE;
        let asked = placed.into_iter().map(|(shard, replicas)| {
            let network = network.clone();
            async move {
                let standing = self.standing_of(&*network, shard, deadline).await;
                standing
                    .is_some_and(|standing| !standing.membership.is_joint() && standing.membership.nodes() == replicas)
            }
        });
        futures::future::join_all(asked).await.into_iter().all(|in_place| in_place)
    }

    /// Lets streams be placed on new shards that have all their replicas and understand what all others do.
    async fn count_what_has_grown(&self) {
        let Some(network) = self.network.clone() else { return };
        let (growing, in_force) = {
            let machine = self.catalog().machine();
            (plan::growing(&machine.catalog), machine.version())
        };
        for shard in growing {
            let (wanted, leaving) = {
                let machine = self.catalog().machine();
                let wanted = machine.catalog.placement(shard).map(|placement| placement.replicas.clone());
                (wanted, plan::leaving(&machine.catalog))
            };
            let standing = self.standing_of(&*network, shard, self.world.now() + PATIENCE).await;
            let (Some(wanted), Some(standing)) = (wanted, standing) else { continue };
            let plan::Wanted { voters, .. } = plan::wanted(&wanted, &leaving, &standing.membership);
            if standing.membership.voters == [voters] && standing.version >= in_force {
                tracing::info!(%shard, "a new shard counts from now on");
                let added = self.catalog().command(Command::AddShards { shards: vec![shard] });
                // What did not come to be is done the next time.
                let _ = self.world.timeout(PATIENCE, added).await;
            }
        }
    }
}

fn is_same(row: &Node, own: &Node) -> bool {
    let same = (&row.peer, &row.endpoints, &row.rack, row.version);
    same == (&own.peer, &own.endpoints, &own.rack, own.version) && row.incarnation == own.incarnation
}

/// Takes a step. Whether it came to be.
async fn take(world: &World, shard: &Shard, step: &Step) -> bool {
    let id = shard.id();
    let taking = async {
        match step {
            Step::Finish => shard.finish_change().await,
            Step::Follow(node) => shard.follow(*node).await,
            Step::Vote(voters) => shard.change_voters(voters.clone(), true).await,
            Step::HandOver(to) => shard.hand_over(Some(*to)).await.map(drop),
            Step::Leave => shard.hand_over(None).await.map(drop),
            Step::Forget(node) => shard.forget(*node).await,
        }
    };
    let taken = world.timeout(PATIENCE, taking).await;
    let is_taken = matches!(taken, Some(Ok(())));
    match taken {
        Some(Ok(())) => tracing::info!(shard = %id, ?step, "membership changed"),
        // Somebody else takes it from here, or it is looked at again.
        Some(Err(MembershipError::NotLeader(_) | MembershipError::InProgress | MembershipError::Changed)) => {}
        Some(Err(error)) => tracing::warn!(shard = %id, ?step, %error, "membership did not change"),
        None => tracing::warn!(shard = %id, ?step, "membership has not changed yet"),
    }
    is_taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(1);

    #[test]
    fn who_is_preferred_leads_soon_where_the_leader_leaves_and_later_elsewhere() {
        let at = |secs: u64| Moment(Duration::from_secs(secs));
        let mut led = Led::default();
        let mut look = |term: Option<u64>, leaves: bool, secs: u64| {
            led.update(term.map(|term| (SHARD, term)).into_iter(), leaves, at(secs));
            led.note_heir(SHARD, Some(NodeId(2)), at(secs));
            [true, false].map(|stays| led.is_due(SHARD, stays, at(secs)))
        };
        assert_eq!(look(Some(1), false, 0), [false, false], "the preferred one may have just come back");
        assert_eq!(look(Some(1), true, 3), [true, false], "nor is it handed to one that leaves, too");
        assert_eq!(look(Some(1), true, 4), [true, false]);
        assert_eq!(look(None, true, 5), [false, false]);
        assert_eq!(look(Some(3), true, 6), [false, false], "whoever it was handed to has lost it");
        assert_eq!(look(Some(3), true, 16), [true, true]);
        assert_eq!(look(Some(5), true, 17), [false, false]);
        assert_eq!(look(Some(5), false, 18), [false, false], "it stays after all");
        assert_eq!(look(Some(5), true, 19), [true, false], "or does not");
    }

    #[test]
    fn who_is_preferred_leads_again_when_it_has_answered_for_long_enough() {
        let at = |secs: u64| Moment(Duration::from_secs(secs));
        let mut led = Led::default();
        let mut look = |heir: Option<u64>, secs: u64| {
            led.update([(SHARD, 1)].into_iter(), false, at(secs));
            led.note_heir(SHARD, heir.map(NodeId), at(secs));
            led.is_due(SHARD, true, at(secs))
        };
        assert!(!look(Some(2), 0) && look(Some(2), 10));
        assert!(!look(None, 60), "it is gone");
        assert!(!look(Some(2), 70) && !look(Some(2), 79) && look(Some(2), 80), "however long another leads");
        assert!(!look(Some(3), 81) && look(Some(3), 91), "another is preferred");
    }
}
