//! Streams move between shards while they are written, trimmed, configured and deleted, and items travel in whatever
//! order outboxes allow: what was appended is there once, at its offset, and in the end everybody agrees where.

use crate::piece::Batch;
use bytes::Bytes;
use machine::command::NewTopic;
use machine::machine::VERSION_OF_MOVES;
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::config::StreamConfig;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Name, Offset, ShardId, StreamId, TopicId};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SHARDS: usize = 3;
const TOPIC: TopicId = TopicId([7; 16]);
const PARTITIONS: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A producer's next batch, or its last one again, at the shard that the catalog names or at another one.
    Append {
        partition: u32,
        producer: u64,
        again: bool,
        at: Option<usize>,
    },
    /// A message with an id.
    Message {
        partition: u32,
        id: u8,
    },
    Move {
        partition: u32,
        to: usize,
    },
    /// Some records go, at whichever shard the catalog names, or by retention in any.
    Trim {
        partition: u32,
        share: u64,
        at: Option<usize>,
    },
    Configure {
        large: bool,
    },
    /// An item of an outbox is delivered, and perhaps nobody hears of that.
    Deliver {
        from: usize,
        to: usize,
        heard: bool,
    },
    /// A shard has another leader.
    Elect {
        shard: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let partition = || 0..PARTITIONS;
    let shard = || 0..=SHARDS;
    let maybe = || prop::option::weighted(0.2, 1..=SHARDS);
    prop_oneof![
        6 => (partition(), 1u64..4, prop::bool::weighted(0.3), maybe())
            .prop_map(|(partition, producer, again, at)| Action::Append { partition, producer, again, at }),
        2 => (partition(), 0u8..4).prop_map(|(partition, id)| Action::Message { partition, id }),
        2 => (partition(), 1..=SHARDS).prop_map(|(partition, to)| Action::Move { partition, to }),
        2 => (partition(), 0u64..=4, maybe()).prop_map(|(partition, share, at)| Action::Trim { partition, share, at }),
        1 => any::<bool>().prop_map(|large| Action::Configure { large }),
        12 => (shard(), shard(), prop::bool::weighted(0.8))
            .prop_map(|(from, to, heard)| Action::Deliver { from, to, heard }),
        1 => (1..=SHARDS).prop_map(|shard| Action::Elect { shard }),
    ]
}

struct Node {
    machine: Machine,
    sequencer: Sequencer,
    at: Position,
}

/// What is known of a stream by what was answered.
#[derive(Default)]
struct Log {
    /// What is at each offset: a producer and its number, or a message's id.
    records: BTreeMap<u64, (u64, i32)>,
    end: u64,
    /// The next number of each producer.
    next: BTreeMap<u64, i32>,
    /// Where each message's id was seen.
    ids: BTreeMap<u8, u64>,
    last_epoch: Option<(LeaderEpoch, (ShardId, u64))>,
}

struct World {
    nodes: Vec<Node>,
    logs: BTreeMap<StreamId, Log>,
}

impl World {
    fn new() -> Self {
        let node = |shard| Node {
            machine: Machine::new(ShardId(shard)),
            sequencer: Sequencer::new(1),
            at: Position { term: 1, index: 0 },
        };
        let mut world = World { nodes: (0..=SHARDS as u32).map(node).collect(), logs: BTreeMap::new() };
        for shard in 0..=SHARDS {
            world.command(shard, &Command::Barrier { version: VERSION_OF_MOVES });
        }
        let config = StreamConfig { dedup_window_millis: 1 << 40, ..StreamConfig::default() };
        let name = Name::new("t").expect("a name");
        let topic = NewTopic { name, id: TOPIC, partitions: PARTITIONS, config, settings: Vec::new() };
        world.command(0, &Command::AddShards { shards: (1..=SHARDS as u32).map(ShardId).collect() });
        world.command(0, &Command::CreateTopic { topic });
        world.settle();
        world
    }

    fn command(&mut self, shard: usize, command: &Command) -> Reply {
        let mut builder = EntryBuilder::new();
        builder.add_command(command);
        self.apply(shard, builder)
    }

