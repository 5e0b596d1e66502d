//! What is to be done next so that every shard has its replicas where they shall be. Pure: from what the
//! catalog says and what a shard's leader knows to one step, which is taken before the next is thought of.

use machine::catalog::{Catalog, Node, NodeState, Placement};
use model::{NodeId, ShardId, limit};
use shard::Membership;
use std::collections::{BTreeMap, BTreeSet};

/// Who shall have a replica of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those that vote. An odd number: one more would not survive more failures.
    pub voters: BTreeSet<NodeId>,
    /// Those that follow without a vote.
    pub learners: BTreeSet<NodeId>,
    /// The voter that shall lead once nothing else is to be done.
    pub leader: Option<NodeId>,
}

/// With fewer nodes, a shard does not survive the loss of one.
const NODES_THAT_SURVIVE: usize = 3;

/// A step of a shard's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change of voters that another leader began is brought to its end.
    Finish,
    /// A node gets a replica that follows.
    Follow(NodeId),
    /// These become the voters.
    Vote(BTreeSet<NodeId>),
    /// Another voter leads.
    HandOver(NodeId),
    /// Another voter leads, whichever can.
    Leave,
    /// A replica that does not vote is given up.
    Forget(NodeId),
}

/// What a leader knows of its shard.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The leader.
    pub me: NodeId,
    /// Who has a replica.
    pub membership: &'a Membership,
    /// How many entries each of the others is behind.
    pub lags: &'a BTreeMap<NodeId, u64>,
    /// The leader's disk has no room for new work, which another may have.
    pub is_full: bool,
}

impl Known<'_> {
    /// Whether commits would not wait for a node if it voted.
    fn is_caught_up(&self, node: NodeId) -> bool {
        node == self.me || self.lags.get(&node).is_some_and(|lag| *lag <= limit::LEARNER_LAG_ENTRIES_MAX)
    }
}

/// The next step of a shard's leader, if there is one to take.
#[must_use]
pub fn next(known: &Known<'_>, wanted: &Wanted) -> Option<Step> {
    let [voters] = &known.membership.voters[..] else { return Some(Step::Finish) };
    if known.is_full && voters.len() > 1 {
        return Some(Step::Leave);
    }
    let members = known.membership.nodes();
    let all: BTreeSet<NodeId> = wanted.voters.union(&wanted.learners).copied().collect();
    if let Some(new) = all.iter().find(|node| !members.contains(node)) {
        return Some(Step::Follow(*new));
    }
    if *voters != wanted.voters && !wanted.voters.is_empty() {
        if !wanted.voters.iter().all(|node| voters.contains(node) || known.is_caught_up(*node)) {
            return None;
        }
        if wanted.voters.contains(&known.me) {
            return Some(Step::Vote(wanted.voters.clone()));
        }
        // A leader does not put itself out: one of those that stay does.
        let heir = wanted.voters.intersection(voters).copied().find(|node| known.is_caught_up(*node));
        let all_vote = wanted.voters.is_subset(voters);
        return match heir {
            Some(heir) => Some(Step::HandOver(heir)),
            None if all_vote => None,
            None => Some(Step::Vote(voters.union(&wanted.voters).copied().collect())),
        };
    }
    if let Some(gone) = known.membership.learners.iter().find(|node| !all.contains(node)) {
        return Some(Step::Forget(*gone));
    }
    let heir = wanted.leader.filter(|node| *node != known.me && voters.contains(node) && known.is_caught_up(*node));
    heir.map(Step::HandOver)
}

/// How many of so many replicas vote.
#[must_use]
pub fn voter_count(replicas: usize) -> usize {
    if replicas % 2 == 1 { replicas } else { replicas.saturating_sub(1) }
}

/// Who shall have a replica of a shard whose replicas the catalog has placed.
#[must_use]
pub fn wanted(replicas: &[NodeId], leaving: &BTreeSet<NodeId>, current: &Membership) -> Wanted {
    choose(replicas.iter().copied().collect(), replicas.len(), leaving, current)
}

/// The same of the catalog's shard: every node has it, and a few of them vote. A node that is to leave goes on voting
/// while fewer than `replication` others are there, so that no failure weighs more because of it, but does not lead
/// if another can.
#[must_use]
pub fn wanted_of_catalog(catalog: &Catalog, replication: usize, known: &Known<'_>) -> Wanted {
    let (wanted, leaving) = (catalog_members(catalog, replication, known.membership), leaving(catalog));
    let heir = wanted.voters.iter().copied().find(|node| !leaving.contains(node) && known.is_caught_up(*node));
    Wanted { leader: heir.filter(|_| leaving.contains(&known.me)), ..wanted }
}

fn catalog_members(catalog: &Catalog, replication: usize, current: &Membership) -> Wanted {
    let here = catalog.nodes().filter(|(_, node)| node.state != NodeState::Removed);
    let (all, leaving): (BTreeSet<NodeId>, _) = (here.map(|(id, _)| id).collect(), leaving(catalog));
    let staying = all.difference(&leaving).count();
    let count = staying.max(replication.min(all.len())).min(limit::CATALOG_VOTERS_MAX);
    choose(all, count, &leaving, current)
}

/// The nodes that are to leave.
#[must_use]
pub fn leaving(catalog: &Catalog) -> BTreeSet<NodeId> {
    catalog.nodes().filter(|(_, node)| node.state == NodeState::Draining).map(|(id, _)| id).collect()
}

