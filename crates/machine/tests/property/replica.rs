//! Replicas that apply the same entries are the same, however often one of them restarts.

use super::checkpoint::Checkpoint;
use crate::piece::Batch;
use bytes::Bytes;
use machine::command::{AdoptedId, AdoptedProducer, Adoption, CommittedOffset, ProducerBatch};
use machine::messaging::dedup::Seen;
use machine::messaging::producer::{Producer, Remembered};
use machine::{Command, Machine, Position};
use model::config::{Settlement, StreamConfig};
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceHead, ProducerId, ShardId, StreamId, Timestamp, Wire};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What goes into an entry. An append takes offset and epoch from the state it meets.
#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    Append(Append),
}

#[derive(Clone, Debug)]
struct Append {
    stream: StreamId,
    records: u32,
    bytes: usize,
    /// Added to the right offset; mostly zero.
    skew: u64,
    producer: Option<(u64, i16, Numbering)>,
    message_id: Option<Bytes>,
}

#[derive(Clone, Copy, Debug)]
enum Numbering {
    Next,
    Again,
    Other(i32),
}

#[derive(Clone, Debug)]
struct Round {
    steps: Vec<Step>,
    later_millis: i64,
    new_term: bool,
    checkpoint: bool,
    restart: bool,
}

fn stream() -> impl Strategy<Value = StreamId> {
    (1u64..4).prop_map(StreamId)
}

pub(super) fn config() -> impl Strategy<Value = StreamConfig> {
    (any::<bool>(), prop_oneof![Just(0u64), Just(50), Just(400)], prop_oneof![Just(80u32), Just(1000)]).prop_map(
        |(queue, dedup_window_millis, piece_bytes_max)| StreamConfig {
            settlement: if queue { Settlement::Each } else { Settlement::Position },
            dedup_window_millis,
            piece_bytes_max,
            ..StreamConfig::default()
        },
    )
}

fn group() -> impl Strategy<Value = String> {
    prop_oneof![Just("g".to_owned()), Just("gg".to_owned())]
}

fn append() -> impl Strategy<Value = Append> {
    let numbering =
        prop_oneof![4 => Just(Numbering::Next), 2 => Just(Numbering::Again), 1 => (0i32..4).prop_map(Numbering::Other)];
    let skew = prop_oneof![9 => Just(0u64), 1 => Just(1)];
    let message_id = option::of((0u8..4).prop_map(|id| Bytes::from(vec![id])));
    let producer = option::of((1u64..4, prop_oneof![4 => Just(0i16), 1 => Just(1)], numbering));
    (stream(), 1u32..5, prop_oneof![Just(70usize), Just(90)], skew, producer, message_id).prop_map(
        |(stream, records, bytes, skew, producer, message_id)| Append {
            stream,
            records,
            bytes,
            skew,
            producer,
            message_id,
        },
    )
}

fn position() -> impl Strategy<Value = CommittedOffset> {
    let whole = (stream(), 0u64..30, -1i32..3, "[a-z]{0,3}");
    whole.prop_map(|(stream, offset, leader_epoch, metadata)| CommittedOffset {
        stream,
        offset: Offset(offset),
        leader_epoch,
        metadata,
    })
}

/// A stream that comes from another shard, and what it brings.
fn adopted() -> impl Strategy<Value = Command> {
    let producer = (1u64..4, 0i32..4).prop_map(|(id, first_sequence)| {
        let batches = vec![Remembered { first_sequence, last_sequence: first_sequence, base: Offset(1) }];
        AdoptedProducer { id: ProducerId(id), known: Producer { epoch: 0, last_seen: Hlc(7), batches } }
    });
    let id = (0u8..4, 1_000i64..1_400).prop_map(|(id, until)| AdoptedId {
        id: Bytes::from(vec![id]),
        seen: Seen { base: Offset(2), until: Timestamp(until) },
    });
    let adoption = (0u64..9, 0u64..9, config()).prop_map(|(start, records, config)| Adoption {
        from: ShardId(2),
        config,
        start: Offset(start),
        end: Offset(start + records),
        epochs: vec![(LeaderEpoch(0), Offset(start))],
        epoch: LeaderEpoch(1),
        max_timestamp: Timestamp(5),
        bytes_appended: records * 70,
    });
    prop_oneof![
        (stream(), vec(producer, 1..3)).prop_map(|(stream, producers)| Command::AdoptProducers { stream, producers }),
        (stream(), vec(id, 1..3)).prop_map(|(stream, ids)| Command::AdoptIds { stream, ids }),
        (stream(), adoption).prop_map(|(stream, adoption)| Command::AdoptStream { stream, adoption }),
    ]
}

