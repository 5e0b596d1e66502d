//! Whatever an entry's commands are, the machine answers or stops. It never panics.

use super::checkpoint::Checkpoint;
use crate::piece::Batch;
use bytes::Bytes;
use machine::catalog::{Endpoint, NodeState};
use machine::command::{AdoptedId, AdoptedProducer, Adoption, CommittedOffset, NewTopic, ProducerBatch};
use machine::messaging::dedup::Seen;
use machine::messaging::producer::{Producer, Remembered};
use machine::{Command, Machine, Position};
use model::config::{Settlement, StreamConfig};
use model::wire::{Input, Wire, WireError};
use model::{
    Entry, EntryBuilder, Hlc, Incarnation, LeaderEpoch, Name, NodeId, Offset, PieceHead, ProducerId, ShardId, StreamId,
    Timestamp, TopicId,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes in the place of a command.
#[derive(Clone, Debug)]
struct Raw(Vec<u8>);

impl Wire for Raw {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(_input: &mut Input<'_>) -> Result<Self, WireError> {
        Err(WireError::Invalid("only ever written"))
    }
}

/// Small numbers, for commands to meet each other, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    let ends = prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63)];
    prop_oneof![6 => 0u64..4, 2 => ends, 1 => any::<u32>().prop_map(u64::from)]
}

fn number32() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0u32..4, 1 => Just(u32::MAX)]
}

fn signed() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0i32..4, 1 => Just(i32::MAX), 1 => Just(i32::MIN), 1 => Just(-1)]
}

fn config() -> impl Strategy<Value = StreamConfig> {
    (any::<bool>(), number(), number32()).prop_map(|(queue, dedup_window_millis, piece_bytes_max)| StreamConfig {
        settlement: if queue { Settlement::Each } else { Settlement::Position },
        dedup_window_millis,
        piece_bytes_max: piece_bytes_max.saturating_mul(50),
        ..StreamConfig::default()
    })
}

fn command() -> impl Strategy<Value = Command> {
    let stream = || number().prop_map(StreamId);
    let streams = || vec(stream(), 0..3);
    let bytes = || vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    let id = || (0u8..3).prop_map(|byte| TopicId([byte; 16]));
    let producer = || {
        prop::option::of((number(), -1i16..3, signed(), signed()).prop_map(
            |(producer, epoch, first_sequence, last_sequence)| ProducerBatch {
                producer: ProducerId(producer),
                epoch,
                first_sequence,
                last_sequence,
            },
        ))
    };
    let position = (stream(), number(), any::<i32>()).prop_map(|(stream, offset, leader_epoch)| CommittedOffset {
        stream,
        offset: Offset(offset),
        leader_epoch,
        metadata: String::new(),
    });
    let topic =
        (id(), prop_oneof![4 => 0u32..4, 1 => Just(u32::MAX)], config()).prop_map(|(id, partitions, config)| {
            NewTopic { name: Name::new("name").expect("a name"), id, partitions, config, settings: Vec::new() }
        });
    prop_oneof![
        4 => (number32(), number32(), producer(), prop::option::of(bytes()))
            .prop_map(|(first, pieces, producer, message_id)| Command::Append { first, pieces, producer, message_id }),
        1 => (stream(), producer(), prop::option::of(bytes()))
            .prop_map(|(stream, producer, message_id)| Command::Recall { stream, producer, message_id }),
        3 => (stream(), config()).prop_map(|(stream, config)| Command::CreateStream { stream, config }),
        1 => stream().prop_map(|stream| Command::DeleteStream { stream }),
        1 => (stream(), config()).prop_map(|(stream, config)| Command::ConfigureStream { stream, config }),
        1 => (streams(), config()).prop_map(|(streams, config)| Command::CreateStreams { streams, config }),
        1 => streams().prop_map(|streams| Command::DeleteStreams { streams }),
        1 => (streams(), config()).prop_map(|(streams, config)| Command::ConfigureStreams { streams, config }),
        1 => (stream(), number()).prop_map(|(stream, to)| Command::Trim { stream, to: Offset(to) }),
        2 => (stream(), vec((number(), number()), 0..3)).prop_map(|(stream, ranges)| Command::Settle { stream, ranges }),
        1 => Just(Command::Tick),
        1 => bytes().prop_map(|state| Command::SaveGroup { group: "g".into(), state }),
        1 => vec(position, 0..3).prop_map(|offsets| Command::CommitOffsets { group: "g".into(), offsets }),
        1 => Just(Command::DeleteGroup { group: "g".into() }),
        1 => vec(number32().prop_map(ShardId), 0..3).prop_map(|shards| Command::AddShards { shards }),
        1 => topic.prop_map(|topic| Command::CreateTopic { topic }),
        1 => id().prop_map(|id| Command::DeleteTopic { id }),
        1 => (id(), number(), config()).prop_map(|(id, revision, config)| {
            Command::ConfigureTopic { id, revision, config, settings: vec![("a".into(), "b".into())] }
        }),
        1 => (id(), number32()).prop_map(|(id, partitions)| Command::AddPartitions { id, partitions }),
        1 => (streams(), prop::option::of(any::<i64>())).prop_map(|(streams, until)| Command::DeleteOffsets {
            group: "g".into(),
            streams,
            committed_until: until.map(Timestamp),
        }),
        1 => number32().prop_map(|count| Command::AllocateProducerIds { count }),
        1 => (number32(), vec(number(), 0..3)).prop_map(|(to, items)| Command::Delivered { to: ShardId(to), items }),
        2 => prop_oneof![8 => 0u32..4, 1 => number32()].prop_map(|version| Command::Barrier { version }),
        4 => about_moves(),
        4 => about_nodes(),
    ]
}