    fn apply(&mut self, shard: usize, mut builder: EntryBuilder) -> Reply {
        let node = &mut self.nodes[shard];
        node.at.index += 1;
        // Clocks differ between shards.
        let time = Hlc((node.at.index * (1 + shard as u64)) << 16);
        let entry = Entry::parse(builder.finish(time)).expect("an entry");
        let outcome = node.machine.apply(node.at, &entry).expect("commands of this version");
        let index = node.at.index;
        node.sequencer.on_applied(index);
        for piece in &outcome.accepted {
            let log = self.logs.entry(piece.stream).or_default();
            assert_eq!(piece.base.0, log.end, "offsets go on where they were, in whichever shard");
            log.end = piece.end().0;
            let leader = (ShardId(shard as u32), node.at.term);
            if let Some((epoch, of)) = log.last_epoch {
                assert!(piece.epoch > epoch || (piece.epoch == epoch && of == leader), "an epoch has one leader");
            }
            log.last_epoch = Some((piece.epoch, leader));
        }
        outcome.replies.into_iter().next().unwrap_or(Reply::Done)
    }

    fn place(&self, partition: u32) -> (StreamId, usize) {
        let (_, topic) = self.nodes[0].machine.catalog.topic_named("t").expect("it is there");
        let place = topic.partitions[partition as usize];
        (place.stream, place.shard.0 as usize)
    }

    /// As a leader does it: sequenced, then applied.
    fn append(&mut self, shard: usize, stream: StreamId, piece: Batch, message_id: Option<Bytes>) -> Reply {
        let Node { machine, sequencer, at } = &mut self.nodes[shard];
        let request = AppendRequest { stream, bytes: piece.encode().into(), message_id, durability: None };
        let mut builder = EntryBuilder::new();
        match sequencer.append(&machine.messaging, &request, &mut builder, at.index + 1, machine.time()) {
            Sequenced::Answer(reply) => reply,
            Sequenced::Added => self.apply(shard, builder),
        }
    }