fn messaging_step() -> impl Strategy<Value = Step> {
    let ranges = vec((0u64..30, 1u64..6).prop_map(|(from, len)| (from, from + len)), 1..4);
    let state = vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    let streams = || vec(stream(), 1..3);
    let command = prop_oneof![
        2 => (stream(), config()).prop_map(|(stream, config)| Command::CreateStream { stream, config }),
        1 => stream().prop_map(|stream| Command::DeleteStream { stream }),
        1 => (stream(), config()).prop_map(|(stream, config)| Command::ConfigureStream { stream, config }),
        1 => (streams(), config()).prop_map(|(streams, config)| Command::CreateStreams { streams, config }),
        1 => streams().prop_map(|streams| Command::DeleteStreams { streams }),
        1 => (streams(), config()).prop_map(|(streams, config)| Command::ConfigureStreams { streams, config }),
        2 => (stream(), 0u64..30).prop_map(|(stream, to)| Command::Trim { stream, to: Offset(to) }),
        4 => (stream(), ranges).prop_map(|(stream, ranges)| Command::Settle { stream, ranges }),
        2 => Just(Command::Tick),
        1 => (group(), state).prop_map(|(group, state)| Command::SaveGroup { group, state }),
        2 => (group(), vec(position(), 1..3)).prop_map(|(group, offsets)| Command::CommitOffsets { group, offsets }),
        1 => (group(), vec(stream(), 1..3)).prop_map(|(group, streams)| Command::DeleteOffsets {
            group,
            streams,
            committed_until: None,
        }),
        1 => group().prop_map(|group| Command::DeleteGroup { group }),
        1 => (0u32..4).prop_map(|version| Command::Barrier { version }),
        2 => (stream(), (1u32..3)).prop_map(|(stream, to)| Command::FenceStream { stream, to: ShardId(to) }),
        2 => adopted(),
        1 => (stream(), (1u32..3), 0u64..30).prop_map(|(stream, from, start)| {
            Command::OlderStarts { stream, from: ShardId(from), start: Offset(start) }
        }),
    ];
    let command = command.boxed();
    let delivered = (0u32..2, 1u64..9, command.clone()).prop_map(|(from, item, command)| Command::Deliver {
        from: ShardId(from),
        item,
        command: Bytes::from(command.to_wire()),
    });
    prop_oneof![
        5 => append().prop_map(Step::Append),
        5 => command.prop_map(Step::Command),
        1 => delivered.prop_map(Step::Command),
    ]
}

fn catalog_step() -> impl Strategy<Value = Step> {
    super::catalog::command().prop_map(Step::Command)
}

