//! Which shards change places between two nodes because of what they take and keep. Pure: from what the shards' leaders
//! have measured.
//!
//! [`super::plan`] gives nodes as many shards as one another; this looks at what those weigh. A shard goes one way and,
//! where it has to be as many as before, a lighter one the other way. What goes is no more than half of the difference
//! between the two nodes, so every exchange makes that smaller, and there is an end.

use super::plan::{self, Move};
use super::shed::{CRUMB, HOT_BYTES_A_SECOND, HOT_FACTOR};
use machine::catalog::{Catalog, Node, Placement};
use model::{NodeId, ShardId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Files are not copied to make a smaller difference than this smaller.
const GAP_BYTES: u64 = 16 << 30;

/// Shards change places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The node that has too much.
    pub from: NodeId,
    /// The one that has less.
    pub to: NodeId,
    /// One of each shard that changes its place.
    pub moves: Vec<Move>,
}

/// Leadership that goes from a node whose shards take much to one whose shards take less, by what shards take in bytes a
/// second. Nothing is copied for it.
#[must_use]
pub fn of_leaders(catalog: &Catalog, rates: &BTreeMap<ShardId, u64>) -> Option<Exchange> {
    let all = Shards::of(catalog, rates);
    let leads = |node: NodeId| all.iter().filter(move |shard| shard.placement.preferred == node);
    let is_uneven = |most: u64, least: u64| most >= HOT_BYTES_A_SECOND && most >= least.saturating_mul(HOT_FACTOR);
    all.best(is_uneven, leads, |shard, _, to| {
        let has = shard.placement.replicas.contains(&to);
        has.then(|| Move { preferred: to, ..shard.as_it_is() })
    })
}

/// Replicas that go from a node that keeps much to one that keeps less, by the bytes of shards' files. Copies them, so
/// differences have to be large.
#[must_use]
pub fn of_replicas(catalog: &Catalog, kept: &BTreeMap<ShardId, u64>) -> Option<Exchange> {
    let all = Shards::of(catalog, kept);
    let has = |node: NodeId| all.iter().filter(move |shard| shard.placement.replicas.contains(&node));
    let is_uneven = |most: u64, least: u64| most - least >= GAP_BYTES && most >= least.saturating_mul(HOT_FACTOR);
    all.best(is_uneven, has, |shard, from, to| {
        let before = &shard.placement.replicas;
        if before.contains(&to) {
            return None;
        }
        let replicas = plan::with(before, from, to);
        if plan::shared_racks(&all.active, &replicas) > plan::shared_racks(&all.active, before) {
            return None;
        }
        let known = shard.placement.preferred;
        Some(Move { replicas, preferred: if known == from { to } else { known }, ..shard.as_it_is() })
    })
}

/// A shard that counts and was measured, and whose replicas are all on nodes that stay.
struct Weighed<'a> {
    shard: ShardId,
    placement: &'a Placement,
    weight: u64,
}

impl Weighed<'_> {
    fn as_it_is(&self) -> Move {
        let Placement { revision, replicas, preferred } = self.placement;
        Move { shard: self.shard, revision: *revision, replicas: replicas.clone(), preferred: *preferred }
    }
}

struct Shards<'a> {
    active: BTreeMap<NodeId, &'a Node>,
    weighed: Vec<Weighed<'a>>,
}

impl<'a> Shards<'a> {
    fn of(catalog: &'a Catalog, weights: &BTreeMap<ShardId, u64>) -> Self {
        let active = plan::active(catalog);
        let weighed = catalog.shards().filter_map(|shard| {
            let (placement, weight) = (catalog.placement(shard)?, *weights.get(&shard)?);
            let stays = placement.replicas.iter().all(|node| active.contains_key(node));
            stays.then_some(Weighed { shard, placement, weight })
        });
        let weighed = weighed.collect();
        Shards { active, weighed }
    }