/// `count` of `nodes`, or one less, vote: those that stay before others, then those that vote now, then by number.
fn choose(nodes: BTreeSet<NodeId>, count: usize, leaving: &BTreeSet<NodeId>, current: &Membership) -> Wanted {
    let mut ordered: Vec<NodeId> = nodes.iter().copied().collect();
    ordered.sort_by_key(|node| (leaving.contains(node), !current.is_voter(*node), *node));
    let voters: BTreeSet<NodeId> = ordered.into_iter().take(voter_count(count)).collect();
    let learners = nodes.difference(&voters).copied().collect();
    Wanted { voters, learners, leader: None }
}

/// Where a shard's replicas shall be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// The revision of the placement that it replaces; 0 where there is none.
    pub revision: u64,
    /// Its replicas.
    pub replicas: Vec<NodeId>,
    /// Who of them shall lead, when it can.
    pub preferred: NodeId,
}

/// The next shard whose replicas shall be elsewhere than the catalog says, if there is one: a shard has
/// `replication` of them where there are as many nodes, none on a node that is to leave if another can
/// have it, as few as possible in one rack, and nodes have about as many as one another. Whoever is to leave is not
/// preferred to lead where another is there.
///
/// A shard that was there before anybody said where is on `founder` alone, and nowhere else until that is
/// written down: until then no other node is let in. One of the `unfounded` stays where it is until it is
/// there: nobody else may found it. While a shard does not count, it gets replicas and loses none: see
/// [`next_given_up`].
#[must_use]
pub fn next_move(
    catalog: &Catalog,
    replication: usize,
    founder: NodeId,
    unfounded: &BTreeSet<ShardId>,
) -> Option<Move> {
    let active = active(catalog);
    let load = Load::of(catalog);
    if let Some(shard) = catalog.shards().find(|shard| catalog.placement(*shard).is_none()) {
        return Some(Move { shard, revision: 0, replicas: vec![founder], preferred: founder });
    }
    let leaving: BTreeSet<ShardId> = given_up(catalog).map(|(shard, _)| shard).collect();
    let stays = |shard: &ShardId| *shard == ShardId::CATALOG || unfounded.contains(shard) || leaving.contains(shard);
    let mut placed = catalog.placements().filter(|(shard, _)| !stays(shard));
    placed.find_map(|(shard, placement)| {
        let replicas = replaced(catalog, placement, replication, (&active, &load));
        let staying: Vec<NodeId> = replicas.iter().copied().filter(|node| active.contains_key(node)).collect();
        let can_lead = if staying.is_empty() { &replicas } else { &staying };
        let is_same = as_set(&replicas) == as_set(&placement.replicas);
        if replicas.is_empty() || is_same && can_lead.contains(&placement.preferred) {
            return None;
        }
        let least = can_lead.iter().copied().min_by_key(|node| (load.leads(*node), *node))?;
        let preferred = match placement.preferred {
            kept if can_lead.contains(&kept) && load.leads(least) + 1 >= load.leads(kept) => kept,
            _ => least,
        };
        Some(Move { shard, revision: placement.revision, replicas, preferred })
    })
}

/// The nodes that are to have a shard's replicas instead of those that have them: those that stay first. Where there
/// are more than `replication` now, nobody loses one but nodes that are to leave: each node has a setting of its own,
/// and one that was given less must not thin out what the others were to keep as soon as it leads the catalog.
fn replaced(
    catalog: &Catalog,
    placement: &Placement,
    replication: usize,
    (active, load): (&BTreeMap<NodeId, &Node>, &Load),
) -> Vec<NodeId> {
    let mut replicas = placement.replicas.clone();
    replicas.retain(|node| active.contains_key(node));
    while replicas.len() < replication.min(limit::REPLICAS_MAX) {
        let Some(best) = best(active, &replicas, load) else { break };
        replicas.push(best);
    }
    // Better on a node that is to leave than nowhere, but for those of more than there have to be.
    let needed = placement.replicas.len().min(replication);
    let leaving = placement.replicas.iter().filter(|node| !active.contains_key(node));
    for node in leaving.filter(|node| catalog.node(**node).is_some_and(|row| row.state != NodeState::Removed)) {
        if replicas.len() < needed {
            replicas.push(*node);
        }
    }
    replicas
}

/// What nodes that are to leave keep, because no other node can have it: replicas of shards, and votes in the catalog,
/// of which `catalog_has` are the members. That stays so until another node comes.
#[must_use]
pub fn kept(catalog: &Catalog, replication: usize, catalog_has: &Membership) -> BTreeSet<(NodeId, ShardId)> {
    let (active, load, leaving) = (active(catalog), Load::of(catalog), leaving(catalog));
    let given_up: BTreeSet<ShardId> = given_up(catalog).map(|(shard, _)| shard).collect();
    let stay = |shard: &ShardId| *shard != ShardId::CATALOG && !given_up.contains(shard);
    let placed = catalog.placements().filter(|(shard, _)| stay(shard)).flat_map(|(shard, placement)| {
        let replicas = replaced(catalog, placement, replication, (&active, &load));
        replicas.into_iter().map(move |node| (node, shard))
    });
    let votes = catalog_members(catalog, replication, catalog_has).voters.into_iter();
    let votes = votes.map(|node| (node, ShardId::CATALOG));
    placed.chain(votes).filter(|(node, _)| leaving.contains(node)).collect()
}

