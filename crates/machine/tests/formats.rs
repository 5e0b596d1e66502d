//! Commands, their answers and a checkpoint's objects byte by byte. That no bytes panic is tested in `properties`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../model/tests/golden/mod.rs"]
mod golden;

use bytes::Bytes;
use golden::golden;
use machine::catalog::{Endpoint, NodeState};
use machine::command::{AdoptedId, AdoptedProducer, Adoption, CommittedOffset, NewTopic, ProducerBatch};
use machine::messaging::dedup::Seen;
use machine::messaging::producer::{Producer, Remembered};
use machine::refusal::{Fault, Limit};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::checksum::crc32c;
use model::config::{Durability, Settlement, StreamConfig, TimestampSource};
use model::record::Message;
use model::wire::{Input, Wire, WireError};
use model::{
    Entry, EntryBuilder, Hlc, Incarnation, LeaderEpoch, Name, NodeId, Offset, PieceHead, ProducerId, ShardId, StreamId,
    Timestamp, TopicId,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn config() -> StreamConfig {
    StreamConfig {
        durability: Durability::QuorumMemory,
        settlement: Settlement::Each,
        retention_millis: Some(60_000),
        retention_bytes: Some(1 << 40),
        piece_bytes_max: 1000,
        timestamp_source: TimestampSource::Append,
        dedup_window_millis: 5000,
        ..StreamConfig::default()
    }
}

fn settings() -> Vec<(String, String)> {
    vec![("retention.ms".into(), "60000".into())]
}

fn topic() -> NewTopic {
    NewTopic {
        name: Name::new("orders").unwrap(),
        id: TopicId([0xab; 16]),
        partitions: 3,
        config: StreamConfig::default(),
        settings: settings(),
    }
}

fn endpoint(protocol: &'static str, port: u16) -> Endpoint {
    Endpoint { protocol: Bytes::from(protocol), host: Bytes::from("a.example"), port }
}

fn adopted_producer() -> AdoptedProducer {
    let batches = vec![Remembered { first_sequence: 10, last_sequence: 12, base: Offset(4) }];
    AdoptedProducer { id: ProducerId(5), known: Producer { epoch: 2, last_seen: Hlc(9 << 16), batches } }
}

fn adopted_id() -> AdoptedId {
    AdoptedId { id: Bytes::from_static(b"id"), seen: Seen { base: Offset(4), until: Timestamp(77) } }
}

fn adoption() -> Adoption {
    Adoption {
        from: ShardId(3),
        config: StreamConfig { dedup_window_millis: 5000, ..StreamConfig::default() },
        start: Offset(3),
        end: Offset(7),
        epochs: vec![(LeaderEpoch(0), Offset(3)), (LeaderEpoch(2), Offset(5))],
        epoch: LeaderEpoch(4),
        max_timestamp: Timestamp(66),
        bytes_appended: 700,
    }
}

/// One of each, ascending by tag.
fn commands() -> Vec<Command> {
    let (stream, moved, streams) = (StreamId(7), StreamId(9), vec![StreamId(7), StreamId(8)]);
    let producer = Some(ProducerBatch { producer: ProducerId(5), epoch: 2, first_sequence: 10, last_sequence: 12 });
    let message_id = Some(Bytes::from_static(b"id"));
    let position = CommittedOffset { stream, offset: Offset(42), leader_epoch: -1, metadata: "where".into() };
    let (incarnation, node) = (Incarnation(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff), NodeId(1));
    let (peer, endpoints) = (endpoint("peer", 9091), vec![endpoint("kafka", 9092), endpoint("http", 9093)]);
    vec![
        Command::Append { first: 1, pieces: 2, producer, message_id: message_id.clone() },
        Command::Recall { stream, producer: None, message_id },
        Command::DeleteStream { stream },
        Command::Trim { stream, to: Offset(9) },
        Command::Settle { stream, ranges: vec![(1, 2), (5, 300)] },
        Command::Tick,
        Command::SaveGroup { group: "g".into(), state: Bytes::from_static(b"state") },
        Command::CommitOffsets { group: "g".into(), offsets: vec![position] },
        Command::DeleteGroup { group: "g".into() },
        Command::DeleteStreams { streams: streams.clone() },
        Command::CreateStream { stream, config: config() },
        Command::ConfigureStream { stream, config: StreamConfig::default() },
        Command::CreateStreams { streams: streams.clone(), config: config() },
        Command::ConfigureStreams { streams: streams.clone(), config: config() },
        Command::DeleteOffsets { group: "g".into(), streams, committed_until: Some(Timestamp(99)) },
        Command::FenceStream { stream, to: ShardId(2) },
        Command::AdoptProducers { stream: moved, producers: vec![adopted_producer()] },
        Command::AdoptIds { stream: moved, ids: vec![adopted_id()] },
        Command::AdoptStream { stream: moved, adoption: adoption() },
        Command::OlderStarts { stream: moved, from: ShardId(3), start: Offset(4) },
        Command::AddShards { shards: vec![ShardId(1), ShardId(2)] },
        Command::DeleteTopic { id: TopicId([0xab; 16]) },
        Command::AllocateProducerIds { count: 1000 },
        Command::CreateTopic { topic: topic() },
        Command::ConfigureTopic { id: TopicId([0xab; 16]), revision: 0, config: config(), settings: settings() },
        Command::AddPartitions { id: TopicId([0xab; 16]), partitions: 5 },
        Command::AllocateNode {
            incarnation,
            wanted: Some(node),
            peer: peer.clone(),
            endpoints: endpoints.clone(),
            rack: Some(Bytes::from_static(b"west")),
            version: 2,
        },
        Command::UpdateNode { node, incarnation, peer, endpoints, rack: None, version: 3 },
        Command::SetNodeState { node, state: NodeState::Draining },
        Command::PlaceShard { shard: ShardId(1), revision: 0, replicas: vec![node], preferred: node },
        Command::AssignSlots { first: 5, count: 2, shard: ShardId(2), revision: 0 },
        Command::MoveStream { id: TopicId([0xab; 16]), partition: 1, to: ShardId(1) },
        Command::StreamAdopted { stream: StreamId(2), by: ShardId(1), has_older: true },
        Command::OlderGone { stream: StreamId(2) },
        Command::GiveUpShard { shard: ShardId(3), revision: 1 },
        Command::Deliver { from: ShardId(2), item: 1, command: Bytes::from_static(&[8]) },
        Command::Delivered { to: ShardId(1), items: vec![1, 2, 3] },
        Command::Barrier { version: 1 },
    ]
}

#[test]
fn commands_are_as_drawn() {
    let mut bytes = Vec::new();
    commands().iter().for_each(|command| command.put(&mut bytes));
    let bytes = golden(HERE, "commands", &bytes);
    let mut input = Input::new(&bytes);
    for command in commands() {
        assert_eq!(Command::take(&mut input), Ok(command));
    }
    assert_eq!(input.left(), 0);
}

/// One of each, ascending by tag.
fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::UnknownStream,
        Refusal::WrongOffset,
        Refusal::TooLarge,
        Refusal::OutOfOrderSequence,
        Refusal::FencedProducer,
        Refusal::OffsetOutOfRange,
        Refusal::LimitReached(Limit::Outbox),
        Refusal::NameTaken,
        Refusal::UnknownTopic,
        Refusal::InvalidPartitions,
        Refusal::EnoughPartitions(3),
        Refusal::Changed,
        Refusal::NoShards,
        Refusal::NotYet,
        Refusal::Invalid(Fault::TopicId),
        Refusal::TooNew,
        Refusal::UnknownNode,
        Refusal::OtherIncarnation,
        Refusal::NodeRemoved,
        Refusal::NodeInUse,
        Refusal::UnknownShard,
        Refusal::TooOld,
        Refusal::NodeIdTaken,
        Refusal::Moved(ShardId(2)),
        Refusal::Moving,
    ]
}

