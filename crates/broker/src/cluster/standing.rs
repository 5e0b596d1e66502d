//! How a shard stands, as its leader sees it: who has a replica, and who of them is at hand.

use super::call::{NodeAnswer, NodeCall};
use super::network::Network;
use crate::broker::{Broker, Inner};
use crate::members::ReplicaStatus;
use crate::request::BrokerError;
use crate::world::Moment;
use model::{NodeId, ShardId, limit};
use shard::{Membership, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A replica that was not heard for so long is not counted on.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long leaders are asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who says so.
    pub(crate) leader: NodeId,
    pub(crate) membership: Membership,
    /// Those who are there and have, but for a moment, all there is.
    pub(crate) at_hand: BTreeSet<NodeId>,
    /// The behaviour in force.
    pub(crate) version: u32,
}

impl Standing {
    /// How a shard stands that this node leads.
    ///
    /// # Errors
    /// Who leads instead, if anybody is known to.
    pub(crate) fn of(shard: &Shard, me: NodeId) -> Result<Self, Option<NodeId>> {
        shard.leading()?;
        let membership = shard.membership();
        let at_hand = at_hand(me, membership.nodes(), &shard.lags(), &shard.silences());
        let version = shard.machine().version();
        Ok(Standing { leader: me, at_hand, membership, version })
    }

    pub(crate) fn answer(self) -> NodeAnswer {
        let Membership { voters, learners } = self.membership;
        NodeAnswer::Standing {
            voters: voters.into_iter().map(|voters| voters.into_iter().collect()).collect(),
            learners: learners.into_iter().collect(),
            at_hand: self.at_hand.into_iter().collect(),
            version: self.version,
        }
    }

    /// Whether a node has a part in the shard: in the catalog's, which every node follows, a vote.
    fn needs(&self, shard: ShardId, node: NodeId) -> bool {
        match shard {
            ShardId::CATALOG => self.membership.is_voter(node),
            _ => self.membership.nodes().contains(&node),
        }
    }

    /// Whether most of those who vote are at hand, so that the shard can decide.
    pub(crate) fn has_quorum(&self) -> bool {
        let is_most = |voters: &BTreeSet<NodeId>| voters.intersection(&self.at_hand).count() > voters.len() / 2;
        self.membership.voters.iter().all(is_most)
    }

    /// Leaves out those who say themselves that they cannot be counted on.
    fn without(mut self, unfit: &BTreeSet<NodeId>) -> Self {
        self.at_hand.retain(|node| !unfit.contains(node));
        self
    }

    /// Whether the shard can go on deciding, and loses nothing, when a node goes down now.
    fn can_do_without(&self, node: NodeId) -> bool {
        self.membership.voters.iter().all(|voters| {
            let left = voters.iter().filter(|voter| **voter != node && self.at_hand.contains(voter)).count();
            !voters.contains(&node) || left > voters.len() / 2
        })
    }
}

/// Whether a leader has heard of a node lately.
pub(crate) fn is_heard(node: NodeId, silences: &BTreeMap<NodeId, Duration>) -> bool {
    silences.get(&node).is_some_and(|silence| *silence <= SILENCE_MAX)
}

/// Those of a shard's members that answer its leader and are not far behind, the leader among them.
fn at_hand(
    me: NodeId,
    members: BTreeSet<NodeId>,
    lags: &BTreeMap<NodeId, u64>,
    silences: &BTreeMap<NodeId, Duration>,
) -> BTreeSet<NodeId> {
    let is_near = |node: &NodeId| lags.get(node).is_some_and(|lag| *lag <= limit::LEARNER_LAG_ENTRIES_MAX);
    members.into_iter().filter(|node| *node == me || is_near(node) && is_heard(*node, silences)).collect()
}

/// Those of the members of shards that `me` leads that answer it in none of them.
fn silent(
    me: NodeId,
    led: impl IntoIterator<Item = (BTreeSet<NodeId>, BTreeMap<NodeId, Duration>)>,
) -> BTreeSet<NodeId> {
    let (mut members, mut heard) = (BTreeSet::new(), BTreeSet::from([me]));
    for (nodes, silences) in led {
        heard.extend(nodes.iter().copied().filter(|node| is_heard(*node, &silences)));
        members.extend(nodes);
    }
    members.difference(&heard).copied().collect()
}

