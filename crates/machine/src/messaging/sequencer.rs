//! The leader's side of an append: assigning offsets before the entry is proposed.
//!
//! Against the applied state plus what it has in flight, the sequencer decides whether a request is
//! next, repeated or refused, and writes offset and leader epoch into the piece. It is not part of
//! `apply`, which checks everything again; a wrong guess here costs a refusal there, never a wrong
//! log. It must be dropped when leadership is lost, and a new leader starts one only after it has
//! applied everything before its own first entry.

use super::Messaging;
use super::producer::{Producer, Verdict};
use crate::command::{Command, ProducerBatch};
use crate::reply::{Refusal, Reply};
use bytes::Bytes;
use model::config::TimestampSource;
use model::{Durability, EntryBuilder, Form, Hlc, LeaderEpoch, Offset, ProducerId, StreamId};
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

#[derive(Debug)]
struct Pending {
    /// The offset that the next piece gets.
    next: Offset,
    epoch: LeaderEpoch,
    /// The last entry in flight that touches the stream.
    ticket: u64,
    producers: BTreeMap<ProducerId, Producer>,
    message_ids: BTreeMap<Bytes, u64>,
}

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

    /// Entries up to `ticket` have been applied: the state tells about them now.
    pub fn on_applied(&mut self, ticket: u64) {
        self.streams.retain(|_, pending| pending.ticket > ticket);
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
        let stream = state.stream(id).ok_or(Refusal::UnknownStream)?;
        let mut heads = Vec::with_capacity(1);
        for piece in model::piece::walk(&request.bytes) {
            let (head, range) = piece.map_err(|_| Refusal::Invalid("not a piece"))?;
            if head.bytes > stream.config.piece_bytes_max as usize {
                return Err(Refusal::TooLarge);
            }
            heads.push((head, range));
        }
        let first = heads.first().ok_or(Refusal::Invalid("append without pieces"))?.0;
        let producer = first.producer.map(|stamp| ProducerBatch {
            producer: ProducerId(stamp.id),
            epoch: stamp.epoch,
            first_sequence: stamp.first_sequence,
            last_sequence: stamp.last_sequence,
        });
        if producer.is_some() && heads.len() > 1 {
            return Err(Refusal::Invalid("more than one batch of a numbering producer"));
        }
        let message_id = request.message_id.as_ref().filter(|_| stream.config.dedup_window_millis > 0);
        if let Some(answer) = self.repeated(state, id, producer, message_id, entry, ticket, now)? {
            return Ok(answer);
        }

        let pending = self.streams.entry(id).or_insert_with(|| Pending {
            next: stream.end,
            epoch: stream.epoch_in(self.term),
            ticket,
            producers: BTreeMap::new(),
            message_ids: BTreeMap::new(),
        });
        pending.ticket = ticket;
        let base = pending.next;
        let append_time = (stream.config.timestamp_source == TimestampSource::Append).then(|| now.timestamp());
        let first_piece = entry.piece_count();
        for (head, range) in &heads {
            let append_time = append_time.filter(|_| head.form == Form::Batch);
            entry.add_piece(id, pending.next, pending.epoch, head, &request.bytes[range.clone()], append_time);
            pending.next = pending.next.plus(u64::from(head.count));
        }
        if let Some(batch) = &producer {
            let known = pending.producers.remove(&batch.producer);
            let known = known.or_else(|| state.producer(id, batch.producer).cloned());
            pending.producers.insert(batch.producer, Producer::remember(known, batch, base, now));
        }
        if let Some(message_id) = message_id {
            pending.message_ids.insert(message_id.clone(), ticket);
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

    /// Whether the request was made before: then it is answered from the state, or, while the first
    /// one is in flight, by asking again right behind it.
    #[allow(clippy::too_many_arguments, reason = "one question about one request, asked in one place")]
    fn repeated(
        &mut self,
        state: &Messaging,
        id: StreamId,
        producer: Option<ProducerBatch>,
        message_id: Option<&Bytes>,
        entry: &mut EntryBuilder,
        ticket: u64,
        now: Hlc,
    ) -> Result<Option<Sequenced>, Refusal> {
        let start = state.stream(id).map_or(Offset::ZERO, |stream| stream.start);
        let mut in_flight = false;
        if let Some(batch) = &producer {
            let pending = self.streams.get(&id).and_then(|pending| pending.producers.get(&batch.producer));
            let applied = state.producer(id, batch.producer);
            if let Verdict::Duplicate(base) = Producer::judge(pending.or(applied), batch)? {
                match Producer::judge(applied, batch) {
                    Ok(Verdict::Duplicate(_)) => {
                        return Ok(Some(Sequenced::Answer(Reply::Duplicate { base, start })));
                    }
                    _ => in_flight = true,
                }
            }
        }
        if let Some(message_id) = message_id {
            if let Some(base) = state.dedup.find(id, message_id, now) {
                return Ok(Some(Sequenced::Answer(Reply::Duplicate { base, start })));
            }
            in_flight |= self.streams.get(&id).is_some_and(|p| p.message_ids.contains_key(message_id));
        }
        if !in_flight {
            return Ok(None);
        }
        if let Some(pending) = self.streams.get_mut(&id) {
            pending.ticket = ticket;
        }
        // The answer is worth what the first one's is: wait for stable storage either way.
        entry.want_fsync();
        entry.add_command(&Command::Recall { stream: id, producer, message_id: message_id.cloned() });
        Ok(Some(Sequenced::Added))
    }
}
