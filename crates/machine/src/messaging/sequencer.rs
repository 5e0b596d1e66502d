//! The leader's side of an append: assigning offsets before the entry is proposed.
//!
//! Against the applied state plus what it has in flight, the sequencer decides whether a request is
//! next, repeated or refused, and writes offset and leader epoch into the piece. It is not part of
//! `apply`, which checks everything again; a wrong guess here costs a refusal there, never a wrong
//! log (`pending.rs` tells how it is noticed). It must be dropped when leadership is lost, and a new leader starts one only after it has
//! applied everything before its own first entry.

use super::Messaging;
use super::pending::{Pending, PendingId};
use super::producer::{Producer, Verdict};
use crate::command::{Command, ProducerBatch};
use crate::refusal::{Fault, Refusal};
use crate::reply::Reply;
use bytes::Bytes;
use model::config::TimestampSource;
use model::entry::DESC_BYTES;
use model::{Durability, EntryBuilder, Form, Hlc, Offset, ProducerId, StreamId, limit};
use std::collections::BTreeMap;

/// A request to append the pieces that `bytes` are, back to back.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Where to.
    pub stream: StreamId,
    /// The pieces, checked by whoever received them.
    pub bytes: Bytes,
    /// The message's id, for streams that look at ids.
    pub message_id: Option<Bytes>,
    /// Overrides the stream's durability: Kafka's acks=1 and 0 do not wait for stable storage.
    pub durability: Option<Durability>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sequenced {
    /// It is in the entry; the entry's reply answers it.
    Added,
    /// It can be answered now.
    Answer(Reply),
}

/// What a request asks, without its pieces.
struct Asked<'a> {
    stream: StreamId,
    producer: Option<ProducerBatch>,
    /// Only when the stream looks at ids.
    message_id: Option<&'a Bytes>,
    ticket: u64,
    now: Hlc,
}

/// What a request is, next to those before it.
enum Repeat {
    /// The first of its kind.
    No,
    /// It was applied before, here.
    Applied(Offset),
    /// It is in flight, or it is applied and its number is new: an entry has to say more.
    Ask,
}

/// More bytes than a command takes that the sequencer writes.
const COMMAND_BYTES_MAX: usize = 64 + limit::DEDUP_ID_BYTES_MAX;

/// The leader's view of what is in flight.
#[derive(Debug)]
pub struct Sequencer {
    term: u64,
    streams: BTreeMap<StreamId, Pending>,
}

impl Sequencer {
    /// A sequencer for the leader of Raft term `term`, with nothing in flight.
    #[must_use]
    pub fn new(term: u64) -> Self {
        Sequencer { term, streams: BTreeMap::new() }
    }

    /// The term it sequences for.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Entries up to `ticket` have been applied: the state tells about them now. It may tell about
    /// later ones already.
    pub fn on_applied(&mut self, ticket: u64) {
        self.streams.retain(|_, pending| pending.on_applied(ticket));
    }

    /// Puts `request` into `entry`, which will be proposed as number `ticket`, or answers it.
    pub fn append(
        &mut self,
        state: &Messaging,
        request: &AppendRequest,
        entry: &mut EntryBuilder,
        ticket: u64,
        now: Hlc,
    ) -> Sequenced {
        match self.try_append(state, request, entry, ticket, now) {
            Ok(sequenced) => sequenced,
            Err(refusal) => Sequenced::Answer(Reply::Refused(refusal)),
        }
    }

    fn try_append(
        &mut self,
        state: &Messaging,
        request: &AppendRequest,
        entry: &mut EntryBuilder,
        ticket: u64,
        now: Hlc,
    ) -> Result<Sequenced, Refusal> {
        let id = request.stream;
        let stream = state.newest(id)?;
        let start = state.start_of(id).unwrap_or(stream.start);
        if let Some(pending) = self.streams.get_mut(&id) {
            pending.believe(stream.end);
        }
        let mut heads = Vec::with_capacity(1);
        for piece in model::piece::walk(&request.bytes) {
            let (head, range) = piece.map_err(|_| Refusal::Invalid(Fault::NotAPiece))?;
            if head.bytes > stream.config.piece_bytes_max as usize || heads.len() == limit::ENTRY_PIECES_MAX {
                return Err(Refusal::TooLarge);
            }
            heads.push((head, range));
        }
        let first = heads.first().ok_or(Refusal::Invalid(Fault::NoPieces))?.0;
        if heads.len() > 1 && heads.iter().any(|(head, _)| head.producer.is_some()) {
            return Err(Refusal::Invalid(Fault::ManyNumbered));
        }
        let producer = first.producer.map(|stamp| ProducerBatch {
            producer: ProducerId(stamp.id),
            epoch: stamp.epoch,
            first_sequence: stamp.first_sequence,
            last_sequence: stamp.last_sequence,
        });
        let window = stream.config.dedup_window_millis;
        let message_id = request.message_id.as_ref().filter(|_| window > 0);
        let asked = Asked { stream: id, producer, message_id, ticket, now };
        match self.judge(state, &asked)? {
            Repeat::No => {}
            Repeat::Applied(base) => {
                return Ok(Sequenced::Answer(Reply::Duplicate { base, start }));
            }
            Repeat::Ask => return self.recall(state, &asked, entry),
        }
        if let Some(message_id) = message_id {
            let in_flight = self.streams.get(&id).map_or(0, Pending::message_id_count);
            state.check_message_id(id, message_id, in_flight, now)?;
        }
        check_room(entry, heads.len(), request.bytes.len())?;

        let pending = self.streams.entry(id).or_insert_with(|| Pending::new(stream.end, stream.epoch_in(self.term)));
        let base = pending.next;
        let append_time = (stream.config.timestamp_source == TimestampSource::Append).then(|| now.timestamp());
        let first_piece = entry.piece_count();
        for (head, range) in &heads {
            let append_time = append_time.filter(|_| head.form == Form::Batch);
            entry.add_piece(id, pending.next, pending.epoch, head, request.bytes.slice(range.clone()), append_time);
            pending.next = pending.next.plus(u64::from(head.count));
        }
        pending.grow(ticket);
        if let Some(batch) = &producer {
            let known = pending.producer(batch.producer).or_else(|| state.producer(id, batch.producer)).cloned();
            pending.put_producer(batch.producer, Producer::remember(known, batch, base, now), ticket);
        }
        if let Some(message_id) = message_id {
            let seen = PendingId { ticket, until: now.timestamp().plus(window) };
            pending.put_message_id(message_id.clone(), seen);
        }
        let command = Command::Append {
            first: first_piece,
            pieces: heads.len() as u32,
            producer,
            message_id: message_id.cloned(),
        };
        entry.add_command(&command);
        if request.durability.unwrap_or(stream.config.durability) == Durability::QuorumFsync {
            entry.want_fsync();
        }
        Ok(Sequenced::Added)
    }