    fn iter(&self) -> impl Iterator<Item = &Weighed<'a>> {
        self.weighed.iter()
    }

    /// The exchange between the two nodes that differ most which makes that smallest; or of the two next to them.
    /// `of_node` says what makes a node heavy, `moved` what becomes of a shard that goes, if it can.
    fn best<'s, Of: Iterator<Item = &'s Weighed<'a>>>(
        &'s self,
        is_uneven: impl Fn(u64, u64) -> bool,
        of_node: impl Fn(NodeId) -> Of,
        moved: impl Fn(&Weighed<'_>, NodeId, NodeId) -> Option<Move>,
    ) -> Option<Exchange>
    where
        'a: 's,
    {
        let nodes: Vec<(NodeId, u64, usize)> = self
            .active
            .keys()
            .map(|node| (*node, of_node(*node).map(|shard| shard.weight).sum(), of_node(*node).count()))
            .collect();
        let pairs = nodes.iter().flat_map(|heavy| nodes.iter().map(move |light| (*heavy, *light)));
        let mut pairs: Vec<_> =
            pairs.filter(|(heavy, light)| heavy.1 > light.1 && is_uneven(heavy.1, light.1)).collect();
        pairs.sort_by_key(|(heavy, light)| (Reverse(heavy.1 - light.1), heavy.0, light.0));
        pairs.into_iter().find_map(|((from, most, many), (to, least, few))| {
            let gap = most - least;
            let going = |from, to| {
                let moved = &moved;
                of_node(from).filter_map(move |shard| Some((shard.weight, moved(shard, from, to)?)))
            };
            let back: Vec<(u64, Move)> = going(to, from).collect();
            let alone = (few < many).then_some((0, None));
            let back: Vec<(u64, Option<Move>)> =
                back.into_iter().map(|(weight, back)| (weight, Some(back))).chain(alone).collect();
            let both = going(from, to).flat_map(|(weight, there)| {
                let fits = |light: u64| weight > light && weight - light <= gap / 2 && weight - light >= gap / CRUMB;
                let back = back.iter().filter(move |(light, _)| fits(*light));
                back.map(move |(light, back)| (weight - light, there.clone(), back.clone())).collect::<Vec<_>>()
            });
            let (_, there, back) = both.max_by_key(|(weight, there, back)| {
                (*weight, Reverse(there.shard), Reverse(back.as_ref().map(|back| back.shard)))
            })?;
            Some(Exchange { from, to, moves: std::iter::once(there).chain(back).collect() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::World;
    use super::*;
    use machine::Command;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// Places a shard on nodes, the first of which is to lead.
    fn place(world: &mut World, shard: u32, replicas: &[u64]) {
        let shard = ShardId(shard);
        let revision = world.machine.catalog.placement(shard).map_or(0, |placement| placement.revision);
        let replicas: Vec<NodeId> = replicas.iter().map(|node| NodeId(*node)).collect();
        let preferred = replicas[0];
        world.apply(Command::PlaceShard { shard, revision, replicas, preferred });
    }

    /// So many nodes in these racks, if any, and shards on them.
    fn placed(nodes: u64, racks: &[&'static str], shards: &[&[u64]]) -> World {
        let mut world = World::new(shards.len() as u32);
        (1..=nodes).for_each(|node| world.allocate(node, racks.get(node as usize - 1).copied()));
        (1..).zip(shards).for_each(|(shard, replicas)| place(&mut world, shard, replicas));
        world
    }

    fn weights(unit: u64, weights: &[u64]) -> BTreeMap<ShardId, u64> {
        (1..).map(ShardId).zip(weights.iter().map(|weight| weight * unit)).collect()
    }

    /// Who is preferred to lead after an exchange: shard and node.
    fn leaders(world: &World, rates: &[u64]) -> Vec<(u32, u64)> {
        let exchange = of_leaders(&world.machine.catalog, &weights(MIB, rates));
        exchange.into_iter().flat_map(|exchange| exchange.moves).map(|to| (to.shard.0, to.preferred.0)).collect()
    }

    #[test]
    fn a_hot_leader_changes_places_with_one_that_takes_less() {
        let all = [1, 2, 3];
        let shards: [&[u64]; 6] = [&all, &all, &[2, 1, 3], &[2, 1, 3], &[3, 1, 2], &[3, 1, 2]];
        let world = placed(3, &[], &shards);
        assert_eq!(leaders(&world, &[10, 5, 0, 0, 1, 1]), [(2, 2), (3, 1)], "both nodes lead as many as before");
        assert_eq!(leaders(&world, &[10, 0, 0, 0, 0, 0]), [], "it would be as hot elsewhere");
        assert_eq!(leaders(&world, &[10, 5, 9, 0, 9, 0]), [], "not twice as much");
        assert_eq!(leaders(&world, &[2, 1, 0, 0, 0, 0]), [], "nobody is hot");
        assert_eq!(leaders(&world, &[]), [], "nothing was measured");
    }

    #[test]
    fn it_goes_alone_to_a_node_that_leads_fewer() {
        let world = placed(3, &[], &[&[1, 2, 3], &[1, 2, 3], &[2, 1, 3]]);
        assert_eq!(leaders(&world, &[10, 5, 1]), [(2, 3)]);
        // Only where there is a replica.
        let world = placed(4, &[], &[&[1, 2, 3], &[1, 2, 3], &[2, 1, 3], &[3, 1, 2]]);
        assert_eq!(leaders(&world, &[10, 5, 1, 2]), [(2, 2)]);
    }

    #[test]
    fn what_is_to_leave_is_left_alone() {
        let mut world = placed(3, &[], &[&[1, 2, 3], &[1, 2, 3], &[2, 1, 3]]);
        let state = machine::catalog::NodeState::Draining;
        world.apply(Command::SetNodeState { node: NodeId(3), state });
        assert_eq!(leaders(&world, &[10, 5, 1]), []);
    }

    /// Where replicas are after an exchange.
    fn replicas(world: &World, kept: &[u64]) -> Vec<(u32, Vec<u64>, u64)> {
        let exchange = of_replicas(&world.machine.catalog, &weights(GIB, kept));
        let moves = exchange.into_iter().flat_map(|exchange| exchange.moves);
        moves.map(|to| (to.shard.0, to.replicas.iter().map(|node| node.0).collect(), to.preferred.0)).collect()
    }

    #[test]
    fn a_large_replica_changes_places_with_a_small_one() {
        let shards: [&[u64]; 4] = [&[1, 2, 3], &[1, 2, 4], &[4, 5, 6], &[5, 6, 3]];
        let world = placed(6, &[], &shards);
        let exchanged = replicas(&world, &[100, 60, 2, 1]);
        assert_eq!(exchanged, [(2, vec![5, 2, 4], 5), (4, vec![1, 6, 3], 1)], "160 here, 3 there");
        assert_eq!(replicas(&world, &[10, 6, 2, 1]), [], "not worth copying");
        assert_eq!(replicas(&world, &[100, 100, 95, 95]), [], "nor is that");
    }

    #[test]
    fn racks_come_before_load() {
        let shards: [&[u64]; 2] = [&[1, 3], &[2, 4]];
        let world = placed(4, &["a", "a", "b", "b"], &shards);
        let exchanged = replicas(&world, &[60, 20]);
        assert!(exchanged.is_empty(), "{exchanged:?}: the whole difference would go over");
        let shards: [&[u64]; 4] = [&[1, 3], &[1, 3], &[2, 4], &[2, 4]];
        let world = placed(4, &["a", "a", "b", "b"], &shards);
        for (_, replicas, _) in replicas(&world, &[60, 20, 2, 2]) {
            let racks: Vec<bool> = replicas.iter().map(|node| *node <= 2).collect();
            assert_ne!(racks[0], racks[1], "{replicas:?}");
        }
        assert!(!replicas(&world, &[60, 20, 2, 2]).is_empty());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let numbers: Vec<u64> = (1..=5).collect();
        let mut world = World::new(15);
        numbers.iter().for_each(|node| world.allocate(*node, None));
        world.settle();
        let weights: Vec<u64> = (1..=15).map(|shard: u64| shard * shard * 2).collect();
        let (rates, kept) = (self::weights(MIB, &weights), self::weights(GIB, &weights));
        let counts = |world: &World| world.loads(&numbers);
        let before = counts(&world);
        for moves in 0.. {
            assert!(moves < 100, "there is no end to it");
            let catalog = &world.machine.catalog;
            let next = of_leaders(catalog, &rates).or_else(|| of_replicas(catalog, &kept));
            let Some(Exchange { moves, .. }) = next else { break };
            for Move { shard, revision, replicas, preferred } in moves {
                world.apply(Command::PlaceShard { shard, revision, replicas, preferred });
            }
            world.settle();
        }
        assert_eq!(counts(&world), before, "as many as one another");
        let total = |node: &u64, counts: &dyn Fn(&Placement) -> bool| -> u64 {
            let placed = world.machine.catalog.placements().filter(|(shard, _)| *shard != ShardId::CATALOG);
            let of_it = placed.filter(|(_, placement)| counts(placement));
            of_it
                .map(|(shard, placement)| kept[&shard] / GIB * u64::from(placement.replicas.contains(&NodeId(*node))))
                .sum()
        };
        let held: Vec<u64> = numbers.iter().map(|node| total(node, &|_| true)).collect();
        let led: Vec<u64> =
            numbers.iter().map(|node| total(node, &|placement| placement.preferred == NodeId(*node))).collect();
        for sums in [held, led] {
            assert!(sums.iter().max().unwrap() < &(2 * sums.iter().min().unwrap()), "{sums:?}");
        }
    }
}
