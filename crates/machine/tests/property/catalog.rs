//! Whatever the catalog is asked: its nodes, placements and slots fit together, and no group changes its
//! shard unless slots were assigned.

use super::replica::config;
use bytes::Bytes;
use machine::catalog::{Endpoint, NodeState};
use machine::command::NewTopic;
use machine::machine::VERSION_OF_NODES;
use machine::{Command, Machine, Position, Reply};
use model::{Entry, EntryBuilder, Hlc, Incarnation, Name, NodeId, ShardId, StreamId, TopicId, limit};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A command for the catalog, about few things, so that commands meet.
pub(super) fn command() -> impl Strategy<Value = Command> {
    let id = || (1u8..5).prop_map(|byte| TopicId([byte; 16]));
    let topic = ("[abc]", id(), 0u32..6, config()).prop_map(|(name, id, partitions, config)| NewTopic {
        name: Name::new(&name).expect("a letter is a name"),
        id,
        partitions,
        config,
        settings: Vec::new(),
    });
    prop_oneof![
        1 => vec((1u32..5).prop_map(ShardId), 1..3).prop_map(|shards| Command::AddShards { shards }),
        3 => topic.prop_map(|topic| Command::CreateTopic { topic }),
        2 => id().prop_map(|id| Command::DeleteTopic { id }),
        1 => (id(), 0u64..3, config()).prop_map(|(id, revision, config)| {
            Command::ConfigureTopic { id, revision, config, settings: vec![("a".into(), "b".into())] }
        }),
        1 => (id(), 0u32..9).prop_map(|(id, partitions)| Command::AddPartitions { id, partitions }),
        1 => (0u32..9).prop_map(|count| Command::AllocateProducerIds { count }),
        2 => (1u32..5, vec(1u64..9, 1..5)).prop_map(|(to, items)| Command::Delivered { to: ShardId(to), items }),
        2 => (0u32..4).prop_map(|version| Command::Barrier { version }),
        2 => (id(), 0u32..6, 1u32..5).prop_map(|(id, partition, to)| {
            Command::MoveStream { id, partition, to: ShardId(to) }
        }),
        2 => (1u64..9, 1u32..5, any::<bool>()).prop_map(|(stream, by, has_older)| {
            Command::StreamAdopted { stream: StreamId(stream), by: ShardId(by), has_older }
        }),
        1 => (1u64..9).prop_map(|stream| Command::OlderGone { stream: StreamId(stream) }),
        9 => about_nodes(),
    ]
}

fn about_nodes() -> impl Strategy<Value = Command> {
    let node = || (1u64..6).prop_map(NodeId);
    let shard = || (0u32..5).prop_map(ShardId);
    let incarnation = || (1u128..7).prop_map(Incarnation);
    let endpoint = |protocol: &'static str| {
        let host = prop_oneof![9 => Just("a"), 9 => Just("b"), 1 => Just("no name")];
        host.prop_map(move |host| Endpoint { protocol: Bytes::from(protocol), host: Bytes::from(host), port: 9092 })
    };
    let rack = || prop::option::of(prop_oneof![Just("east"), Just("west")].prop_map(Bytes::from));
    let about =
        move || (endpoint("peer"), vec(endpoint("kafka"), 0..3), rack(), prop_oneof![9 => 2u16..4, 1 => Just(1)]);
    let state =
        prop_oneof![3 => Just(NodeState::Active), 2 => Just(NodeState::Draining), 2 => Just(NodeState::Removed)];
    prop_oneof![
        3 => (incarnation(), prop::option::of(node()), about()).prop_map(|(incarnation, wanted, about)| {
            let (peer, endpoints, rack, version) = about;
            Command::AllocateNode { incarnation, wanted, peer, endpoints, rack, version }
        }),
        2 => (node(), incarnation(), about()).prop_map(|(node, incarnation, (peer, endpoints, rack, version))| {
            Command::UpdateNode { node, incarnation, peer, endpoints, rack, version }
        }),
        2 => (node(), state).prop_map(|(node, state)| Command::SetNodeState { node, state }),
        3 => (shard(), 0u64..3, vec(node(), 0..4), node()).prop_map(|(shard, revision, mut replicas, preferred)| {
            // Mostly what can be accepted.
            replicas.push(preferred);
            replicas.dedup();
            Command::PlaceShard { shard, revision, replicas, preferred }
        }),
        2 => (0u32..4200, 0u32..900, shard(), 0u64..3).prop_map(|(first, count, shard, revision)| {
            Command::AssignSlots { first, count, shard, revision }
        }),
        2 => (shard(), 0u64..3).prop_map(|(shard, revision)| Command::GiveUpShard { shard, revision }),
    ]
}