/// The next move that spreads replicas better over racks, or else over nodes, or else leaders over nodes, if
/// there is one: a replica leaves a rack that has another of the shard, or a node that has two more than
/// another, and leadership one that leads two more. None makes worse what comes before it, so there is an end.
/// Shards that do not count yet stay on the node that founded them.
#[must_use]
pub fn next_balance(catalog: &Catalog) -> Option<Move> {
    let (active, load) = (active(catalog), Load::of(catalog));
    let counting: BTreeSet<ShardId> = catalog.shards().collect();
    let placed = || catalog.placements().filter(|(shard, _)| counting.contains(shard));
    let shares = |replicas: &[NodeId]| shared_racks(&active, replicas);
    let by_load = |node: NodeId| (load.replicas(node), load.leads(node), node);
    let moved = |shard, placement: &Placement, from: NodeId, to: NodeId| {
        let replicas = with(&placement.replicas, from, to);
        let preferred = if placement.preferred == from { to } else { placement.preferred };
        Move { shard, revision: placement.revision, replicas, preferred }
    };
    let better = |shard, placement: &Placement, is_better: &dyn Fn(NodeId, NodeId) -> bool| {
        let replicas = &placement.replicas;
        let mut heaviest_first = replicas.clone();
        heaviest_first.sort_by_key(|node| std::cmp::Reverse(by_load(*node)));
        heaviest_first.into_iter().find_map(|from| {
            let free = active.keys().copied().filter(|node| !replicas.contains(node));
            let to = free.filter(|to| is_better(from, *to)).min_by_key(|to| by_load(*to))?;
            Some(moved(shard, placement, from, to))
        })
    };
    let over_racks = placed().find_map(|(shard, placement)| {
        let replicas = &placement.replicas;
        better(shard, placement, &|from, to| shares(&with(replicas, from, to)) < shares(replicas))
    });
    let over_nodes = || {
        placed().find_map(|(shard, placement)| {
            let replicas = &placement.replicas;
            better(shard, placement, &|from, to| {
                load.replicas(to) + 2 <= load.replicas(from) && shares(&with(replicas, from, to)) <= shares(replicas)
            })
        })
    };
    let leaders = || {
        placed().find_map(|(shard, placement)| {
            let others = placement.replicas.iter().copied().filter(|node| active.contains_key(node));
            let preferred = others.min_by_key(|node| (load.leads(*node), *node))?;
            let (replicas, revision) = (placement.replicas.clone(), placement.revision);
            let is_better = load.leads(preferred) + 2 <= load.leads(placement.preferred);
            is_better.then_some(Move { shard, revision, replicas, preferred })
        })
    };
    over_racks.or_else(over_nodes).or_else(leaders)
}

/// These nodes, with one in the place of another.
pub(super) fn with(replicas: &[NodeId], from: NodeId, to: NodeId) -> Vec<NodeId> {
    replicas.iter().map(|node| if *node == from { to } else { *node }).collect()
}

/// How many of these nodes have another in their rack.
pub(super) fn shared_racks(active: &BTreeMap<NodeId, &Node>, replicas: &[NodeId]) -> usize {
    let racks = replicas.iter().filter_map(|node| active.get(node)?.rack.as_ref());
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    racks.for_each(|rack| *counts.entry(rack).or_default() += 1);
    counts.into_values().filter(|count| *count > 1).sum()
}

/// A shard that there shall be, if there are fewer than nodes: each is to have one to lead. It begins on one
/// node, which founds it, and counts when it has grown. Two nodes get none: a shard that the second alone
/// decides would make its loss felt, which it is not otherwise.
#[must_use]
pub fn next_shard(catalog: &Catalog) -> Option<Move> {
    let active = active(catalog);
    let known: BTreeSet<ShardId> = catalog.shards().chain(catalog.placements().map(|(shard, _)| shard)).collect();
    let count = known.iter().filter(|shard| **shard != ShardId::CATALOG).count();
    let shard = catalog.next_shard();
    if active.len() < NODES_THAT_SURVIVE || count >= active.len() || shard.0 > limit::SHARDS_MAX {
        return None;
    }
    let node = best(&active, &[], &Load::of(catalog))?;
    Some(Move { shard, revision: 0, replicas: vec![node], preferred: node })
}

/// A new shard that is given up, if there is one, and the revision of its placement: a node that it was placed
/// on is to leave, or is gone. It may be the one that was to found the shard and never did, or did and was lost
/// before another had a replica. Nobody has to know: what does not count yet has nothing that anybody was told
/// of, and instead of moving it, another shard is founded on nodes that stay, under a number of its own.
#[must_use]
pub fn next_given_up(catalog: &Catalog) -> Option<(ShardId, u64)> {
    given_up(catalog).next()
}

fn given_up(catalog: &Catalog) -> impl Iterator<Item = (ShardId, u64)> {
    let active = active(catalog);
    let placed = growing(catalog).into_iter().filter_map(|shard| Some((shard, catalog.placement(shard)?)));
    let leaving = placed.filter(move |(_, placed)| placed.replicas.iter().any(|node| !active.contains_key(node)));
    leaving.map(|(shard, placed)| (shard, placed.revision))
}