    fn produce(&mut self, partition: u32, producer: u64, again: bool, at: Option<usize>) {
        let (stream, shard) = self.place(partition);
        let log = self.logs.entry(stream).or_default();
        let next = *log.next.get(&producer).unwrap_or(&0);
        let number = if again && next > 0 { next - 1 } else { next };
        let known = log.records.iter().find(|(_, record)| **record == (producer, number)).map(|(at, _)| *at);
        let piece = Batch { producer: Some((producer, 0, number)), ..Batch::default() };
        match self.append(at.unwrap_or(shard), stream, piece, None) {
            Reply::Appended { base, .. } => {
                assert_eq!(known, None, "nothing is appended twice");
                let log = self.logs.entry(stream).or_default();
                log.records.insert(base.0, (producer, number));
                log.next.insert(producer, number + 1);
            }
            Reply::Duplicate { base, .. } => assert_eq!(known, Some(base.0)),
            Reply::Refused(Refusal::Moved(_) | Refusal::UnknownStream) => {}
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, partition: u32, id: u8) {
        let (stream, shard) = self.place(partition);
        let known = self.logs.get(&stream).and_then(|log| log.ids.get(&id)).copied();
        match self.append(shard, stream, Batch::default(), Some(Bytes::from(vec![id]))) {
            Reply::Appended { base, .. } => {
                assert_eq!(known, None, "the id was seen");
                self.logs.entry(stream).or_default().ids.insert(id, base.0);
            }
            Reply::Duplicate { base, .. } => assert_eq!(known, Some(base.0)),
            Reply::Refused(Refusal::Moved(_) | Refusal::UnknownStream) => {}
            other => panic!("{other:?}"),
        }
    }

    fn trim(&mut self, partition: u32, share: u64, at: Option<usize>) {
        let (stream, shard) = self.place(partition);
        let shard = at.unwrap_or(shard);
        let messaging = &self.nodes[shard].machine.messaging;
        let Some(state) = messaging.stream(stream) else { return };
        let start = messaging.start_of(stream).expect("it is there");
        let to = Offset(start.0 + state.end.since(start) * share / 4);
        let reply = self.command(shard, &Command::Trim { stream, to });
        assert!(matches!(reply, Reply::Trimmed { start } if start >= to), "{reply:?}");
    }

    /// Delivers the oldest item that `from` has for `to`. Returns whether there was one.
    fn deliver(&mut self, from: usize, to: usize, heard: bool) -> bool {
        let [source, target] = [from, to].map(|shard| ShardId(shard as u32));
        let oldest = self.nodes[from].machine.outbox.pending(target).next();
        let Some((item, command)) = oldest.map(|(item, command)| (item, command.clone())) else { return false };
        let reply = self.command(to, &Command::Deliver { from: source, item, command: command.clone() });
        assert!(!matches!(reply, Reply::Refused(Refusal::NotYet)));
        if heard {
            self.command(from, &Command::Delivered { to: target, items: vec![item] });
        }
        true
    }

    fn settle(&mut self) {
        loop {
            let pairs = (0..=SHARDS).flat_map(|from| (0..=SHARDS).map(move |to| (from, to)));
            if !pairs.into_iter().fold(false, |any, (from, to)| self.deliver(from, to, true) || any) {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append { partition, producer, again, at } => self.produce(partition, producer, again, at),
            Action::Message { partition, id } => self.send(partition, id),
            Action::Move { partition, to } => {
                let to = ShardId(to as u32);
                let reply = self.command(0, &Command::MoveStream { id: TOPIC, partition, to });
                assert!(matches!(reply, Reply::Done | Reply::Refused(Refusal::Moving)), "{reply:?}");
            }
            Action::Trim { partition, share, at } => self.trim(partition, share, at),
            Action::Configure { large } => {
                let (_, topic) = self.nodes[0].machine.catalog.topic_named("t").expect("it is there");
                let piece_bytes_max = if large { 2000 } else { 1000 };
                let (config, revision) = (StreamConfig { piece_bytes_max, ..topic.config.clone() }, topic.revision);
                let command = Command::ConfigureTopic { id: TOPIC, revision, config, settings: Vec::new() };
                assert_eq!(self.command(0, &command), Reply::Done);
            }
            Action::Deliver { from, to, heard } => {
                self.deliver(from, to, heard);
            }
            Action::Elect { shard } => {
                let node = &mut self.nodes[shard];
                node.at.term += 1;
                node.sequencer = Sequencer::new(node.at.term);
            }
        }
    }

    /// What holds once everything has been delivered.
    fn check(&self) {
        let catalog = &self.nodes[0].machine.catalog;
        assert_eq!(catalog.moves().next(), None, "what was begun comes to its end");
        let (_, topic) = catalog.topic_named("t").expect("it is there");
        for (partition, place) in (0..).zip(&topic.partitions) {
            let (stream, shard) = self.place(partition);
            let messaging = &self.nodes[shard].machine.messaging;
            let newest = messaging.stream(stream).expect("it is where the catalog says");
            assert_eq!(messaging.moved_to(stream), None);
            assert_eq!(newest.config, topic.config, "wherever the change met the stream");
            assert_eq!(newest.end.0, self.logs.get(&stream).map_or(0, |log| log.end));
            let epochs: Vec<_> = newest.epochs.iter().map(|(epoch, _)| *epoch).collect();
            assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
            let older = messaging.older(stream);
            assert_eq!(catalog.older_of(place.stream), older.map(|older| older.shard));
            for other in (1..=SHARDS).filter(|other| *other != shard) {
                let ranges = &self.nodes[other].machine.messaging;
                match (ranges.stream(stream), older.filter(|older| older.shard.0 as usize == other)) {
                    (Some(range), Some(older)) => {
                        assert_eq!((range.start, range.end), (older.start, newest.start), "no gap between them");
                        assert!(range.start < range.end && ranges.moved_to(stream).is_some());
                        assert_eq!(range.config, topic.config);
                    }
                    (None, None) => {}
                    other => panic!("one of them forgot the range: {other:?}"),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_stream_loses_and_repeats_nothing_wherever_it_goes(actions in vec(action(), 1..150), delete in any::<bool>()) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        let streams: Vec<StreamId> = (0..PARTITIONS).map(|partition| world.place(partition).0).collect();
        if delete {
            assert_eq!(world.command(0, &Command::DeleteTopic { id: TOPIC }), Reply::Done);
            world.settle();
            for (node, stream) in world.nodes.iter().flat_map(|node| streams.iter().map(move |stream| (node, *stream))) {
                let messaging = &node.machine.messaging;
                prop_assert!(messaging.stream(stream).is_none(), "nothing is left of it");
                prop_assert_eq!((messaging.moved_to(stream), messaging.older(stream)), (None, None));
                prop_assert!((1..4).all(|id| messaging.producer(stream, model::ProducerId(id)).is_none()));
            }
            prop_assert_eq!(world.nodes[0].machine.catalog.moves().next(), None);
        } else {
            world.settle();
            world.check();
            // Producers go on where they were.
            for partition in 0..PARTITIONS {
                (1..4).for_each(|producer| world.produce(partition, producer, true, None));
                (1..4).for_each(|producer| world.produce(partition, producer, false, None));
            }
            world.check();
        }
    }
}