impl Inner {
    /// The nodes that do not answer this one. Of those that it leads no shard with it does not know.
    pub(crate) fn silent_nodes(&self) -> BTreeSet<NodeId> {
        let led = self.shards.all().into_iter().filter(|shard| shard.leading().is_ok());
        silent(self.me(), led.map(|shard| (shard.membership().nodes(), shard.silences())))
    }

    /// The shards whose replica on this node does not vote, as it is in doubt, or takes nothing new, as its disk is
    /// full.
    pub(crate) fn unfit(&self) -> BTreeSet<ShardId> {
        let unfit = self.shards.all().into_iter().filter(|shard| shard.is_in_doubt() || !shard.journal().has_room());
        unfit.map(|shard| shard.id()).collect()
    }

    /// Asks all other nodes which of their replicas cannot be counted on. One that does not answer says nothing: that
    /// it is silent, the leaders of its shards know.
    async fn unfit_elsewhere(&self, network: &dyn Network, deadline: Moment) -> BTreeMap<ShardId, BTreeSet<NodeId>> {
        let asked = self.other_nodes().into_keys().map(|node| async move {
            match self.ask(network, node, &NodeCall::Unfit, deadline).await {
                Ok(NodeAnswer::Unfit { shards }) => (node, shards),
                _ => (node, Vec::new()),
            }
        });
        let mut unfit: BTreeMap<ShardId, BTreeSet<NodeId>> = BTreeMap::new();
        for (node, shards) in futures::future::join_all(asked).await {
            for shard in shards {
                unfit.entry(shard).or_default().insert(node);
            }
        }
        unfit
    }

    /// Asks whoever leads a shard how it stands: who is thought to first, and then those that shall have a
    /// replica. A replica that the others have left behind may for ever take a node for the leader that has
    /// none any more.
    pub(crate) async fn standing_of(
        &self,
        network: &dyn Network,
        shard: ShardId,
        deadline: Moment,
    ) -> Option<Standing> {
        let mut candidates: Vec<NodeId> = self.replicas_of(shard);
        candidates.reverse();
        candidates.extend(self.whom_to_ask(shard, 0));
        let mut asked = BTreeSet::new();
        while let Some(node) = candidates.pop() {
            if !asked.insert(node) {
                continue;
            }
            if node == self.me() {
                let standing = self.shards.get(shard).and_then(|replica| Standing::of(&replica, node).ok());
                if standing.is_some() {
                    return standing;
                }
                continue;
            }
            // One that hangs leaves time to ask the others.
            let share = deadline.since(self.world.now()) / (candidates.len() as u32 + 1);
            match self.ask(network, node, &NodeCall::Standing { shard }, self.world.now() + share).await {
                Ok(NodeAnswer::Standing { voters, learners, at_hand, version }) => {
                    let voters = voters.into_iter().map(|voters| voters.into_iter().collect()).collect();
                    let membership = Membership { voters, learners: learners.into_iter().collect() };
                    let at_hand = at_hand.into_iter().collect();
                    return Some(Standing { leader: node, membership, at_hand, version });
                }
                // Whoever is asked may know better who leads.
                Ok(NodeAnswer::NotLeader { leader: Some(other) }) => candidates.push(other),
                _ => {}
            }
        }
        None
    }
}