/// Each of them, ascending by tag.
fn limits() -> Vec<Limit> {
    vec![
        Limit::Shards,
        Limit::Topics,
        Limit::Streams,
        Limit::Outbox,
        Limit::TopicSettings,
        Limit::GroupBytes,
        Limit::OffsetMetadata,
        Limit::GroupPositions,
        Limit::GroupNameBytes,
        Limit::Groups,
        Limit::MessageIdBytes,
        Limit::MessageIds,
        Limit::SettledIntervals,
        Limit::Nodes,
        Limit::NodeRows,
        Limit::Endpoints,
        Limit::Moves,
    ]
}

/// Each of them, ascending by tag.
fn faults() -> Vec<Fault> {
    vec![
        Fault::ShardKind,
        Fault::NotForOutbox,
        Fault::ItemWithinItem,
        Fault::NoPieces,
        Fault::MissingPieces,
        Fault::TwoStreams,
        Fault::NotAPiece,
        Fault::ManyNumbered,
        Fault::StreamIdUsed,
        Fault::NotAQueue,
        Fault::CatalogHasNoStreams,
        Fault::TopicId,
        Fault::Endpoint,
        Fault::Rack,
        Fault::Replicas,
        Fault::Preferred,
        Fault::Slots,
        Fault::Queue,
        Fault::Adoption,
    ]
}

