//! Elections that somebody asks for: who is preferred shall lead, now and not when the leader thinks of it.
//!
//! Nobody is made a leader who lacks what was acknowledged: a leader hands over to a voter that is there and has
//! all there is, or it goes on. Where nobody leads, those who can elect somebody do so without being asked.

use super::call::{NodeAnswer, NodeCall};
use super::network::Network;
use super::standing::Standing;
use crate::broker::{Broker, Inner};
use crate::request::{BrokerError, Elected, Election, LeaderQuery, PartitionElection, PartitionRef, Reply, TopicRef};
use crate::world::Moment;
use model::{NodeId, ShardId};
use shard::{MembershipError, Shard};
use std::collections::{BTreeMap, BTreeSet};

/// What a leader does about an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing: who shall lead does.
    Leads,
    /// It hands over.
    HandOver(NodeId),
    /// Nothing: who shall lead cannot.
    Cannot,
}

/// What is to be done for `preferred` to lead a shard.
fn verdict(standing: &Standing, preferred: NodeId) -> Verdict {
    match &standing.membership.voters[..] {
        _ if preferred == standing.leader => Verdict::Leads,
        [voters] if voters.contains(&preferred) && standing.at_hand.contains(&preferred) => {
            Verdict::HandOver(preferred)
        }
        _ => Verdict::Cannot,
    }
}

impl Broker {
    pub(crate) async fn elect_leaders(self, query: LeaderQuery) -> Reply {
        let inner = &self.inner;
        let LeaderQuery { partitions, election, patience } = query;
        let deadline = inner.world.now() + patience.min(inner.config.propose_timeout);
        let Some(partitions) = partitions else {
            return inner.elect_all(election, deadline).await;
        };
        let places: Vec<Result<ShardId, BrokerError>> =
            partitions.iter().map(|partition| inner.resolve(partition).map(|place| place.shard)).collect();
        let outcomes = inner.elect(places.iter().flatten().copied().collect(), election, deadline).await;
        let of = |place| match place {
            Ok(shard) => outcomes.get(&shard).cloned().unwrap_or(Err(BrokerError::Unavailable)),
            Err(error) => Err(error),
        };
        let elected = partitions.into_iter().zip(places);
        Reply::LeadersElected(
            elected.map(|(partition, place)| PartitionElection { partition, outcome: of(place) }).collect(),
        )
    }
}

impl Inner {
    async fn elect_all(&self, election: Election, deadline: Moment) -> Reply {
        let shards = self.catalog().machine().catalog.shards().collect();
        let mut outcomes = self.elect(shards, election, deadline).await;
        outcomes.retain(|_, outcome| *outcome != Ok(Elected::Before));
        if outcomes.is_empty() {
            return Reply::LeadersElected(Vec::new());
        }
        let _held = self.memory.answers.take(self.description_bytes(None)).await;
        let machine = self.catalog().machine();
        let topics = machine.catalog.topics().flat_map(|(_, topic)| {
            let places = (0u32..).zip(&topic.partitions);
            places.filter_map(|(partition, place)| {
                let outcome = outcomes.get(&place.shard)?.clone();
                let topic = TopicRef::Name(topic.name.to_string());
                Some(PartitionElection { partition: PartitionRef { topic, partition }, outcome })
            })
        });
        Reply::LeadersElected(topics.collect())
    }

    async fn elect(
        &self,
        shards: BTreeSet<ShardId>,
        election: Election,
        deadline: Moment,
    ) -> BTreeMap<ShardId, Result<Elected, BrokerError>> {
        let elected = shards.into_iter().map(|shard| async move {
            let elected = self.world.timeout_at(deadline, self.elect_one(shard, election, deadline)).await;
            (shard, elected.unwrap_or(Err(BrokerError::Unknown)))
        });
        futures::future::join_all(elected).await.into_iter().collect()
    }

    async fn elect_one(&self, shard: ShardId, election: Election, deadline: Moment) -> Result<Elected, BrokerError> {
        let Some(network) = &self.network else {
            // Nobody else could lead.
            let leads = self.shards.get(shard).is_some_and(|shard| shard.leading().is_ok());
            return Ok(if leads { Elected::Before } else { Elected::NotYet });
        };
        let Some(standing) = self.standing_of(&**network, shard, deadline).await else { return Ok(Elected::NotYet) };
        let preferred = self.catalog().machine().catalog.placement(shard).map(|placement| placement.preferred);
        let Some(preferred) = preferred.filter(|_| election == Election::Preferred) else { return Ok(Elected::Before) };
        match verdict(&standing, preferred) {
            Verdict::Leads => Ok(Elected::Before),
            Verdict::Cannot => Ok(Elected::NotYet),
            Verdict::HandOver(to) => {
                tracing::info!(%shard, from = %standing.leader, %to, "an election was asked for");
                self.have_handed_over(&**network, shard, standing.leader, to, deadline).await
            }
        }
    }

    /// Has the leader of a shard hand over.
    async fn have_handed_over(
        &self,
        network: &dyn Network,
        shard: ShardId,
        leader: NodeId,
        to: NodeId,
        deadline: Moment,
    ) -> Result<Elected, BrokerError> {
        let leads_now = if leader == self.me() {
            let replica = self.shard(shard)?;
            self.hand_over_to(&replica, to).await.ok()
        } else {
            match self.ask(network, leader, &NodeCall::HandOver { shard, to }, deadline).await? {
                NodeAnswer::HandedOver { leader } => Some(leader),
                _ => None,
            }
        };
        if let Some(leader) = leads_now {
            self.leaders.hear(shard, leader);
        }
        Ok(if leads_now == Some(to) { Elected::Now } else { Elected::NotYet })
    }

    /// Hands a shard that this node leads to another, if that one can lead, and returns who leads then.
    pub(crate) async fn hand_over_to(&self, shard: &Shard, to: NodeId) -> Result<NodeId, MembershipError> {
        let standing = Standing::of(shard, self.me()).map_err(MembershipError::NotLeader)?;
        match verdict(&standing, to) {
            Verdict::Leads => Ok(to),
            Verdict::HandOver(to) => shard.hand_over(Some(to)).await,
            Verdict::Cannot => Err(MembershipError::Unknown(format!("{to} cannot lead now"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shard::Membership;

    fn nodes(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId(*number)).collect()
    }

    #[test]
    fn only_a_voter_that_is_there_and_has_everything_is_elected() {
        let standing = |voters: &[&[u64]], at_hand: &[u64]| Standing {
            leader: NodeId(1),
            membership: Membership {
                voters: voters.iter().map(|voters| nodes(voters)).collect(),
                learners: nodes(&[4]),
            },
            at_hand: nodes(at_hand),
            version: 2,
        };
        let of = |standing: &Standing| [1, 2, 3, 4, 5].map(|node| verdict(standing, NodeId(node)));
        let (leads, cannot, over) = (Verdict::Leads, Verdict::Cannot, |node| Verdict::HandOver(NodeId(node)));
        let all = standing(&[&[1, 2, 3]], &[1, 2, 3, 4]);
        assert_eq!(of(&all), [leads, over(2), over(3), cannot, cannot], "4 follows without a vote");
        assert_eq!(of(&standing(&[&[1, 2, 3]], &[1, 3])), [leads, cannot, over(3), cannot, cannot]);
        let changing = standing(&[&[1, 2, 3], &[1, 2, 5]], &[1, 2, 3, 5]);
        assert_eq!(of(&changing), [leads, cannot, cannot, cannot, cannot], "while voters change, nobody is handed to");
    }
}
