//! Commands and a checkpoint's objects byte by byte. That no bytes panic is tested in `properties`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../model/tests/golden/mod.rs"]
mod golden;

use bytes::Bytes;
use golden::golden;
use machine::command::{CommittedOffset, NewTopic, ProducerBatch};
use machine::{Command, Machine, Position, Reply};
use model::config::{Durability, Settlement, StreamConfig, TimestampSource};
use model::record::Message;
use model::wire::{Input, Wire};
use model::{
    Entry, EntryBuilder, Hlc, LeaderEpoch, Name, Offset, PieceHead, ProducerId, ShardId, StreamId, Timestamp, TopicId,
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

/// One of each, ascending by tag.
fn commands() -> Vec<Command> {
    let (stream, streams) = (StreamId(7), vec![StreamId(7), StreamId(8)]);
    let producer = Some(ProducerBatch { producer: ProducerId(5), epoch: 2, first_sequence: 10, last_sequence: 12 });
    let message_id = Some(Bytes::from_static(b"id"));
    let position = CommittedOffset { stream, offset: Offset(42), leader_epoch: -1, metadata: "where".into() };
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
        Command::AddShards { shards: vec![ShardId(1), ShardId(2)] },
        Command::DeleteTopic { id: TopicId([0xab; 16]) },
        Command::AllocateProducerIds { count: 1000 },
        Command::CreateTopic { topic: topic() },
        Command::ConfigureTopic { id: TopicId([0xab; 16]), revision: 0, config: config(), settings: settings() },
        Command::AddPartitions { id: TopicId([0xab; 16]), partitions: 5 },
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

fn check(name: &str, mut machine: Machine, tables: &[u8]) {
    let written = objects(&mut machine);
    let mut found: Vec<u8> = written.iter().map(|(key, _)| key[0]).collect();
    found.dedup();
    assert_eq!(found, tables, "tables with an object");
    let bytes = golden(HERE, name, &written.to_wire());
    let read: Vec<(Vec<u8>, Vec<u8>)> = Wire::from_wire(&bytes).unwrap();
    let read = read.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    assert_eq!(Machine::restore(machine.shard(), read).unwrap().digest(), machine.digest());
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

#[test]
fn objects_of_the_catalog_are_as_drawn() {
    let list = commands();
    let script: Vec<_> = list.iter().filter(|command| command.is_for(ShardId::CATALOG)).map(|one| (one, 0)).collect();
    // Adding shards, making, configuring and extending a topic; nothing that removes it.
    let lasting =
        |(command, _): &(&Command, u64)| !command.is_for(ShardId(1)) && !matches!(command, Command::DeleteTopic { .. });
    let script: Vec<_> = script.into_iter().filter(lasting).collect();
    check("objects_catalog", machine(ShardId::CATALOG, &script), &[1, 2, 3, 67, 65, 66]);
}