/// One of each, and of the refused ones every reason.
fn replies() -> Vec<Reply> {
    let (base, start) = (Offset(7), Offset(3));
    let answers = [
        Reply::Done,
        Reply::Appended { base, start },
        Reply::Duplicate { base, start },
        Reply::Trimmed { start },
        Reply::Topic(TopicId([0xab; 16])),
        Reply::ProducerIds(ProducerId(1001)),
        Reply::Node(NodeId(3)),
    ];
    let full = limits().into_iter().map(Refusal::LimitReached);
    let wrong = faults().into_iter().map(Refusal::Invalid);
    answers.into_iter().chain(refusals().into_iter().chain(full).chain(wrong).map(Reply::Refused)).collect()
}

#[test]
fn replies_are_as_drawn() {
    let mut bytes = Vec::new();
    replies().iter().for_each(|reply| reply.put(&mut bytes));
    let bytes = golden(HERE, "replies", &bytes);
    let mut input = Input::new(&bytes);
    for reply in replies() {
        assert_eq!(Reply::take(&mut input), Ok(reply));
    }
    assert_eq!(input.left(), 0);
}

#[test]
fn every_reason_to_refuse_is_among_the_replies_as_drawn() {
    // Those with a field need more bytes than there are: then the tag is known.
    fn known<T: Wire>() -> usize {
        (0..=u8::MAX).filter(|tag| !matches!(T::from_wire(&[*tag]), Err(WireError::Tag { .. }))).count()
    }
    assert_eq!([known::<Refusal>(), refusals().len()], [25, 25]);
    assert_eq!([known::<Limit>(), limits().len()], [17, 17]);
    assert_eq!([known::<Fault>(), faults().len()], [19, 19]);
    assert_eq!(known::<Reply>(), 8);
}

/// Applies these commands, each piece of them being one message, in an entry each.
fn machine(shard: ShardId, script: &[(&Command, u64)]) -> Machine {
    let mut machine = Machine::new(shard);
    for (nth, (command, pieces)) in script.iter().enumerate() {
        let mut builder = EntryBuilder::new();
        for base in 0..*pieces {
            let body = Message { value: b"v", ..Message::default() }.encode().unwrap();
            let head = PieceHead::parse(&body).unwrap();
            builder.add_piece(StreamId(7), Offset(base), LeaderEpoch(0), &head, body.clone().into(), None);
        }
        builder.add_command(*command);
        let index = nth as u64 + 1;
        let entry = Entry::parse(builder.finish(Hlc(index << 16))).unwrap();
        let outcome = machine.apply(Position { term: 1, index }, &entry).unwrap();
        assert!(!matches!(outcome.replies[0], Reply::Refused(_)), "{command:?}: {:?}", outcome.replies);
    }
    machine
}

/// Objects as a list of key and value, both counted; what a checkpoint's blocks hold.
fn objects(machine: &mut Machine) -> Vec<(Vec<u8>, Vec<u8>)> {
    let changes = machine.take_changes().into_iter();
    changes.filter_map(|(key, value)| Some((key, value?.bytes()))).collect()
}

