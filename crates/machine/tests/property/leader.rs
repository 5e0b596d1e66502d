//! A leader's promises: whatever it sequenced ahead of what was applied, the log holds each request
//! once, in order, where the answer said.
//!
//! The model knows requests and their answers, nothing of pieces, sequence numbers or overlays: a
//! producer's batches are the first, the second, the third that it made. It decides when a request is
//! sequenced, taking everything in flight for granted, and forgets what a lost leader took with it.

use crate::piece::Batch;
use bytes::Bytes;
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::config::StreamConfig;
use model::{Entry, EntryBuilder, Hlc, Offset, PieceHead, ShardId, StreamId, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STREAMS: u64 = 2;
const WINDOW_MILLIS: u64 = 1_000;
const REMEMBERED_BATCHES: usize = 5;

#[derive(Clone, Debug)]
enum Action {
    Plain {
        stream: u64,
        pieces: u32,
        records: u32,
    },
    WithId {
        stream: u64,
        id: u8,
    },
    Numbered {
        stream: u64,
        producer: u64,
        what: What,
        records: u32,
    },
    Trim {
        stream: u64,
        to: u64,
    },
    Tick,
    /// Closes the entry and proposes it.
    Close,
    Apply,
    /// Leadership is lost: what was not closed is gone, and of the entries in flight all but the
    /// first `survivors`.
    Lose {
        survivors: usize,
    },
    /// Time passes. An entry has one time, so the open one is closed first.
    Wait {
        millis: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum What {
    Next,
    /// The last batch but `0`, `1`, ... again.
    Again(usize),
    /// What the log misses, as a client does that was told to retry.
    Missing,
    /// Makes a batch that is never sent, and sends the one after it.
    Skip,
    /// Restarts as a new instance.
    Restart,
    /// The replaced instance sends its last batch.
    Old,
}

fn action() -> impl Strategy<Value = Action> {
    let stream = || 1..=STREAMS;
    let what = prop_oneof![
        8 => Just(What::Next),
        4 => (0usize..8).prop_map(What::Again),
        4 => Just(What::Missing),
        1 => Just(What::Skip),
        1 => Just(What::Restart),
        1 => Just(What::Old),
    ];
    prop_oneof![
        3 => (stream(), 1u32..4, 1u32..4).prop_map(|(stream, pieces, records)| Action::Plain { stream, pieces, records }),
        4 => (stream(), 0u8..5).prop_map(|(stream, id)| Action::WithId { stream, id }),
        10 => (stream(), 1u64..3, what, 1u32..4)
            .prop_map(|(stream, producer, what, records)| Action::Numbered { stream, producer, what, records }),
        1 => (stream(), 0u64..60).prop_map(|(stream, to)| Action::Trim { stream, to }),
        1 => Just(Action::Tick),
        6 => Just(Action::Close),
        6 => Just(Action::Apply),
        1 => (0usize..9).prop_map(|survivors| Action::Lose { survivors }),
        2 => (0i64..1500).prop_map(|millis| Action::Wait { millis }),
    ]
}

/// What the log should hold and what should be remembered about it.
#[derive(Clone, Debug, Default)]
struct Model {
    streams: BTreeMap<u64, Stream>,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    start: u64,
    end: u64,
    /// The terms in which something was appended.
    terms: BTreeSet<u64>,
    producers: BTreeMap<u64, Known>,
    /// Where a message with this id is, and until when that counts.
    ids: BTreeMap<u8, (u64, i64)>,
}

#[derive(Clone, Debug)]
struct Known {
    instance: i16,
    /// Batches by number, and where they are.
    batches: VecDeque<(usize, u64)>,
}

impl Stream {
    fn append(&mut self, records: u32, term: u64) -> u64 {
        let base = self.end;
        self.end += u64::from(records);
        self.terms.insert(term);
        base
    }

    fn duplicate_of_batch(&self, producer: u64, instance: i16, number: usize) -> Option<u64> {
        let known = self.producers.get(&producer).filter(|known| known.instance == instance)?;
        known.batches.iter().find(|(known, _)| *known == number).map(|(_, base)| *base)
    }

    fn batch_may_follow(&self, producer: u64, instance: i16, number: usize) -> Result<(), Refusal> {
        let Some(known) = self.producers.get(&producer) else { return Ok(()) };
        let last = known.batches.back().map_or(0, |(number, _)| *number);
        match instance.cmp(&known.instance) {
            std::cmp::Ordering::Less => Err(Refusal::FencedProducer),
            std::cmp::Ordering::Equal if number == last + 1 => Ok(()),
            std::cmp::Ordering::Greater if number == 0 => Ok(()),
            _ => Err(Refusal::OutOfOrderSequence),
        }
    }

    fn remember_batch(&mut self, producer: u64, instance: i16, number: usize, base: u64) {
        let known = self.producers.entry(producer).or_insert(Known { instance, batches: VecDeque::new() });
        if known.instance != instance {
            *known = Known { instance, batches: VecDeque::new() };
        }
        known.batches.push_back((number, base));
        if known.batches.len() > REMEMBERED_BATCHES {
            known.batches.pop_front();
        }
    }

    fn duplicate_of_id(&self, id: u8, now: i64) -> Option<u64> {
        self.ids.get(&id).filter(|(_, until)| now < *until).map(|(base, _)| *base)
    }
}

/// A producer program: what it made, whether or not it arrived.
#[derive(Debug)]
struct Client {
    instance: i16,
    batches: Vec<Batch>,
    next_sequence: i32,
    replaced: Option<Batch>,
}

impl Client {
    fn new() -> Self {
        // Close to the largest number, so that numbers wrap soon.
        Client { instance: 0, batches: Vec::new(), next_sequence: i32::MAX - 12, replaced: None }
    }

    fn make(&mut self, producer: u64, records: u32, timestamp: i64) -> usize {
        let producer = Some((producer, self.instance, self.next_sequence));
        self.batches.push(Batch { records, timestamp, producer, ..Batch::default() });
        let next = i64::from(self.next_sequence) + i64::from(records);
        self.next_sequence = if next > i64::from(i32::MAX) { (next - (1 << 31)) as i32 } else { next as i32 };
        self.batches.len() - 1
    }
}

#[derive(Debug)]
struct Proposed {
    at: Position,
    entry: Entry,
    /// One for each command.
    replies: Vec<Reply>,
    /// What the model knows after it.
    after: Model,
}

#[derive(Debug)]
struct World {
    machine: Machine,
    sequencer: Sequencer,
    /// Of the last entry closed.
    at: Position,
    wall: i64,
    clients: BTreeMap<(u64, u64), Client>,
    /// Grows with each batch made; stands in its timestamp, so the log tells which is which.
    batches_made: i64,

    open: EntryBuilder,
    open_replies: Vec<Reply>,
    in_flight: VecDeque<Proposed>,
    /// With everything in flight and open.
    hoped: Model,
    /// With what was applied.
    applied: Model,

    /// What each stream holds, in order.
    log: BTreeMap<u64, Vec<Logged>>,
}

#[derive(Debug)]
struct Logged {
    producer: Option<(u64, i16)>,
    /// See `batches_made`.
    made: i64,
}

impl World {
    fn new() -> Self {
        let mut machine = Machine::new(ShardId(1));
        let mut builder = EntryBuilder::new();
        let mut model = Model::default();
        let config = StreamConfig { dedup_window_millis: WINDOW_MILLIS, ..StreamConfig::default() };
        for stream in 1..=STREAMS {
            builder.add_command(&Command::CreateStream { stream: StreamId(stream), config: config.clone() });
            model.streams.insert(stream, Stream::default());
        }
        let at = Position { term: 1, index: 1 };
        let entry = Entry::parse(builder.finish(Hlc(0))).expect("an entry");
        machine.apply(at, &entry).expect("the streams are made");
        World {
            machine,
            sequencer: Sequencer::new(1),
            at,
            wall: 1_000_000,
            clients: BTreeMap::new(),
            batches_made: 0,
            open: EntryBuilder::new(),
            open_replies: Vec::new(),
            in_flight: VecDeque::new(),
            hoped: model.clone(),
            applied: model,
            log: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Plain { stream, pieces, records } => {
                let mut bytes = Vec::new();
                for _ in 0..pieces {
                    self.batches_made += 1;
                    bytes.extend(Batch { records, timestamp: self.batches_made, ..Batch::default() }.encode());
                }
                let term = self.at.term;
                let hoped = self.hoped.streams.get_mut(&stream).expect("the stream");
                let base = hoped.append(pieces * records, term);
                let reply = Reply::Appended { base: Offset(base), start: Offset(hoped.start) };
                self.sequence(stream, bytes, None, Ok(reply));
            }
            Action::WithId { stream, id } => self.append_with_id(stream, id),
            Action::Numbered { stream, producer, what, records } => {
                self.append_numbered(stream, producer, what, records);
            }
            Action::Trim { stream, to } => {
                self.open.add_command(&Command::Trim { stream: StreamId(stream), to: Offset(to) });
                let hoped = self.hoped.streams.get_mut(&stream).expect("the stream");
                self.open_replies.push(if to > hoped.end {
                    Reply::Refused(Refusal::OffsetOutOfRange)
                } else {
                    hoped.start = hoped.start.max(to);
                    Reply::Trimmed { start: Offset(hoped.start) }
                });
            }
            Action::Tick => {
                self.open.add_command(&Command::Tick);
                self.open_replies.push(Reply::Done);
            }
            Action::Close => self.close(),
            Action::Apply => self.apply(),
            Action::Lose { survivors } => {
                let _never_proposed = std::mem::take(&mut self.open);
                self.open_replies.clear();
                self.in_flight.truncate(survivors);
                while !self.in_flight.is_empty() {
                    self.apply();
                }
                self.hoped = self.applied.clone();
                self.at.term += 1;
                self.sequencer = Sequencer::new(self.at.term);
            }
            Action::Wait { millis } => {
                self.close();
                self.wall += millis;
            }
        }
    }

    fn append_with_id(&mut self, stream: u64, id: u8) {
        self.batches_made += 1;
        let bytes = Batch { timestamp: self.batches_made, ..Batch::default() }.encode();
        let (now, term) = (self.wall, self.at.term);
        let applied = &self.applied.streams[&stream];
        let hoped = self.hoped.streams.get_mut(&stream).expect("the stream");
        let answer = if let Some(base) = applied.duplicate_of_id(id, now) {
            Err(Reply::Duplicate { base: Offset(base), start: Offset(applied.start) })
        } else if let Some(base) = hoped.duplicate_of_id(id, now) {
            Ok(Reply::Duplicate { base: Offset(base), start: Offset(hoped.start) })
        } else {
            let base = hoped.append(1, term);
            hoped.ids.insert(id, (base, now + WINDOW_MILLIS as i64));
            Ok(Reply::Appended { base: Offset(base), start: Offset(hoped.start) })
        };
        self.sequence(stream, bytes, Some(id), answer);
    }

    fn append_numbered(&mut self, stream: u64, producer: u64, what: What, records: u32) {
        let client = self.clients.entry((stream, producer)).or_insert_with(Client::new);
        let hoped = self.hoped.streams.get_mut(&stream).expect("the stream");
        let known = hoped.producers.get(&producer).filter(|known| known.instance == client.instance);
        let missing = known.and_then(|known| known.batches.back()).map_or(0, |(number, _)| number + 1);
        let number = match what {
            What::Again(back) if back < client.batches.len() => client.batches.len() - 1 - back,
            What::Missing if missing < client.batches.len() => missing,
            What::Restart => {
                client.replaced = client.batches.pop();
                client.batches.clear();
                client.instance += 1;
                client.next_sequence = 0;
                self.batches_made += 1;
                client.make(producer, records, self.batches_made)
            }
            What::Old => match client.replaced {
                Some(batch) => {
                    // Every later instance numbers from zero, so if the log knows none, this is news.
                    let (_, instance, _) = batch.producer.expect("a numbered batch");
                    if hoped.producers.get(&producer).is_some_and(|known| known.instance > instance) {
                        self.sequence(stream, batch.encode(), None, Err(Reply::Refused(Refusal::FencedProducer)));
                    }
                    return;
                }
                None => return,
            },
            What::Skip => {
                self.batches_made += 2;
                client.make(producer, records, self.batches_made - 1);
                client.make(producer, records, self.batches_made)
            }
            _ => {
                self.batches_made += 1;
                client.make(producer, records, self.batches_made)
            }
        };
        let (batch, instance, term) = (client.batches[number], client.instance, self.at.term);
        let applied = &self.applied.streams[&stream];
        let answer = match hoped.duplicate_of_batch(producer, instance, number) {
            Some(base) if applied.duplicate_of_batch(producer, instance, number).is_some() => {
                Err(Reply::Duplicate { base: Offset(base), start: Offset(applied.start) })
            }
            Some(base) => Ok(Reply::Duplicate { base: Offset(base), start: Offset(hoped.start) }),
            None => match hoped.batch_may_follow(producer, instance, number) {
                Ok(()) => {
                    let base = hoped.append(batch.records, term);
                    hoped.remember_batch(producer, instance, number, base);
                    Ok(Reply::Appended { base: Offset(base), start: Offset(hoped.start) })
                }
                Err(refusal) => Err(Reply::Refused(refusal)),
            },
        };
        self.sequence(stream, batch.encode(), None, answer);
    }

    /// Sequences a request that should be answered by its entry with `Ok`, or at once with `Err`.
    fn sequence(&mut self, stream: u64, bytes: Vec<u8>, id: Option<u8>, answer: Result<Reply, Reply>) {
        let request = AppendRequest {
            stream: StreamId(stream),
            bytes: Bytes::from(bytes),
            message_id: id.map(|id| Bytes::from(vec![id])),
            durability: None,
        };
        let (ticket, now) = (self.at.index + 1, self.now());
        let sequenced = self.sequencer.append(&self.machine.messaging, &request, &mut self.open, ticket, now);
        match answer {
            Ok(reply) => {
                assert_eq!(sequenced, Sequenced::Added, "instead of {reply:?} later");
                self.open_replies.push(reply);
            }
            Err(reply) => assert_eq!(sequenced, Sequenced::Answer(reply)),
        }
    }

    fn now(&self) -> Hlc {
        // Each entry has a time of its own; the wall stands still meanwhile.
        Hlc(Hlc::default().next(Timestamp(self.wall)).0 + self.at.index)
    }

    fn close(&mut self) {
        if self.open.command_count() == 0 {
            return;
        }
        let time = self.now();
        self.at.index += 1;
        let entry = Entry::parse(self.open.finish(time)).expect("what a builder closes is an entry");
        let replies = std::mem::take(&mut self.open_replies);
        self.in_flight.push_back(Proposed { at: self.at, entry, replies, after: self.hoped.clone() });
    }

    fn apply(&mut self) {
        let Some(Proposed { at, entry, replies, after }) = self.in_flight.pop_front() else { return };
        let outcome = self.machine.apply(at, &entry).expect("the entry is this version's");
        self.sequencer.on_applied(at.index);
        assert_eq!(outcome.replies, replies);
        assert_eq!(outcome.refused, [0; 0], "no guess was wrong");
        for piece in &outcome.accepted {
            let before = &self.applied.streams[&piece.stream.0];
            let first_of_term = !before.terms.contains(&at.term);
            let epoch = before.terms.len() + usize::from(first_of_term) - 1;
            assert_eq!(piece.epoch.0 as usize, epoch, "one epoch for each term that wrote");
            let head = PieceHead::parse(entry.body(piece)).expect("a piece");
            assert_eq!((head.base, head.epoch), (piece.base, piece.epoch), "the bytes describe themselves");
            let producer = head.producer.map(|stamp| (stamp.id, stamp.epoch));
            self.log.entry(piece.stream.0).or_default().push(Logged { producer, made: piece.max_timestamp.0 });
        }
        self.applied = after;
        for (id, known) in &self.applied.streams {
            let stream = self.machine.messaging.stream(StreamId(*id)).expect("the stream");
            assert_eq!((stream.start, stream.end), (Offset(known.start), Offset(known.end)));
        }
    }

    /// What must be true of the log, whatever the model thinks.
    fn audit(&self) {
        for batches in self.log.values() {
            let made: BTreeSet<i64> = batches.iter().map(|batch| batch.made).collect();
            assert_eq!(made.len(), batches.len(), "no batch is in the log twice");
            let producers: BTreeSet<_> = batches.iter().filter_map(|batch| batch.producer).collect();
            for producer in producers {
                let of_producer = batches.iter().filter(|batch| batch.producer == Some(producer));
                assert!(of_producer.is_sorted_by_key(|batch| batch.made), "batches stand as their producer made them");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_log_is_what_the_leader_promised(actions in vec(action(), 1..150)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
            // As many entries as a leader ever has in flight.
            if world.in_flight.len() > 8 {
                world.apply();
            }
        }
        world.close();
        while !world.in_flight.is_empty() {
            world.apply();
        }
        world.audit();
    }
}