/// Whether there are so many nodes that one can be lost: with fewer, load is not spread by itself.
#[must_use]
pub fn can_spare_one(catalog: &Catalog) -> bool {
    active(catalog).len() >= NODES_THAT_SURVIVE
}

/// The shards that have been placed and do not count yet.
#[must_use]
pub fn growing(catalog: &Catalog) -> Vec<ShardId> {
    let known: BTreeSet<ShardId> = catalog.shards().collect();
    let placed = catalog.placements().map(|(shard, _)| shard);
    placed.filter(|shard| *shard != ShardId::CATALOG && !known.contains(shard)).collect()
}

pub(super) fn active(catalog: &Catalog) -> BTreeMap<NodeId, &Node> {
    catalog.nodes().filter(|(_, node)| node.state == NodeState::Active).collect()
}

fn as_set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

/// How many replicas nodes have, and how many of them are to lead.
struct Load {
    nodes: BTreeMap<NodeId, (usize, usize)>,
}

impl Load {
    fn of(catalog: &Catalog) -> Self {
        let mut nodes: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        for (_, placement) in catalog.placements().filter(|(shard, _)| *shard != ShardId::CATALOG) {
            placement.replicas.iter().for_each(|node| nodes.entry(*node).or_default().0 += 1);
            nodes.entry(placement.preferred).or_default().1 += 1;
        }
        Load { nodes }
    }

    fn replicas(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |(replicas, _)| *replicas)
    }

    fn leads(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |(_, leads)| *leads)
    }
}