impl Inner {
    /// Whether the cluster can do without a node for ever: it has no replica of any shard, and no say in what
    /// the catalog becomes.
    ///
    /// # Errors
    /// `NodeInUse` when it is needed, `Unavailable` when that cannot be found out.
    pub(crate) async fn has_left(&self, node: NodeId) -> Result<(), BrokerError> {
        let deadline = self.world.now() + PATIENCE;
        let shards: BTreeSet<ShardId> = {
            let machine = self.catalog().machine();
            let placed = machine.catalog.placements().map(|(shard, _)| shard);
            placed.chain([ShardId::CATALOG]).collect()
        };
        let asked = shards.into_iter().map(|shard| async move {
            let standing = match &self.network {
                Some(network) => self.standing_of(&**network, shard, deadline).await,
                // A node that others cannot reach may be one of them all the same.
                None => self.shards.get(shard).and_then(|replica| Standing::of(&replica, self.me()).ok()),
            };
            match standing {
                None => Err(BrokerError::Unavailable),
                Some(standing) if standing.needs(shard, node) => Err(BrokerError::NodeInUse),
                Some(_) => Ok(()),
            }
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

impl Broker {
    /// How the replicas of all shards are: of shards that are not on this node, as their leaders say. Of those
    /// that nobody leads, or whose leader does not answer, it is told where they shall be.
    pub async fn all_replicas(&self) -> Vec<ReplicaStatus> {
        let mut found = self.replicas();
        let inner = &self.inner;
        let Some(network) = &inner.network else { return found };
        let deadline = inner.world.now() + PATIENCE;
        let elsewhere: Vec<ShardId> = {
            let machine = inner.catalog().machine();
            let placed = machine.catalog.placements().map(|(shard, _)| shard);
            placed.filter(|shard| inner.shards.get(*shard).is_none()).collect()
        };
        let asked = elsewhere.into_iter().map(|shard| async move {
            if let Some(standing) = inner.standing_of(&**network, shard, deadline).await {
                return Some(ReplicaStatus::of(shard, Some(standing.leader), standing.membership, BTreeMap::new()));
            }
            let placed = inner.catalog().machine().catalog.placement(shard).map(|placed| placed.replicas.clone())?;
            let membership = Membership { learners: placed.into_iter().collect(), ..Membership::default() };
            Some(ReplicaStatus::of(shard, None, membership, BTreeMap::new()))
        });
        found.extend(futures::future::join_all(asked).await.into_iter().flatten());
        found.sort_by_key(|replica| replica.shard);
        found
    }

    /// What keeps this node from being stopped now without anybody noticing, a sentence each; empty when
    /// nothing does.
    pub async fn restart_hindrances(&self) -> Vec<String> {
        let inner = &self.inner;
        let me = inner.me();
        let deadline = inner.world.now() + PATIENCE;
        let unfit = match &inner.network {
            Some(network) => inner.unfit_elsewhere(&**network, deadline).await,
            None => BTreeMap::new(),
        };
        let none = BTreeSet::new();
        let unfit = |shard| unfit.get(&shard).unwrap_or(&none);
        let deadline = inner.world.now() + PATIENCE;
        let ask = |shard: Shard| async move {
            let id = shard.id();
            if !shard.membership().is_voter(me) {
                return None;
            }
            if shard.membership().nodes().len() == 1 {
                return Some(format!("{id} has no other replica"));
            }
            let standing = match &inner.network {
                Some(network) => inner.standing_of(&**network, id, deadline).await,
                None => Standing::of(&shard, me).ok(),
            };
            match standing.map(|standing| standing.without(unfit(id))) {
                None => {
                    Some(format!("it is not known how {id} stands: nobody leads it, or its leader does not answer"))
                }
                Some(standing) if standing.can_do_without(me) => None,
                Some(standing) => {
                    let at_hand: Vec<String> = standing.at_hand.iter().map(ToString::to_string).collect();
                    Some(format!("{id} has no quorum without this node: at hand are {}", at_hand.join(", ")))
                }
            }
        };
        let asked = inner.shards.all().into_iter().map(ask);
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(voters: &[&[u64]], at_hand: &[u64]) -> Standing {
        let set = |numbers: &[u64]| numbers.iter().map(|number| NodeId(*number)).collect();
        let membership =
            Membership { voters: voters.iter().map(|voters| set(voters)).collect(), ..Membership::default() };
        Standing { leader: NodeId(1), membership, at_hand: set(at_hand), version: 2 }
    }

    const ME: NodeId = NodeId(1);

    fn nodes(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId(*number)).collect()
    }

    fn silences(millis: &[(u64, u64)]) -> BTreeMap<NodeId, Duration> {
        millis.iter().map(|(node, millis)| (NodeId(*node), Duration::from_millis(*millis))).collect()
    }

    #[test]
    fn whoever_is_behind_or_says_nothing_is_not_at_hand() {
        let lags = |lags: &[(u64, u64)]| lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect();
        let found =
            |known: &[(u64, u64)], heard: &[(u64, u64)]| at_hand(ME, nodes(&[1, 2, 3]), &lags(known), &silences(heard));
        let all_near = [(2, 0), (3, limit::LEARNER_LAG_ENTRIES_MAX)];
        assert_eq!(found(&all_near, &[(2, 0), (3, 1000)]), nodes(&[1, 2, 3]));
        assert_eq!(found(&all_near, &[(2, 0), (3, 1001)]), nodes(&[1, 2]), "it has everything, and is gone");
        assert_eq!(found(&all_near, &[(2, 0)]), nodes(&[1, 2]), "it was never heard");
        let one_far = [(2, 0), (3, limit::LEARNER_LAG_ENTRIES_MAX + 1)];
        assert_eq!(found(&one_far, &[(2, 0), (3, 0)]), nodes(&[1, 2]));
        assert_eq!(found(&[], &[(2, 0), (3, 0)]), nodes(&[1]), "nobody knows what they have");
    }

    /// The members of a shard, and how many milliseconds ago those were heard that were.
    type Led<'a> = (&'a [u64], &'a [(u64, u64)]);

    #[test]
    fn a_node_is_silent_that_answers_in_no_shard() {
        let of = |led: &[Led<'_>]| silent(ME, led.iter().map(|(members, heard)| (nodes(members), silences(heard))));
        assert_eq!(of(&[]), nodes(&[]), "of nobody anything is known");
        assert_eq!(of(&[(&[1, 2, 3], &[(2, 5), (3, 1001)])]), nodes(&[3]));
        assert_eq!(of(&[(&[1, 2, 3], &[(2, 5)]), (&[1, 3, 4], &[(3, 5)])]), nodes(&[4]));
    }

    #[test]
    fn whoever_has_a_replica_is_needed() {
        let standing = Standing {
            membership: Membership { learners: [NodeId(4)].into(), ..standing(&[&[1, 2], &[1, 3]], &[]).membership },
            ..standing(&[], &[])
        };
        let needed = |shard| [1, 2, 3, 4, 5].map(|node| standing.needs(ShardId(shard), NodeId(node)));
        assert_eq!(needed(1), [true, true, true, true, false]);
        assert_eq!(needed(0), [true, true, true, false, false], "every node follows the catalog");
    }

    #[test]
    fn a_shard_decides_with_most_of_all_its_voters() {
        let decides = |voters: &[&[u64]], at_hand: &[u64]| standing(voters, at_hand).has_quorum();
        assert!(decides(&[&[1]], &[1]) && decides(&[&[1, 2, 3]], &[1, 3]));
        assert!(!decides(&[&[1, 2, 3]], &[1, 4, 5]), "whoever does not vote does not count");
        assert!(!decides(&[&[1, 2]], &[1]));
        assert!(!decides(&[&[1, 2, 3], &[1, 4, 5]], &[1, 2, 3]), "while voters change, of both sets");
    }

    #[test]
    fn a_node_can_go_when_the_others_are_most() {
        let without =
            |node: u64, voters: &[&[u64]], at_hand: &[u64]| standing(voters, at_hand).can_do_without(NodeId(node));
        assert!(without(1, &[&[1, 2, 3]], &[1, 2, 3]));
        assert!(!without(1, &[&[1, 2, 3]], &[1, 2]));
        assert!(without(1, &[&[1, 2, 3]], &[2, 3]), "one that is down is not missed");
        assert!(!without(1, &[&[1]], &[1]));
        assert!(without(4, &[&[1]], &[1]), "whoever does not vote is not needed");
        assert!(!without(2, &[&[1, 2, 3], &[2, 4, 5]], &[1, 2, 3, 4]));
        assert!(without(2, &[&[1, 2, 3], &[2, 4, 5]], &[1, 3, 4, 5]));
        let all = standing(&[&[1, 2, 3]], &[1, 2, 3]);
        assert!(all.clone().without(&nodes(&[1])).can_do_without(ME));
        assert!(!all.without(&nodes(&[3])).can_do_without(ME), "it answers, but does not vote or takes nothing new");
    }
}