fn rounds(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Round>> {
    let later_millis = prop_oneof![3 => 0i64..3, 1 => 0i64..200, 1 => -100i64..0];
    let sometimes = || prop::bool::weighted(0.2);
    let round = (vec(step, 1..5), later_millis, sometimes(), sometimes(), sometimes()).prop_map(
        |(steps, later_millis, new_term, checkpoint, restart)| Round {
            steps,
            later_millis,
            new_term,
            checkpoint,
            restart,
        },
    );
    vec(round, 1..40)
}

/// Closes an entry of `steps` as a leader over `state` might.
fn entry(steps: &[Step], state: &Machine, term: u64, time: Hlc) -> Entry {
    let mut builder = EntryBuilder::new();
    let mut ends: BTreeMap<StreamId, Offset> = BTreeMap::new();
    for step in steps {
        let append = match step {
            Step::Command(command) => {
                builder.add_command(command);
                continue;
            }
            Step::Append(append) => append,
        };
        let id = append.stream;
        let stream = state.messaging.stream(id);
        let end = ends.entry(id).or_insert(stream.map_or(Offset::ZERO, |stream| stream.end));
        let epoch = stream.map(|stream| stream.epoch_in(term)).unwrap_or_default();
        let last = |producer| state.messaging.producer(id, ProducerId(producer)).and_then(|known| known.batches.last());
        let producer = append.producer.map(|(producer, epoch, numbering)| {
            let first = match (numbering, last(producer)) {
                (Numbering::Next, Some(last)) => last.last_sequence + 1,
                (Numbering::Again, Some(last)) => last.first_sequence,
                (Numbering::Other(first), _) => first,
                _ => 0,
            };
            (producer, epoch, first)
        });
        let batch = Batch { records: append.records, bytes: append.bytes, timestamp: 7, producer }.encode();
        let head = PieceHead::parse(&batch).expect("a batch is a piece");
        let first = builder.add_piece(id, end.plus(append.skew), epoch, &head, batch.clone().into(), None);
        *end = end.plus(u64::from(append.records));
        let producer = head.producer.map(|stamp| ProducerBatch {
            producer: ProducerId(stamp.id),
            epoch: stamp.epoch,
            first_sequence: stamp.first_sequence,
            last_sequence: stamp.last_sequence,
        });
        builder.add_command(&Command::Append { first, pieces: 1, producer, message_id: append.message_id.clone() });
    }
    Entry::parse(builder.finish(time)).expect("what a builder closes is an entry")
}

/// Everything that can be asked of a machine and is not in its digest, being derived.
fn derived(machine: &Machine) -> impl PartialEq + std::fmt::Debug {
    let names: Vec<_> = machine.catalog.topics().map(|(id, topic)| (topic.name.clone(), id)).collect();
    let groups: Vec<_> = machine.messaging.groups.with_offsets().map(str::to_owned).collect();
    let homes: Vec<_> = ["a", "b", "c"].map(|name| machine.catalog.shard_of(name)).into();
    (machine.next_deadline(), names, groups, machine.time(), machine.outbox.destinations(), machine.version(), homes)
}

fn replicas_agree(shard: ShardId, rounds: &[Round]) {
    let mut steady = Machine::new(shard);
    let mut twin = Machine::new(shard);
    let mut restarting = Machine::new(shard);
    let mut checkpoint = Checkpoint::default();
    let mut at = Position { term: 1, index: 0 };
    let mut wall = 1_000;
    for round in rounds {
        at.index += 1;
        at.term += u64::from(round.new_term);
        wall += round.later_millis;
        let before = steady.digest();
        let entry = entry(&round.steps, &steady, at.term, Hlc::default().next(Timestamp(wall)));
        let outcome = steady.apply(at, &entry).expect("the entry is this version's");
        for other in [&mut twin, &mut restarting] {
            let same = other.apply(at, &entry).expect("the entry is this version's");
            assert_eq!(same.replies, outcome.replies);
            assert_eq!(same.accepted, outcome.accepted);
            assert_eq!(same.refused, outcome.refused);
            assert_eq!(same.effects, outcome.effects);
        }
        assert_eq!(outcome.replies.len(), round.steps.len(), "one reply for each command");
        assert_ne!(steady.digest(), before, "time moved at least");
        assert_eq!(steady.digest(), twin.digest());
        assert_eq!(steady.digest(), restarting.digest());
        if round.checkpoint || round.restart {
            checkpoint.take(&mut restarting);
        }
        if round.restart {
            restarting = checkpoint.restore(shard).expect("what a machine wrote can be read");
            assert!(restarting.take_changes().is_empty(), "all of it is in the checkpoint");
            assert_eq!(steady.digest(), restarting.digest());
            assert_eq!(derived(&steady), derived(&restarting));
        }
    }
    let mut whole = Checkpoint::default();
    whole.take(&mut steady);
    checkpoint.take(&mut restarting);
    assert_eq!(checkpoint, whole, "many small checkpoints leave what one would");
}

proptest! {
    #[test]
    fn replicas_of_a_messaging_shard_agree(rounds in rounds(messaging_step())) {
        replicas_agree(ShardId(1), &rounds);
    }

    #[test]
    fn replicas_of_the_catalog_agree(rounds in rounds(catalog_step())) {
        replicas_agree(ShardId::CATALOG, &rounds);
    }
}