fn apply(machine: &mut Machine, index: u64, command: &Command) -> Reply {
    let mut builder = EntryBuilder::new();
    builder.add_command(command);
    let entry = Entry::parse(builder.finish(Hlc(index << 16))).expect("an entry");
    machine.apply(Position { term: 1, index }, &entry).expect("commands of this version").replies.remove(0)
}

/// The shard of many names, of each slot where there are slots.
fn homes(machine: &Machine) -> Vec<Option<ShardId>> {
    let names = (0..60).map(|nth| machine.catalog.shard_of(&format!("group-{nth}")));
    let slots = (0..limit::SLOTS).map(|slot| machine.catalog.slots().and_then(|slots| slots.owner(slot)));
    names.chain(slots.step_by(41)).collect()
}

/// What each id was given to, and whether it was taken away.
type Known = BTreeMap<NodeId, (Incarnation, bool)>;

fn known(machine: &Machine) -> Known {
    machine.catalog.nodes().map(|(id, node)| (id, (node.incarnation, node.state == NodeState::Removed))).collect()
}

/// What holds between any two commands.
fn check_state(machine: &Machine) {
    let catalog = &machine.catalog;
    let shards: BTreeSet<ShardId> = catalog.shards().collect();
    let nodes = known(machine);
    let mut streams = BTreeMap::new();
    for (id, topic) in catalog.topics() {
        streams.extend((0u32..).zip(&topic.partitions).map(|(nth, partition)| (partition.stream, (id, nth))));
    }
    for stream in (0..100).map(StreamId) {
        let found = catalog.partition_of(stream).map(|(id, topic, nth)| {
            assert_eq!(topic.partitions[nth as usize].stream, stream);
            (id, nth)
        });
        assert_eq!(found, streams.get(&stream).copied(), "{stream}");
    }
    if machine.version() < VERSION_OF_NODES {
        assert!(nodes.is_empty() && catalog.placements().next().is_none() && catalog.slots().is_none());
        return;
    }
    assert!(nodes.keys().all(|id| (1..=limit::NODE_ID_MAX).contains(&id.0)));
    let incarnations: BTreeSet<Incarnation> = nodes.values().map(|(incarnation, _)| *incarnation).collect();
    assert_eq!(incarnations.len(), nodes.len(), "one id for each");
    for (shard, placement) in catalog.placements() {
        assert!(shard.0 <= limit::SHARDS_MAX);
        let replicas: BTreeSet<NodeId> = placement.replicas.iter().copied().collect();
        assert_eq!(replicas.len(), placement.replicas.len(), "none twice");
        assert!(replicas.len() <= limit::REPLICAS_MAX && replicas.contains(&placement.preferred));
        assert!(
            replicas.iter().all(|id| nodes.get(id).is_some_and(|(_, removed)| !removed)),
            "{placement:?} {nodes:?}"
        );
        assert!(placement.revision > 0);
    }
    assert_eq!(catalog.slots().is_some(), !shards.is_empty(), "dealt out as soon as there are shards");
    if let Some(slots) = catalog.slots() {
        assert_eq!(slots.runs().map(|(count, _)| count).sum::<u32>(), limit::SLOTS);
        assert!(slots.runs().all(|(_, shard)| shards.contains(&shard)));
    }
}

/// Numbers of shards, of which a few are known at any time.
fn given_up(machine: &Machine) -> BTreeSet<ShardId> {
    (0..60).map(ShardId).filter(|shard| machine.catalog.is_given_up(*shard)).collect()
}

