//! When the sequencer's guesses prove wrong, because a stream changed while appends were in flight,
//! requests are refused, but nothing is in the log twice, out of order or at another place than its
//! answer says, and what comes afterwards is accepted, whether or not anything is still in flight.

use crate::piece::Batch;
use bytes::Bytes;
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Machine, Position, Refusal, Reply};
use model::config::StreamConfig;
use model::{Entry, EntryBuilder, Hlc, Offset, StreamId};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STREAM: StreamId = StreamId(1);
const SMALL: usize = 70;
const LARGE: usize = 90;

#[derive(Clone, Copy, Debug)]
enum Action {
    Append {
        large: bool,
        producer: Option<u64>,
    },
    /// Lets in large pieces, or no longer.
    Configure {
        large: bool,
    },
    Propose,
    Apply,
    /// Tells the sequencer of an entry that is applied: it may hear late.
    Tell,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (any::<bool>(), prop::option::of(1u64..3)).prop_map(|(large, producer)| Action::Append { large, producer }),
        1 => any::<bool>().prop_map(|large| Action::Configure { large }),
        4 => Just(Action::Propose),
        3 => Just(Action::Apply),
        3 => Just(Action::Tell),
    ]
}

struct World {
    machine: Machine,
    sequencer: Sequencer,
    at: Position,
    open: EntryBuilder,
    in_flight: VecDeque<(Position, Entry)>,
    /// Applied, and the sequencer does not know.
    untold: VecDeque<u64>,
    /// Those of them, and of the ones in flight, in which a guess proved wrong.
    wrong: BTreeSet<u64>,
    /// The last entry with something in it that was sequenced before the sequencer heard of that.
    falling_until: u64,
    /// The next batch's number, by producer: the next one is made when this one is in the log.
    next: BTreeMap<u64, i32>,
    /// Batches of each producer in the log.
    logged: BTreeMap<u64, Vec<i32>>,
    end: Offset,
}

impl World {
    fn append(&mut self, bytes: usize, producer: Option<u64>) -> Sequenced {
        let producer = producer.map(|id| (id, 0, *self.next.entry(id).or_default()));
        let request = AppendRequest {
            stream: STREAM,
            bytes: Bytes::from(Batch { bytes, producer, ..Batch::default() }.encode()),
            message_id: None,
            durability: None,
        };
        let (ticket, now) = (self.at.index + 1, self.machine.time());
        let sequenced = self.sequencer.append(&self.machine.messaging, &request, &mut self.open, ticket, now);
        if let Sequenced::Answer(Reply::Refused(refusal)) = sequenced {
            // Batches of the producer fall, and the sequencer has not heard that all of them have.
            let told = self.told();
            let falls = producer.is_some() && (!self.wrong.is_empty() || told < self.falling_until);
            assert!(refusal == Refusal::TooLarge || (refusal == Refusal::WrongOffset && falls), "{refusal}");
        }
        sequenced
    }

    /// The last entry that the sequencer was told of.
    fn told(&self) -> u64 {
        let in_flight = self.in_flight.front().map(|(at, _)| at.index);
        self.untold.front().copied().or(in_flight).unwrap_or(self.at.index + 1) - 1
    }

    fn propose(&mut self) {
        if self.open.command_count() == 0 {
            return;
        }
        self.at.index += 1;
        let entry = Entry::parse(self.open.finish(Hlc(0))).expect("what a builder closes is an entry");
        self.in_flight.push_back((self.at, entry));
    }

    fn tell(&mut self) {
        if let Some(ticket) = self.untold.pop_front() {
            self.sequencer.on_applied(ticket);
            if self.wrong.remove(&ticket) {
                self.falling_until = self.at.index + 1;
            }
        }
    }

    fn apply(&mut self) -> Vec<Reply> {
        let Some((at, entry)) = self.in_flight.pop_front() else { return Vec::new() };
        let outcome = self.machine.apply(at, &entry).expect("the entry is this version's");
        self.untold.push_back(at.index);
        let answered = outcome.replies.iter().filter(|reply| matches!(reply, Reply::Appended { .. }));
        assert_eq!(answered.count(), outcome.accepted.len(), "who was told so is in the log");
        for piece in &outcome.accepted {
            assert_eq!(piece.base, self.end, "no gap and no overlap");
            self.end = piece.end();
            let head = model::PieceHead::parse(entry.body(piece)).expect("a piece");
            if let Some(stamp) = head.producer {
                self.logged.entry(stamp.id).or_default().push(stamp.first_sequence);
                self.next.insert(stamp.id, stamp.first_sequence + 1);
            }
        }
        for reply in &outcome.replies {
            match reply {
                Reply::Refused(Refusal::TooLarge) => {
                    self.wrong.insert(at.index);
                }
                Reply::Refused(Refusal::WrongOffset) => {
                    let guessed = !self.wrong.is_empty() || at.index <= self.falling_until;
                    assert!(guessed, "only what was sequenced on the wrong guess falls");
                }
                Reply::Refused(refusal) => panic!("{refusal}"),
                _ => {}
            }
        }
        outcome.replies
    }
}

proptest! {
    #[test]
    fn a_wrong_guess_costs_a_refusal_and_nothing_else(actions in vec(action(), 1..150)) {
        let mut world = World {
            machine: Machine::new(model::ShardId(1)),
            sequencer: Sequencer::new(1),
            at: Position { term: 1, index: 0 },
            open: EntryBuilder::new(),
            in_flight: VecDeque::new(),
            untold: VecDeque::new(),
            wrong: BTreeSet::new(),
            falling_until: 0,
            next: BTreeMap::new(),
            logged: BTreeMap::new(),
            end: Offset::ZERO,
        };
        world.open.add_command(&Command::CreateStream { stream: STREAM, config: StreamConfig::default() });
        world.propose();
        world.apply();
        for action in actions {
            match action {
                Action::Append { large, producer } => {
                    world.append(if large { LARGE } else { SMALL }, producer);
                }
                Action::Configure { large } => {
                    let piece_bytes_max = if large { LARGE } else { SMALL } as u32;
                    let config = StreamConfig { piece_bytes_max, ..StreamConfig::default() };
                    world.open.add_command(&Command::ConfigureStream { stream: STREAM, config });
                }
                Action::Propose => world.propose(),
                Action::Apply => {
                    world.apply();
                }
                Action::Tell => world.tell(),
            }
        }
        world.propose();
        while !world.in_flight.is_empty() {
            world.apply();
        }
        while !world.untold.is_empty() {
            world.tell();
        }
        for numbers in world.logged.values() {
            prop_assert!(numbers.iter().copied().eq(0..numbers.len() as i32), "once and in order: {:?}", numbers);
        }
        let end = world.end;
        prop_assert_eq!(world.append(SMALL, None), Sequenced::Added);
        world.propose();
        prop_assert_eq!(world.apply(), [Reply::Appended { base: end, start: Offset::ZERO }]);
    }
}