/// Returns the machine that the file's objects make.
fn check(name: &str, mut machine: Machine, tables: &[u8]) -> Machine {
    let written = objects(&mut machine);
    let mut found: Vec<u8> = written.iter().map(|(key, _)| key[0]).collect();
    found.dedup();
    assert_eq!(found, tables, "tables with an object");
    let bytes = golden(HERE, name, &written.to_wire());
    let read: Vec<(Vec<u8>, Vec<u8>)> = Wire::from_wire(&bytes).unwrap();
    let read = read.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let restored = Machine::restore(machine.shard(), read).unwrap();
    assert_eq!(restored.digest(), machine.digest());
    restored
}

#[test]
fn objects_of_a_shard_with_streams_are_as_drawn() {
    let numbering = Some(ProducerBatch { producer: ProducerId(5), epoch: 2, first_sequence: 0, last_sequence: 2 });
    let id = Some(Bytes::from_static(b"id"));
    let settle = Command::Settle { stream: StreamId(7), ranges: vec![(1, 2)] };
    let create = Command::CreateStream { stream: StreamId(7), config: config() };
    let list = commands();
    let of = |what: fn(&Command) -> bool| list.iter().find(|command| what(command)).unwrap();
    let script = [
        (&create, 0),
        (&Command::Append { first: 0, pieces: 3, producer: numbering, message_id: id }, 3),
        (&settle, 0),
        (of(|command| matches!(command, Command::SaveGroup { .. })), 0),
        (of(|command| matches!(command, Command::CommitOffsets { .. })), 0),
        (of(|command| matches!(command, Command::Deliver { .. })), 0),
        (of(|command| matches!(command, Command::Barrier { .. })), 0),
    ];
    check("objects_streams", machine(ShardId(1), &script), &[1, 5, 23, 17, 18, 19, 20, 21]);
}

/// A catalog as it was before there was a second behaviour.
fn first_catalog() -> Machine {
    let list = commands();
    // Adding shards, making, configuring and extending a topic; nothing that removes it.
    let lasting = |command: &&Command| {
        command.is_for(ShardId::CATALOG)
            && !command.is_for(ShardId(1))
            && command.version() == 1
            && !matches!(command, Command::DeleteTopic { .. })
    };
    let script: Vec<_> = list.iter().filter(lasting).map(|command| (command, 0)).collect();
    check("objects_catalog", machine(ShardId::CATALOG, &script), &[1, 2, 3, 67, 65, 66])
}

#[test]
fn objects_of_the_catalog_are_as_drawn() {
    assert_eq!(first_catalog().version(), 1);
}

#[test]
fn objects_of_a_catalog_with_nodes_are_as_drawn() {
    let list = commands();
    let is_given_up = |command: &&Command| matches!(command, Command::GiveUpShard { .. });
    let later = list.iter().filter(|command| command.version() == 2);
    let (last, later): (Vec<_>, Vec<_>) = later.partition(is_given_up);
    let [first, second] = [1, 2].map(|shard| Command::AddShards { shards: vec![ShardId(shard)] });
    let third = Command::PlaceShard { shard: ShardId(3), revision: 0, replicas: vec![NodeId(1)], preferred: NodeId(1) };
    let before = [&Command::Barrier { version: 2 }, &first, &second];
    let all = before.into_iter().chain(later).chain([&third]).chain(last);
    let script: Vec<_> = all.map(|command| (command, 0)).collect();
    check("objects_nodes", machine(ShardId::CATALOG, &script), &[1, 65, 68, 69, 70, 72]);
}

#[test]
fn objects_of_a_shard_with_streams_that_move_are_as_drawn() {
    let create = Command::CreateStream { stream: StreamId(7), config: StreamConfig::default() };
    let barrier = Command::Barrier { version: 3 };
    let append = Command::Append { first: 0, pieces: 3, producer: None, message_id: None };
    let list = commands();
    let of = |tags: std::ops::Range<u8>| list.iter().filter(move |command| tags.contains(&command.to_wire()[0]));
    let moves: Vec<&Command> = of(20..25).collect();
    let script = [(&barrier, 0), (&create, 0), (&append, 3)].into_iter();
    let script: Vec<_> = script.chain(moves.into_iter().map(|command| (command, 0))).collect();
    let restored = check("objects_moves", machine(ShardId(1), &script), &[1, 2, 3, 23, 17, 19, 24, 25]);
    assert_eq!(restored.messaging.moved_to(StreamId(7)), Some(ShardId(2)));
    assert_eq!(restored.messaging.start_of(StreamId(9)), Some(Offset(4)));
}