proptest! {
    #[test]
    fn nodes_placements_and_slots_fit_together(before in vec(command(), 0..12), after in vec(command(), 1..60)) {
        let mut machine = Machine::new(ShardId::CATALOG);
        let commands = before.into_iter().chain([Command::Barrier { version: VERSION_OF_NODES }]).chain(after);
        for (index, command) in (1..).zip(commands) {
            let (had, homes_before, nodes_before) =
                (machine.catalog.shards().count(), homes(&machine), known(&machine));
            let (version, placed) = (machine.version(), machine.catalog.placements().count());
            let known_shards: BTreeSet<ShardId> =
                machine.catalog.shards().chain(machine.catalog.placements().map(|(shard, _)| shard)).collect();
            let (next, gone, added) =
                (machine.catalog.next_shard(), given_up(&machine), machine.catalog.shards().collect::<Vec<_>>());
            let reply = apply(&mut machine, index, &command);
            check_state(&machine);

            let nodes = known(&machine);
            for (id, (incarnation, removed)) in nodes_before.clone() {
                prop_assert_eq!(nodes[&id].0, incarnation, "an id is given once");
                prop_assert!(nodes[&id].1 || !removed, "for ever");
            }
            prop_assert!(given_up(&machine).is_superset(&gone), "no number is used again");
            prop_assert!(machine.catalog.next_shard() >= next);
            match (&command, &reply) {
                (_, Reply::Refused(_)) => {
                    prop_assert_eq!(&nodes, &nodes_before);
                    prop_assert_eq!(machine.catalog.placements().count(), placed);
                    prop_assert_eq!(homes(&machine), homes_before);
                }
                (Command::AllocateNode { incarnation, wanted, .. }, Reply::Node(id)) => {
                    prop_assert_eq!(nodes[id].0, *incarnation);
                    let is_new = !nodes_before.values().any(|(known, _)| known == incarnation);
                    prop_assert_eq!(nodes.len(), nodes_before.len() + usize::from(is_new));
                    if is_new {
                        let last = nodes_before.keys().next_back().map_or(0, |last| last.0);
                        prop_assert_eq!(*id, wanted.unwrap_or(NodeId(last + 1)), "the one wanted, else the next");
                        prop_assert!(!nodes_before.contains_key(id));
                    }
                }
                (Command::PlaceShard { shard, revision, .. }, Reply::Done) => {
                    let now = machine.catalog.placement(*shard).map(|placement| placement.revision);
                    prop_assert_eq!(now, Some(revision + 1));
                    // One that is not there yet is placed before it is added, and no number is left out.
                    let may_be_placed = *shard == ShardId::CATALOG || *shard == next || known_shards.contains(shard);
                    prop_assert!(may_be_placed);
                }
                (Command::GiveUpShard { shard, .. }, Reply::Done) => {
                    prop_assert!(known_shards.contains(shard) && machine.catalog.is_given_up(*shard));
                    prop_assert!(!added.contains(shard), "nothing was ever put on it");
                    prop_assert_eq!(homes(&machine), homes_before);
                }
                (Command::AssignSlots { first, count, shard, .. }, Reply::Done) => {
                    let slots = machine.catalog.slots().expect("assigned");
                    let whose = (*first..first + count).all(|slot| slots.owner(slot) == Some(*shard));
                    prop_assert!(whose);
                }
                // The rule of before behaviour 2 goes by the number of shards.
                (Command::AddShards { .. }, _) if version < VERSION_OF_NODES || had == 0 => {}
                (Command::Barrier { .. }, _) => {
                    prop_assert_eq!(&homes(&machine)[..60], &homes_before[..60]);
                }
                _ => {
                    prop_assert_eq!(homes(&machine), homes_before);
                }
            }
        }
        let objects: Vec<(Vec<u8>, Vec<u8>)> =
            machine.take_all().into_iter().filter_map(|(key, value)| Some((key, value?.bytes()))).collect();
        let objects = objects.iter().map(|(key, value)| (&key[..], &value[..]));
        let restored = Machine::restore(ShardId::CATALOG, objects).expect("a catalog's objects");
        prop_assert_eq!(restored.digest(), machine.digest());
        check_state(&restored);
    }
}