fn about_moves() -> impl Strategy<Value = Command> {
    let stream = || number().prop_map(StreamId);
    let shard = || number32().prop_map(ShardId);
    let offset = || number().prop_map(Offset);
    let producer = (number(), -1i16..3, vec((signed(), signed(), offset()), 0..7), number()).prop_map(
        |(id, epoch, batches, seen)| {
            let batch = |(first_sequence, last_sequence, base)| Remembered { first_sequence, last_sequence, base };
            let batches = batches.into_iter().map(batch).collect();
            AdoptedProducer { id: ProducerId(id), known: Producer { epoch, last_seen: Hlc(seen), batches } }
        },
    );
    let id = (vec(any::<u8>(), 0..3), offset(), any::<i64>())
        .prop_map(|(id, base, until)| AdoptedId { id: Bytes::from(id), seen: Seen { base, until: Timestamp(until) } });
    let epochs = vec((number32().prop_map(LeaderEpoch), offset()), 0..3);
    let adoption = (shard(), config(), (offset(), offset()), epochs, number32(), any::<i64>(), number()).prop_map(
        |(from, config, (start, end), epochs, epoch, newest, bytes_appended)| Adoption {
            from,
            config,
            start,
            end,
            epochs,
            epoch: LeaderEpoch(epoch),
            max_timestamp: Timestamp(newest),
            bytes_appended,
        },
    );
    prop_oneof![
        (stream(), shard()).prop_map(|(stream, to)| Command::FenceStream { stream, to }),
        (stream(), vec(producer, 0..3)).prop_map(|(stream, producers)| Command::AdoptProducers { stream, producers }),
        (stream(), vec(id, 0..3)).prop_map(|(stream, ids)| Command::AdoptIds { stream, ids }),
        (stream(), adoption).prop_map(|(stream, adoption)| Command::AdoptStream { stream, adoption }),
        (stream(), shard(), offset()).prop_map(|(stream, from, start)| Command::OlderStarts { stream, from, start }),
        ((0u8..3), number32(), shard())
            .prop_map(|(id, partition, to)| { Command::MoveStream { id: TopicId([id; 16]), partition, to } }),
        (stream(), shard(), any::<bool>()).prop_map(|(stream, by, has_older)| Command::StreamAdopted {
            stream,
            by,
            has_older
        }),
        stream().prop_map(|stream| Command::OlderGone { stream }),
    ]
}