#[test]
fn objects_of_a_catalog_with_streams_that_move_are_as_drawn() {
    let list = commands();
    let one = |tag: u8| list.iter().find(|command| command.to_wire()[0] == tag).unwrap();
    let barrier = Command::Barrier { version: 3 };
    let other = Command::MoveStream { id: TopicId([0xab; 16]), partition: 0, to: ShardId(2) };
    let script = [&barrier, one(32), one(37), one(45), one(46), &other].map(|command| (command, 0));
    check("objects_moves_catalog", machine(ShardId::CATALOG, &script), &[1, 2, 3, 67, 65, 66, 70, 71, 73]);
}

fn apply(machine: &mut Machine, command: &Command) -> Reply {
    let mut builder = EntryBuilder::new();
    builder.add_command(command);
    let index = (machine.time().0 >> 16) + 1;
    let entry = Entry::parse(builder.finish(Hlc(index << 16))).unwrap();
    machine.apply(Position { term: 1, index }, &entry).unwrap().replies.remove(0)
}

/// What a data folder of before behaviour 2 has: its shards, and groups on them that are found by the rule
/// of then.
#[test]
fn groups_stay_where_they_are_when_nodes_come_to_be_known() {
    let names: Vec<String> = (0..2000).map(|nth| format!("group-{nth}")).collect();
    let homes = |machine: &Machine| -> Vec<u32> {
        names.iter().map(|name| machine.catalog.shard_of(name).unwrap().0).collect()
    };
    let by_rule: Vec<u32> = names.iter().map(|name| 1 + crc32c(name.as_bytes()) % 4096 % 2).collect();
    assert!(by_rule.contains(&1) && by_rule.contains(&2));

    let mut machine = first_catalog();
    assert_eq!(homes(&machine), by_rule);
    // What every start says once more.
    let add = |shards: &[u32]| Command::AddShards { shards: shards.iter().copied().map(ShardId).collect() };
    assert_eq!(apply(&mut machine, &add(&[1, 2])), Reply::Done);
    assert_eq!(homes(&machine), by_rule);
    assert_eq!(machine.catalog.slots(), None);

    assert_eq!(apply(&mut machine, &Command::Barrier { version: 2 }), Reply::Done);
    assert_eq!(machine.version(), 2);
    assert_eq!(homes(&machine), by_rule);
    assert_eq!(apply(&mut machine, &add(&[2, 3, 4, 5])), Reply::Done);
    assert_eq!(homes(&machine), by_rule, "new shards own nothing yet");
    // A second barrier deals nothing out again.
    assert_eq!(apply(&mut machine, &Command::Barrier { version: 2 }), Reply::Done);
    assert_eq!(homes(&machine), by_rule);
    let assign = Command::AssignSlots { first: 0, count: 4096, shard: ShardId(4), revision: 0 };
    assert_eq!(apply(&mut machine, &assign), Reply::Done);
    assert!(homes(&machine).iter().all(|home| *home == 4));
}

#[test]
fn a_checkpoint_of_a_behaviour_that_is_not_known_is_refused() {
    let clock = |version: u32| [0u64.to_le_bytes().as_slice(), &version.to_le_bytes()].concat();
    let restore = |version| {
        let (key, value) = ([1], clock(version));
        Machine::restore(ShardId(1), [(&key[..], &value[..])].into_iter()).map(|machine| machine.version())
    };
    assert_eq!([0, 1, 2, 3].map(|version| restore(version).unwrap()), [1, 1, 2, 3]);
    let said = restore(4).unwrap_err().to_string();
    assert_eq!(said, "checkpoint: behaviour 4 is in force, this build knows up to 3");
}