    /// Whether the request was made before.
    fn judge(&self, state: &Messaging, asked: &Asked<'_>) -> Result<Repeat, Refusal> {
        let id = asked.stream;
        let pending = self.streams.get(&id);
        if let Some(batch) = &asked.producer {
            let applied = state.producer(id, batch.producer);
            let known = pending.and_then(|pending| pending.producer(batch.producer)).or(applied);
            let verdict = state.judge(known, batch);
            // Batches of the producer are about to be refused. Until it hears of that it may send what
            // follows them: a refusal like theirs keeps the order, and another would end it.
            let failing = pending.is_some_and(|pending| pending.is_failing(batch.producer));
            if failing && (known.is_none() || verdict == Err(Refusal::OutOfOrderSequence)) {
                return Err(Refusal::WrongOffset);
            }
            if let Verdict::Duplicate(_) = verdict? {
                return Ok(match state.judge(applied, batch) {
                    Ok(Verdict::Duplicate(base)) => Repeat::Applied(base),
                    _ => Repeat::Ask,
                });
            }
        }
        let Some(message_id) = asked.message_id else { return Ok(Repeat::No) };
        if let Some(base) = state.dedup.find(id, message_id, asked.now) {
            // A new number for a known message: only an entry can tell the state that it is used.
            return Ok(if asked.producer.is_some() { Repeat::Ask } else { Repeat::Applied(base) });
        }
        let in_flight = pending.is_some_and(|pending| pending.has_message_id(message_id, asked.ticket, asked.now));
        Ok(if in_flight { Repeat::Ask } else { Repeat::No })
    }

    /// Asks for the answer to a request made before, right behind it.
    fn recall(&mut self, state: &Messaging, asked: &Asked<'_>, entry: &mut EntryBuilder) -> Result<Sequenced, Refusal> {
        check_room(entry, 0, 0)?;
        let Asked { stream: id, producer, message_id, ticket, now } = *asked;
        if let Some(batch) = &producer {
            let stream = state.stream(id).ok_or(Refusal::UnknownStream)?;
            let pending =
                self.streams.entry(id).or_insert_with(|| Pending::new(stream.end, stream.epoch_in(self.term)));
            let known = pending.producer(batch.producer).or_else(|| state.producer(id, batch.producer)).cloned();
            // Repeated by its message id, not by its number: that is used now, and the next may follow.
            if let Ok(Verdict::Next) = state.judge(known.as_ref(), batch) {
                // Where it is, only the answer will say.
                let after = Producer::remember(known, batch, Offset::ZERO, now);
                pending.put_producer(batch.producer, after, ticket);
            }
        }
        // The answer is worth what the first one's is: wait for stable storage either way.
        entry.want_fsync();
        entry.add_command(&Command::Recall { stream: id, producer, message_id: message_id.cloned() });
        Ok(Sequenced::Added)
    }
}

/// Whether `pieces` of so many bytes, and a command, fit the entry.
fn check_room(entry: &EntryBuilder, pieces: usize, bytes: usize) -> Result<(), Refusal> {
    let bytes = entry.bytes() + pieces * DESC_BYTES + bytes + COMMAND_BYTES_MAX;
    let fits = bytes <= limit::ENTRY_BYTES_MAX
        && entry.piece_count() as usize + pieces <= limit::ENTRY_PIECES_MAX
        && (entry.command_count() as usize) < limit::ENTRY_COMMANDS_MAX;
    if fits { Ok(()) } else { Err(Refusal::TooLarge) }
}