/// The node that gets the next replica.
fn best(active: &BTreeMap<NodeId, &Node>, replicas: &[NodeId], load: &Load) -> Option<NodeId> {
    let in_rack = |node: &Node| {
        let same = |other: &&NodeId| active.get(other).is_some_and(|other| other.rack == node.rack);
        if node.rack.is_some() { replicas.iter().filter(same).count() } else { 0 }
    };
    let free = active.iter().filter(|(id, _)| !replicas.contains(id));
    free.min_by_key(|(id, node)| (in_rack(node), load.replicas(**id), load.leads(**id), **id)).map(|(id, _)| *id)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bytes::Bytes;
    use machine::catalog::Endpoint;
    use machine::machine::VERSION_OF_NODES;
    use machine::{Command, Machine, Position, Reply};
    use model::{Entry, EntryBuilder, Hlc, Incarnation};

    fn nodes(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId(*number)).collect()
    }

    fn membership(voters: &[&[u64]], learners: &[u64]) -> Membership {
        Membership { voters: voters.iter().map(|voters| nodes(voters)).collect(), learners: nodes(learners) }
    }

    fn step(me: u64, membership: &Membership, lags: &[(u64, u64)], replicas: &[u64]) -> Option<Step> {
        let lags = lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect();
        let replicas: Vec<NodeId> = replicas.iter().map(|node| NodeId(*node)).collect();
        next(
            &Known { me: NodeId(me), membership, lags: &lags, is_full: false },
            &wanted(&replicas, &BTreeSet::new(), membership),
        )
    }

    #[test]
    fn one_replica_becomes_three_when_two_have_caught_up() {
        let alone = membership(&[&[1]], &[]);
        assert_eq!(step(1, &alone, &[], &[1]), None);
        assert_eq!(step(1, &alone, &[], &[1, 2, 3]), Some(Step::Follow(NodeId(2))));
        assert_eq!(step(1, &membership(&[&[1]], &[2]), &[], &[1, 2, 3]), Some(Step::Follow(NodeId(3))));
        let following = membership(&[&[1]], &[2, 3]);
        assert_eq!(step(1, &following, &[(2, 3), (3, u64::MAX)], &[1, 2, 3]), None);
        assert_eq!(step(1, &following, &[(2, 3), (3, 65)], &[1, 2, 3]), None);
        assert_eq!(step(1, &following, &[(2, 3), (3, 64)], &[1, 2, 3]), Some(Step::Vote(nodes(&[1, 2, 3]))));
        assert_eq!(step(1, &membership(&[&[1, 2, 3]], &[]), &[], &[1, 2, 3]), None);
    }

    #[test]
    fn two_replicas_are_one_that_decides_and_one_that_follows() {
        assert_eq!(step(1, &membership(&[&[1]], &[]), &[], &[1, 2]), Some(Step::Follow(NodeId(2))));
        assert_eq!(step(1, &membership(&[&[1]], &[2]), &[(2, 0)], &[1, 2]), None);
        // Of four, those that vote go on.
        assert_eq!(step(3, &membership(&[&[2, 3, 4]], &[1]), &[(1, 0), (2, 0), (4, 0)], &[1, 2, 3, 4]), None);
    }

    #[test]
    fn a_change_that_was_left_is_finished_first() {
        let joint = membership(&[&[1], &[1, 2, 3]], &[]);
        assert_eq!(step(2, &joint, &[], &[1, 2, 4]), Some(Step::Finish));
    }

    #[test]
    fn a_replica_is_added_before_another_goes() {
        let three = membership(&[&[1, 2, 3]], &[]);
        assert_eq!(step(1, &three, &[(2, 0), (3, 0)], &[1, 2, 4]), Some(Step::Follow(NodeId(4))));
        let four = membership(&[&[1, 2, 3]], &[4]);
        assert_eq!(step(1, &four, &[(2, 0), (3, 0), (4, 900)], &[1, 2, 4]), None);
        assert_eq!(step(1, &four, &[(2, 0), (3, 0), (4, 0)], &[1, 2, 4]), Some(Step::Vote(nodes(&[1, 2, 4]))));
        assert_eq!(step(1, &membership(&[&[1, 2, 4]], &[3]), &[], &[1, 2, 4]), Some(Step::Forget(NodeId(3))));
    }

    #[test]
    fn a_leader_that_is_to_go_hands_over_to_one_that_stays() {
        let four = membership(&[&[1, 2, 3]], &[4]);
        let caught_up = [(1, 0), (2, 0), (4, 0)];
        assert_eq!(step(3, &four, &caught_up, &[1, 2, 4]), Some(Step::HandOver(NodeId(1))));
        assert_eq!(step(3, &four, &[(1, 900), (2, 1), (4, 0)], &[1, 2, 4]), Some(Step::HandOver(NodeId(2))));
        assert_eq!(step(3, &four, &[(1, 900), (2, 900), (4, 0)], &[1, 2, 4]), Some(Step::Vote(nodes(&[1, 2, 3, 4]))));
        // Where nobody stays, the others vote first.
        let moving = membership(&[&[1]], &[2]);
        assert_eq!(step(1, &moving, &[(2, 0)], &[2]), Some(Step::Vote(nodes(&[1, 2]))));
        assert_eq!(step(1, &membership(&[&[1, 2]], &[]), &[(2, 0)], &[2]), Some(Step::HandOver(NodeId(2))));
        assert_eq!(step(2, &membership(&[&[1, 2]], &[]), &[(1, 0)], &[2]), Some(Step::Vote(nodes(&[2]))));
    }

    #[test]
    fn a_leader_whose_disk_is_full_lets_another_lead_before_all_else() {
        let lags = BTreeMap::from([(NodeId(2), 0), (NodeId(3), 0), (NodeId(4), 0)]);
        for (membership, step) in [
            (membership(&[&[1, 2, 3]], &[]), Some(Step::Leave)),
            (membership(&[&[1, 2, 3]], &[4]), Some(Step::Leave)),
            (membership(&[&[1], &[1, 2, 3]], &[]), Some(Step::Finish)),
            (membership(&[&[1]], &[2]), None),
        ] {
            let known = Known { me: NodeId(1), membership: &membership, lags: &lags, is_full: true };
            let replicas: Vec<NodeId> = membership.nodes().into_iter().collect();
            assert_eq!(next(&known, &wanted(&replicas, &BTreeSet::new(), &membership)), step, "{membership:?}");
        }
    }

    #[test]
    fn who_is_preferred_leads_when_all_else_is_done() {
        let three = membership(&[&[1, 2, 3]], &[]);
        let next_of = |membership: &Membership, lag: u64| {
            let lags = BTreeMap::from([(NodeId(2), lag), (NodeId(3), 0)]);
            let wanted = wanted(&[1, 2, 3].map(NodeId), &BTreeSet::new(), membership);
            let wanted = Wanted { leader: Some(NodeId(2)), ..wanted };
            [1, 2].map(|me| next(&Known { me: NodeId(me), membership, lags: &lags, is_full: false }, &wanted))
        };
        assert_eq!(next_of(&three, 0), [Some(Step::HandOver(NodeId(2))), None]);
        assert_eq!(next_of(&three, 65), [None, None]);
        assert_eq!(next_of(&membership(&[&[1, 2, 3]], &[4]), 0)[0], Some(Step::Forget(NodeId(4))));
    }

    /// A catalog, of which the replicas are at once where they shall be.
    pub(in super::super) struct World {
        pub(in super::super) machine: Machine,
        index: u64,
        replication: usize,
    }

    impl World {
        /// With shards on node 1.
        pub(in super::super) fn new(shards: u32) -> Self {
            let mut world = World { machine: Machine::new(ShardId::CATALOG), index: 0, replication: 3 };
            world.apply(Command::AddShards { shards: (1..=shards).map(ShardId).collect() });
            world.apply(Command::Barrier { version: VERSION_OF_NODES });
            world
        }

        pub(in super::super) fn apply(&mut self, command: Command) {
            self.index += 1;
            let mut builder = EntryBuilder::new();
            builder.add_command(&command);
            let entry = Entry::parse(builder.finish(Hlc(self.index))).unwrap();
            let outcome = self.machine.apply(Position { term: 1, index: self.index }, &entry).unwrap();
            assert!(!matches!(outcome.replies[..], [Reply::Refused(_)]), "{command:?}: {outcome:?}");
        }

        fn join(&mut self, node: u64, rack: Option<&'static str>) {
            self.allocate(node, rack);
            self.settle();
        }

        pub(in super::super) fn allocate(&mut self, node: u64, rack: Option<&'static str>) {
            self.apply(Command::AllocateNode {
                incarnation: Incarnation(node.into()),
                wanted: Some(NodeId(node)),
                peer: Endpoint { protocol: "peer".into(), host: "h".into(), port: 1 },
                endpoints: Vec::new(),
                rack: rack.map(Bytes::from),
                version: VERSION_OF_NODES as u16,
            });
        }

        fn set(&mut self, node: u64, state: NodeState) {
            self.apply(Command::SetNodeState { node: NodeId(node), state });
            if state != NodeState::Removed {
                self.settle();
            }
        }

        /// Makes every move there is, and returns how many those were.
        pub(in super::super) fn settle(&mut self) -> usize {
            for moves in 0..200 {
                if let Some((shard, revision)) = next_given_up(&self.machine.catalog) {
                    self.apply(Command::GiveUpShard { shard, revision });
                    continue;
                }
                let catalog = &self.machine.catalog;
                let next = next_move(catalog, self.replication, NodeId(1), &BTreeSet::new());
                let next = next.or_else(|| next_shard(catalog));
                let Some(Move { shard, revision, replicas, preferred }) = next.or_else(|| next_balance(catalog)) else {
                    return moves;
                };
                self.apply(Command::PlaceShard { shard, revision, replicas, preferred });
                let grown = growing(&self.machine.catalog);
                self.apply(Command::AddShards { shards: grown });
            }
            panic!("there is no end to it");
        }

        fn replicas(&self) -> Vec<BTreeSet<NodeId>> {
            self.machine.catalog.placements().map(|(_, placement)| as_set(&placement.replicas)).collect()
        }

        /// How many replicas each of these nodes has, and how many shards it is to lead.
        pub(in super::super) fn loads(&self, numbers: &[u64]) -> Vec<(usize, usize)> {
            let load = Load::of(&self.machine.catalog);
            numbers.iter().map(|node| (load.replicas(NodeId(*node)), load.leads(NodeId(*node)))).collect()
        }
    }

    #[test]
    fn shards_spread_over_nodes_as_they_come() {
        let mut world = World::new(2);
        world.join(1, None);
        assert_eq!(world.replicas(), [nodes(&[1]), nodes(&[1])]);
        world.join(2, None);
        assert_eq!(world.replicas(), [nodes(&[1, 2]), nodes(&[1, 2])]);
        world.join(3, None);
        assert_eq!(world.loads(&[1, 2, 3]), [(3, 1); 3], "and there is one more shard, so that each leads one");
        for node in 4..=9 {
            world.join(node, None);
            let numbers: Vec<u64> = (1..=node).collect();
            let loads = world.loads(&numbers);
            assert!(loads.iter().all(|load| *load == (3, 1)), "{loads:?}");
        }
        assert_eq!(world.settle(), 0);
    }

    #[test]
    fn a_node_that_is_to_leave_keeps_nothing_where_others_can_have_it() {
        let mut world = World::new(4);
        (1..=4).for_each(|node| world.join(node, None));
        world.set(2, NodeState::Draining);
        assert_eq!(world.loads(&[2]), [(0, 0)]);
        assert!(world.replicas().iter().all(|replicas| *replicas == nodes(&[1, 3, 4])));
        // With three left, of which one is to leave, there is nobody else.
        world.set(2, NodeState::Removed);
        world.set(3, NodeState::Draining);
        assert!(world.replicas().iter().all(|replicas| *replicas == nodes(&[1, 3, 4])));
        world.join(5, None);
        assert!(world.replicas().iter().all(|replicas| *replicas == nodes(&[1, 4, 5])));
        world.set(3, NodeState::Active);
        let loads = world.loads(&[1, 3, 4, 5]);
        assert!(loads.iter().all(|(replicas, leads)| *replicas == 3 && *leads == 1), "{loads:?}");
    }

    #[test]
    fn what_is_more_than_there_has_to_be_goes_only_with_a_node_that_is_to_leave() {
        let mut world = World::new(2);
        world.replication = 5;
        (1..=5).for_each(|node| world.join(node, None));
        assert_eq!(world.loads(&[1, 2, 3, 4, 5]), [(5, 1); 5]);
        world.replication = 3;
        assert_eq!(world.settle(), 0);
        let replicas = |world: &World| world.loads(&[1, 2, 3, 4, 5]).into_iter().map(|load| load.0).collect::<Vec<_>>();
        world.set(5, NodeState::Draining);
        assert_eq!(replicas(&world), [5, 5, 5, 5, 0]);
        world.set(4, NodeState::Draining);
        assert_eq!(replicas(&world), [5, 5, 5, 0, 0]);
        // Now there are no more than there have to be.
        world.set(3, NodeState::Draining);
        assert_eq!(replicas(&world), [5, 5, 5, 0, 0]);
        world.set(4, NodeState::Active);
        assert_eq!(replicas(&world), [5, 5, 0, 5, 0]);
        [3, 5].into_iter().for_each(|node| world.set(node, NodeState::Active));
        assert_eq!(world.loads(&[1, 2, 3, 4, 5]), [(3, 1); 5]);
    }

    #[test]
    fn a_node_that_is_to_leave_leads_nothing_where_another_is_there() {
        let mut world = World::new(3);
        (1..=3).for_each(|node| world.join(node, None));
        assert_eq!(world.loads(&[1, 2, 3]), [(3, 1); 3]);
        world.set(3, NodeState::Draining);
        let loads = world.loads(&[1, 2, 3]);
        assert!(loads == [(3, 2), (3, 1), (3, 0)] || loads == [(3, 1), (3, 2), (3, 0)], "{loads:?}");
        world.set(2, NodeState::Draining);
        assert_eq!(world.loads(&[1, 2, 3]), [(3, 3), (3, 0), (3, 0)]);
        // Somebody has to.
        world.set(1, NodeState::Draining);
        assert_eq!(world.loads(&[1, 2, 3]), [(3, 3), (3, 0), (3, 0)]);
        (1..=3).for_each(|node| world.set(node, NodeState::Active));
        assert_eq!(world.loads(&[1, 2, 3]), [(3, 1); 3]);
    }

    #[test]
    fn of_two_the_one_that_stays_decides() {
        let (both, leaving) = ([1, 2].map(NodeId), nodes(&[1]));
        let next_of = |me: u64, membership: &Membership, lags: &[(u64, u64)]| {
            let lags = lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect();
            next(
                &Known { me: NodeId(me), membership, lags: &lags, is_full: false },
                &wanted(&both, &leaving, membership),
            )
        };
        let following = membership(&[&[1]], &[2]);
        assert_eq!(next_of(1, &following, &[]), None, "which is not heard");
        assert_eq!(next_of(1, &following, &[(2, 0)]), Some(Step::Vote(nodes(&[1, 2]))));
        assert_eq!(next_of(1, &membership(&[&[1, 2]], &[]), &[(2, 0)]), Some(Step::HandOver(NodeId(2))));
        assert_eq!(next_of(2, &membership(&[&[1, 2]], &[]), &[(1, 0)]), Some(Step::Vote(nodes(&[2]))));
        assert_eq!(next_of(2, &membership(&[&[2]], &[1]), &[(1, 0)]), None, "and the other follows");
    }

    /// So many nodes, some of which are to leave.
    fn nodes_that_leave(count: u64, leaving: &[u64]) -> World {
        let mut world = World::new(1);
        (1..=count).for_each(|node| world.allocate(node, None));
        let set = |node: &u64| Command::SetNodeState { node: NodeId(*node), state: NodeState::Draining };
        leaving.iter().map(set).for_each(|command| world.apply(command));
        world
    }

    #[test]
    fn the_catalog_keeps_its_voters_until_others_can_vote() {
        let voters = |count: u64, leaving: &[u64], replication: usize, voting: &[u64]| {
            let (world, current) = (nodes_that_leave(count, leaving), membership(&[voting], &[]));
            let wanted = catalog_members(&world.machine.catalog, replication, &current);
            let all: BTreeSet<NodeId> = (1..=count).map(NodeId).collect();
            assert_eq!(wanted.voters.union(&wanted.learners).copied().collect::<BTreeSet<_>>(), all);
            wanted.voters.into_iter().map(|node| node.0).collect::<Vec<_>>()
        };
        let grown = [1, 2, 3, 4, 5, 6, 7].map(|count| voters(count, &[], 3, &[1]).len());
        assert_eq!(grown, [1, 1, 3, 3, 5, 5, 5]);
        assert_eq!(voters(4, &[], 3, &[2, 3, 4]), [2, 3, 4], "those that vote go on");
        // Nobody can take the vote of one of three, or of two of four.
        assert_eq!(voters(3, &[3], 3, &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(voters(3, &[1, 2, 3], 3, &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(voters(4, &[1, 3], 3, &[1, 2, 3]), [1, 2, 4]);
        assert_eq!(voters(4, &[3], 3, &[1, 2, 3]), [1, 2, 4]);
        assert_eq!(voters(5, &[5], 3, &[1, 2, 3, 4, 5]), [1, 2, 3], "four are enough for three");
        assert_eq!(voters(6, &[1], 3, &[1, 2, 3, 4, 5]), [2, 3, 4, 5, 6]);
        assert_eq!(voters(2, &[1], 3, &[1]), [2]);
        assert_eq!(voters(2, &[1, 2], 3, &[1]), [1]);
        // With fewer replicas to have, fewer nodes are enough.
        assert_eq!(voters(3, &[3], 1, &[1, 2, 3]), [1]);
        assert_eq!(voters(5, &[5], 5, &[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_node_that_is_to_leave_hands_the_catalog_to_one_that_stays() {
        let (world, three) = (nodes_that_leave(3, &[1]), membership(&[&[1, 2, 3]], &[]));
        let next_of = |me: u64, lags: &[(u64, u64)]| {
            let lags = lags.iter().map(|(node, lag)| (NodeId(*node), *lag)).collect();
            let known = Known { me: NodeId(me), membership: &three, lags: &lags, is_full: false };
            next(&known, &wanted_of_catalog(&world.machine.catalog, 3, &known))
        };
        assert_eq!(next_of(1, &[(2, 0), (3, 0)]), Some(Step::HandOver(NodeId(2))));
        assert_eq!(next_of(1, &[(2, 65), (3, 0)]), Some(Step::HandOver(NodeId(3))));
        assert_eq!(next_of(1, &[(2, 65)]), None);
        assert_eq!(next_of(3, &[(1, 0), (2, 0)]), None, "which stays itself");
    }

    #[test]
    fn what_nobody_else_can_have_is_kept_until_somebody_comes() {
        let kept_by = |world: &World, replication: usize, voting: &[u64]| {
            let kept = kept(&world.machine.catalog, replication, &membership(&[voting], &[]));
            kept.into_iter().map(|(node, shard)| (node.0, shard.0)).collect::<Vec<_>>()
        };
        let mut world = World::new(2);
        world.join(1, None);
        world.set(1, NodeState::Draining);
        assert_eq!(kept_by(&world, 3, &[1]), [(1, 0), (1, 1), (1, 2)]);
        world.set(1, NodeState::Active);
        assert_eq!(kept_by(&world, 3, &[1]), []);
        (2..=3).for_each(|node| world.join(node, None));
        world.set(3, NodeState::Draining);
        assert_eq!(kept_by(&world, 3, &[1, 2, 3]), [(3, 0), (3, 1), (3, 2), (3, 3)]);
        // As soon as there is another one it only has to wait.
        world.allocate(4, None);
        assert_eq!(kept_by(&world, 3, &[1, 2, 3]), []);
        // Which cannot stand in for two.
        world.set(2, NodeState::Draining);
        let mut kept: Vec<u32> = kept_by(&world, 3, &[1, 2, 4]).into_iter().map(|(_, shard)| shard).collect();
        kept.sort_unstable();
        assert_eq!(kept, [0, 1, 2, 3]);
    }

    #[test]
    fn replicas_are_in_as_many_racks_as_there_are() {
        let mut world = World::new(3);
        for (node, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
            world.join(node, Some(rack));
        }
        let racks: Vec<BTreeSet<u64>> =
            world.replicas().iter().map(|replicas| replicas.iter().map(|node| node.0.div_ceil(2)).collect()).collect();
        assert!(racks.iter().all(|racks| racks.len() == 3), "{:?}", world.replicas());
    }

    /// The new shards that there are, and where their replicas shall be.
    fn growing_on(world: &World) -> Vec<(u32, BTreeSet<NodeId>)> {
        let catalog = &world.machine.catalog;
        let placed = growing(catalog).into_iter().map(|shard| (shard, catalog.placement(shard).unwrap()));
        placed.map(|(shard, placement)| (shard.0, as_set(&placement.replicas))).collect()
    }

    /// Places the shard that there shall be, which is not founded yet.
    fn begin(world: &mut World) {
        let Move { shard, revision, replicas, preferred } = next_shard(&world.machine.catalog).unwrap();
        world.apply(Command::PlaceShard { shard, revision, replicas, preferred });
    }

    /// Three nodes with two shards, the third of which is placed on node 3.
    fn beginning() -> World {
        let mut world = World::new(2);
        (1..=2).for_each(|node| world.join(node, None));
        // As `join` does, but nobody has been told yet.
        world.allocate(3, None);
        begin(&mut world);
        assert_eq!(growing_on(&world), [(3, nodes(&[3]))]);
        world
    }

    #[test]
    fn a_new_shard_whose_node_leaves_is_given_up_and_another_takes_its_place() {
        let mut world = beginning();
        assert_eq!(next_given_up(&world.machine.catalog), None, "its node may come yet");
        let unfounded = BTreeSet::from([ShardId(3)]);
        let next = next_move(&world.machine.catalog, 3, NodeId(1), &unfounded).unwrap();
        assert_ne!(next.shard, ShardId(3), "nobody else may found it");
        world.apply(Command::SetNodeState { node: NodeId(3), state: NodeState::Draining });
        assert_eq!(next_given_up(&world.machine.catalog), Some((ShardId(3), 1)));
        world.settle();
        assert_eq!(world.loads(&[3]), [(0, 0)]);
        world.set(3, NodeState::Removed);
        world.join(4, None);
        let placed: Vec<u32> = world.machine.catalog.placements().map(|(shard, _)| shard.0).collect();
        assert_eq!(placed, [1, 2, 4]);
        assert_eq!(world.loads(&[1, 2, 4]), [(3, 1); 3]);
    }

    #[test]
    fn a_new_shard_is_not_moved_from_the_node_that_has_founded_it() {
        let mut world = beginning();
        let move_of = |world: &World| next_move(&world.machine.catalog, 3, NodeId(1), &BTreeSet::new());
        while let Some(Move { shard, revision, replicas, preferred }) = move_of(&world) {
            world.apply(Command::PlaceShard { shard, revision, replicas, preferred });
        }
        assert_eq!(growing_on(&world), [(3, nodes(&[1, 2, 3]))]);
        for node in 4..=6 {
            world.allocate(node, None);
        }
        let balance = next_balance(&world.machine.catalog).unwrap();
        assert_ne!(balance.shard, ShardId(3), "what has begun is brought to its end first");
        // Whichever of its nodes leaves: only the first is sure to have it.
        for (node, given_up) in [(5, None), (2, Some((ShardId(3), 2)))] {
            world.apply(Command::SetNodeState { node: NodeId(node), state: NodeState::Draining });
            assert_eq!(next_given_up(&world.machine.catalog), given_up);
        }
        // As soon as it counts it has what was acknowledged, and moves like all others.
        world.apply(Command::AddShards { shards: vec![ShardId(3)] });
        assert_eq!(next_given_up(&world.machine.catalog), None);
        while let Some(Move { shard, revision, replicas, preferred }) = move_of(&world) {
            world.apply(Command::PlaceShard { shard, revision, replicas, preferred });
        }
        assert!(world.replicas().iter().all(|replicas| !replicas.contains(&NodeId(2))));
    }

    #[test]
    fn an_even_number_does_not_vote() {
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(voter_count), [0, 1, 1, 3, 3, 5, 5]);
    }
}