fn about_nodes() -> impl Strategy<Value = Command> {
    let node = || number().prop_map(NodeId);
    let shard = || number32().prop_map(ShardId);
    let incarnation = || (0u128..3).prop_map(Incarnation);
    let text = || prop_oneof![4 => Just(Bytes::from_static(b"a")), 1 => vec(any::<u8>(), 0..4).prop_map(Bytes::from)];
    let port = prop_oneof![8 => Just(9092u16), 1 => Just(0)];
    let endpoint = (text(), text(), port).prop_map(|(protocol, host, port)| Endpoint { protocol, host, port }).boxed();
    let about = move || {
        (endpoint.clone(), vec(endpoint.clone(), 0..3), prop::option::of(text()), prop_oneof![Just(2u16), any::<u16>()])
    };
    let state = prop::sample::select(vec![NodeState::Active, NodeState::Draining, NodeState::Removed]);
    prop_oneof![
        (incarnation(), prop::option::of(node()), about()).prop_map(|(incarnation, wanted, about)| {
            let (peer, endpoints, rack, version) = about;
            Command::AllocateNode { incarnation, wanted, peer, endpoints, rack, version }
        }),
        (node(), incarnation(), about()).prop_map(|(node, incarnation, (peer, endpoints, rack, version))| {
            Command::UpdateNode { node, incarnation, peer, endpoints, rack, version }
        }),
        (node(), state).prop_map(|(node, state)| Command::SetNodeState { node, state }),
        (shard(), number(), vec(node(), 0..7), node()).prop_map(|(shard, revision, replicas, preferred)| {
            Command::PlaceShard { shard, revision, replicas, preferred }
        }),
        (number32(), number32(), shard(), number())
            .prop_map(|(first, count, shard, revision)| { Command::AssignSlots { first, count, shard, revision } }),
    ]
}

fn delivered() -> impl Strategy<Value = Command> {
    let bytes = prop_oneof![command().prop_map(|command| command.to_wire()), vec(any::<u8>(), 0..20)];
    (number32(), number(), bytes).prop_map(|(from, item, command)| Command::Deliver {
        from: ShardId(from),
        item,
        command: Bytes::from(command),
    })
}

/// A command, a command with one wrong byte, or no command.
fn raw() -> impl Strategy<Value = Raw> {
    let command = || prop_oneof![8 => command(), 1 => delivered()].prop_map(|command| command.to_wire());
    let damaged = (command(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![40 => command(), 2 => damaged, 1 => vec(any::<u8>(), 0..40)].prop_map(Raw)
}

#[derive(Clone, Debug)]
struct Round {
    commands: Vec<Raw>,
    /// Stream, base and epoch of pieces.
    pieces: Vec<(u64, u64, u32)>,
    time: u64,
}

fn round() -> impl Strategy<Value = Round> {
    let piece = (number(), number(), prop_oneof![4 => Just(0), 1 => number32()]);
    // Half the range mostly: after the end of all time nothing happens any more.
    let time = prop_oneof![30 => number().prop_map(|time| time / 2), 1 => number()];
    (vec(raw(), 0..6), vec(piece, 0..4), time).prop_map(|(commands, pieces, time)| Round { commands, pieces, time })
}

fn entry(round: &Round) -> Entry {
    let mut builder = EntryBuilder::new();
    let batch = Batch { records: 3, ..Batch::default() }.encode();
    let head = PieceHead::parse(&batch).expect("a piece");
    for (stream, base, epoch) in &round.pieces {
        builder.add_piece(StreamId(*stream), Offset(*base), LeaderEpoch(*epoch), &head, batch.clone().into(), None);
    }
    round.commands.iter().for_each(|command| builder.add_command(command));
    Entry::parse(builder.finish(Hlc(round.time))).expect("what a builder closes is an entry")
}

proptest! {
    #[test]
    fn any_commands_are_answered_or_stop_the_shard(rounds in vec(round(), 1..12),
                                                   shard in prop_oneof![3 => Just(1), 1 => Just(0)]) {
        let shard = ShardId(shard);
        let mut machine = Machine::new(shard);
        let mut checkpoint = Checkpoint::default();
        for (index, round) in (1..).zip(&rounds) {
            let Ok(outcome) = machine.apply(Position { term: 1 + index / 8, index }, &entry(round)) else { break };
            prop_assert_eq!(outcome.replies.len(), round.commands.len());
            prop_assert_eq!(outcome.accepted.len() + outcome.refused.len(), round.pieces.len());
            checkpoint.take(&mut machine);
            let restored = checkpoint.restore(shard).expect("what a machine wrote can be read");
            prop_assert_eq!(restored.digest(), machine.digest());
            prop_assert_eq!(restored.next_deadline(), machine.next_deadline());
        }
    }

    #[test]
    fn any_objects_are_restored_or_refused(objects in vec((vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..60)), 0..6),
                                           tags in vec(prop::sample::select(TAGS), 6)) {
        let objects: Vec<_> = objects.into_iter().zip(tags).map(|((mut key, value), tag)| {
            key.insert(0, tag);
            (key, value)
        }).collect();
        let _answered = Machine::restore(ShardId(1), objects.iter().map(|(key, value)| (&key[..], &value[..])));
    }
}

/// First bytes of the keys of every table, and of one that there is not.
const TAGS: &[u8] =
    &[1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 99];
