//! Clients: each appends numbered records, in a manner of its own, and remembers exactly what it was
//! told.

use super::checker::Ledger;
use super::facts::Facts;
use super::keyed::ledger::Read;
use super::keyed::reader::{self, Trouble};
use super::keyed::record::{self as keyed, Keyed};
use super::record::{self, Stamp};
use crate::rng::Rng;
use crate::time::EPOCH_MILLIS;
use crate::trace::Trace;
use bytes::Bytes;
use machine::messaging::sequencer::AppendRequest;
use machine::{Command, Refusal, Reply};
use model::{Durability, Offset, StreamId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{ProposeError, Request, Role, Shard};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

pub(super) use crate::time::now;

/// The replicas that run now, by node.
pub(super) type Replicas = Arc<Mutex<BTreeMap<u64, Shard>>>;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often a client that has to know asks again.
const TRIES: usize = 40;
/// Each client's records have numbers of their own.
pub(crate) const NUMBERS: u64 = 1_000_000;

/// How a client works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Sends messages, sometimes several at once, and does not repeat them.
    Plain,
    /// Sends batches with sequences, and repeats each until it is answered (KIP-98).
    Numbering,
    /// Sends messages with ids, and repeats each until it is answered.
    Naming,
    /// Sends messages to a queue and settles them.
    Settling,
    /// Sends records with keys, which they overwrite and remove, to compacted streams.
    Keyed,
}

/// What a client is given.
#[derive(Clone)]
pub(super) struct World {
    pub(super) replicas: Replicas,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) trace: Trace,
    pub(super) pause_micros: u64,
    /// How long message ids are remembered.
    pub(super) window_millis: u64,
}

/// See the module's documentation.
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) manner: Manner,
    /// The streams it writes to.
    pub(super) streams: Vec<StreamId>,
    pub(super) world: World,
    pub(super) rng: Rng,
    /// Records numbered so far.
    nth: u64,
    /// Per stream: the producer's epoch and next sequence.
    sequences: BTreeMap<StreamId, (i16, i32)>,
}

/// How a request that was repeated until it was answered came out.
enum Outcome {
    At(u64),
    Refused(Refusal),
    /// It was never appended.
    Never,
    Unknown,
}

impl Client {
    pub(super) fn new(number: u64, manner: Manner, streams: Vec<StreamId>, world: World, rng: Rng) -> Self {
        Client { number, manner, streams, world, rng, nth: 0, sequences: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        while !self.world.stop.load(SeqCst) {
            let pause = self.rng.between(100, self.world.pause_micros);
            SimRuntime::sleep(Duration::from_micros(pause)).await;
            let Some(stream) = self.rng.pick(&self.streams).copied() else { return };
            if self.rng.per_mille(150) {
                match self.manner {
                    Manner::Keyed => self.read_keys(stream),
                    _ => self.read(stream),
                }
            }
            if self.rng.per_mille(40) && !matches!(self.manner, Manner::Settling | Manner::Keyed) {
                self.trim(stream).await;
            }
            match self.manner {
                Manner::Plain => self.send_plainly(stream).await,
                Manner::Numbering => self.send_numbered(stream).await,
                Manner::Naming => self.send_named(stream).await,
                Manner::Settling => self.send_and_settle(stream).await,
                Manner::Keyed => self.send_keyed(stream).await,
            }
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.line(format_args!("{:?} c{} {what}", now(), self.number));
    }

    /// Numbers for `count` records.
    fn numbers(&mut self, count: u64) -> u64 {
        let id = self.number * NUMBERS + self.nth;
        self.nth += count;
        id
    }

    /// Somebody who believes to lead, else anybody.
    fn somebody(&mut self) -> Option<Shard> {
        let replicas: Vec<Shard> = self.world.replicas.lock().values().cloned().collect();
        let leads = replicas.iter().find(|shard| shard.role() == Role::Leader && !self.rng.per_mille(50));
        leads.or_else(|| self.rng.pick(&replicas)).cloned()
    }

    fn acknowledged(&self, stream: StreamId, id: u64, count: u64, base: u64) {
        self.note(format_args!("{stream} {id}+{count} is at {base}"));
        self.world.ledger.lock().acknowledged(stream, id, count, base, now());
        self.world.facts.lock().acknowledged += 1;
    }

    async fn send_plainly(&mut self, stream: StreamId) {
        let Some(shard) = self.somebody() else { return };
        let count = if self.rng.percent(20) { self.rng.between(2, 4) } else { 1 };
        let from_memory = self.rng.percent(10);
        let mut requests = Vec::new();
        for _ in 0..count {
            let id = self.numbers(1);
            let size = if self.rng.percent(5) { self.rng.between(1_000, 6_000) } else { self.rng.between(8, 900) };
            let size = size as usize;
            let durability = from_memory.then_some(Durability::QuorumMemory);
            let bytes = Bytes::from(record::message(id, size));
            requests.push((id, Request::Append(AppendRequest { stream, bytes, message_id: None, durability })));
            self.world.ledger.lock().asked(stream, id, 1, from_memory);
        }
        // All are on their way before one is answered.
        let answers = requests.into_iter().map(|(id, request)| {
            let shard = shard.clone();
            async move { (id, propose(&shard, request).await) }
        });
        for (id, answer) in futures::future::join_all(answers).await {
            match answer {
                Some(Ok(Reply::Appended { base, .. })) => self.acknowledged(stream, id, 1, base.0),
                // Not proposed, or refused: it must never be seen.
                Some(Err(ProposeError::NotLeader(_) | ProposeError::DiskFull | ProposeError::Stopped))
                | Some(Ok(Reply::Refused(_))) => self.world.ledger.lock().denied(stream, id, 1),
                Some(Ok(other)) => self.violation(format!("{stream} {id}: appended, and told {other:?}")),
                Some(Err(ProposeError::Unknown)) | None => self.world.ledger.lock().given_up(stream, id, 1),
            }
        }
    }

    async fn send_numbered(&mut self, stream: StreamId) {
        let count = self.rng.between(1, 6);
        let id = self.numbers(count);
        let (epoch, sequence) = self.sequences.get(&stream).copied().unwrap_or_default();
        let size = self.rng.between(8, 1500) as usize;
        let stamp = Stamp { producer: self.number, epoch, sequence };
        let bytes = Bytes::from(record::batch(id, count as u32, size, stamp));
        self.world.ledger.lock().asked(stream, id, count, false);
        let outcome = self.insist(AppendRequest { stream, bytes, message_id: None, durability: None }).await;
        let next = (epoch, sequence + count as i32);
        match outcome {
            Outcome::At(base) => {
                self.acknowledged(stream, id, count, base);
                self.sequences.insert(stream, next);
            }
            Outcome::Never => self.world.ledger.lock().denied(stream, id, count),
            Outcome::Refused(Refusal::OutOfOrderSequence) if !super::is_durable(stream) => {
                // The shard forgot what it acknowledged from memory: a new instance starts over.
                self.world.ledger.lock().given_up(stream, id, count);
                self.sequences.insert(stream, (epoch + 1, 0));
            }
            Outcome::Refused(refusal) => self.violation(format!("{stream} {id}: refused: {refusal}")),
            Outcome::Unknown => {
                self.world.ledger.lock().given_up(stream, id, count);
                self.sequences.insert(stream, (epoch + 1, 0));
            }
        }
    }

    async fn send_named(&mut self, stream: StreamId) {
        let id = self.numbers(1);
        let size = self.rng.between(8, 300) as usize;
        let bytes = Bytes::from(record::message(id, size));
        let message_id = Some(Bytes::copy_from_slice(&id.to_be_bytes()));
        self.world.ledger.lock().asked(stream, id, 1, false);
        let request = AppendRequest { stream, bytes, message_id, durability: None };
        let (before, again) = (self.latest_time(), request.clone());
        let outcome = self.insist(request).await;
        if !self.is_within_window(before) {
            self.world.ledger.lock().may_repeat(stream, id);
        }
        match outcome {
            Outcome::At(base) => {
                self.acknowledged(stream, id, 1, base);
                if self.rng.percent(30) {
                    self.send_again(stream, id, again, base, before).await;
                }
            }
            Outcome::Never => self.world.ledger.lock().denied(stream, id, 1),
            Outcome::Refused(refusal) => self.violation(format!("{stream} {id}: refused: {refusal}")),
            Outcome::Unknown => {
                let mut ledger = self.world.ledger.lock();
                ledger.given_up(stream, id, 1);
                ledger.may_repeat(stream, id);
            }
        }
    }

    /// A message that is sent although it was acknowledged, as by a client that restarted: it is where it
    /// was.
    async fn send_again(&mut self, stream: StreamId, id: u64, request: AppendRequest, base: u64, before: Option<i64>) {
        let outcome = self.insist(request).await;
        if !self.is_within_window(before) || matches!(outcome, Outcome::Unknown | Outcome::Never) {
            return self.world.ledger.lock().may_repeat(stream, id);
        }
        match outcome {
            Outcome::At(again) if again == base => {}
            Outcome::At(again) => self.violation(format!("{stream} {id}: a duplicate, at {base} and at {again}")),
            _ => self.violation(format!("{stream} {id}: refused when it was sent again")),
        }
    }

    /// Whether an id that was sent at `before` is known for sure: by the shard's own clock, which jumps.
    fn is_within_window(&self, before: Option<i64>) -> bool {
        let took = self.latest_time().zip(before).map(|(after, before)| after - before);
        took.is_some_and(|took| took < self.world.window_millis as i64)
    }

    /// The shard's time in milliseconds, as far as anybody knows.
    fn latest_time(&self) -> Option<i64> {
        let replicas = self.world.replicas.lock();
        replicas.values().map(|shard| shard.machine().time().timestamp().0).max()
    }

    async fn send_and_settle(&mut self, stream: StreamId) {
        if self.rng.percent(60) {
            return self.send_plainly(stream).await;
        }
        let Some((first, last)) = self.world.ledger.lock().acknowledged_span(stream) else { return };
        let from = self.rng.between(first, last);
        let to = (from + self.rng.between(1, 12)).min(last + 1);
        self.world.ledger.lock().may_settle(stream, from..to);
        let Some(shard) = self.somebody() else { return };
        let command = Command::Settle { stream, ranges: vec![(from, to)] };
        match propose(&shard, Request::Command(command)).await {
            Some(Ok(Reply::Done)) => {
                self.note(format_args!("{stream} {from}..{to} is settled"));
                self.world.ledger.lock().settled(stream, from..to);
                self.world.facts.lock().settled += to - from;
            }
            Some(Ok(Reply::Refused(Refusal::OffsetOutOfRange)))
                if self.world.ledger.lock().may_be_gone(stream, from..to) => {}
            Some(Ok(other)) => self.violation(format!("{stream}: settling {from}..{to}: {other:?}")),
            Some(Err(_)) | None => {}
        }
    }

    /// A batch that is repeated until it is answered, or a message that is not.
    async fn send_keyed(&mut self, stream: StreamId) {
        let count = if self.rng.percent(20) { 1 } else { self.rng.between(2, 6) };
        let id = self.numbers(count);
        let millis = EPOCH_MILLIS + now().as_millis() as i64;
        let mut records = Vec::new();
        for nth in 0..count {
            // Some keys change all the time, and some seldom.
            let key = if self.rng.percent(70) { self.rng.below(5) } else { 5 + self.rng.below(30) };
            records.push(Keyed { id: id + nth, key, removes: count > 1 && self.rng.percent(25), millis });
        }
        let size = if self.rng.percent(10) { self.rng.between(300, 1_500) } else { self.rng.between(8, 200) } as usize;
        self.world.ledger.lock().keys.asked(stream, &records, now());
        if count == 1 {
            return self.send_keyed_message(stream, records[0], size).await;
        }
        let (epoch, sequence) = self.sequences.get(&stream).copied().unwrap_or_default();
        let stamp = Stamp { producer: self.number, epoch, sequence };
        let bytes = Bytes::from(keyed::batch(&records, size, stamp));
        match self.insist(AppendRequest { stream, bytes, message_id: None, durability: None }).await {
            Outcome::At(base) => {
                self.keys_acknowledged(stream, &records, base);
                self.sequences.insert(stream, (epoch, sequence + count as i32));
            }
            Outcome::Never => self.world.ledger.lock().keys.denied(stream, &records),
            // The shard forgot what it acknowledged from memory: a new instance starts over.
            Outcome::Refused(Refusal::OutOfOrderSequence) if !super::is_durable(stream) => {
                self.sequences.insert(stream, (epoch + 1, 0));
            }
            Outcome::Refused(refusal) => self.violation(format!("{stream} {id}: refused: {refusal}")),
            Outcome::Unknown => drop(self.sequences.insert(stream, (epoch + 1, 0))),
        }
    }

    async fn send_keyed_message(&mut self, stream: StreamId, record: Keyed, size: usize) {
        let Some(shard) = self.somebody() else {
            return self.world.ledger.lock().keys.denied(stream, &[record]);
        };
        let bytes = Bytes::from(keyed::message(record, size));
        let request = Request::Append(AppendRequest { stream, bytes, message_id: None, durability: None });
        match propose(&shard, request).await {
            Some(Ok(Reply::Appended { base, .. })) => self.keys_acknowledged(stream, &[record], base.0),
            Some(Err(ProposeError::NotLeader(_) | ProposeError::DiskFull | ProposeError::Stopped))
            | Some(Ok(Reply::Refused(_))) => self.world.ledger.lock().keys.denied(stream, &[record]),
            Some(Ok(other)) => self.violation(format!("{stream} {}: appended, and told {other:?}", record.id)),
            Some(Err(ProposeError::Unknown)) | None => {}
        }
    }

    fn keys_acknowledged(&self, stream: StreamId, records: &[Keyed], base: u64) {
        let keys: Vec<_> = records.iter().map(|record| (record.key, record.removes)).collect();
        self.note(format_args!("{stream} {}+{} is at {base}: {keys:?}", records[0].id, records.len()));
        let noted = self.world.ledger.lock().keys_acknowledged(stream, records, base, now());
        if let Err(wrong) = noted {
            self.violation(format!("{stream}: {wrong}"));
        }
        self.world.facts.lock().acknowledged += 1;
    }

    /// Reads a compacted stream from somewhere to its end, on any replica.
    fn read_keys(&mut self, stream: StreamId) {
        let replicas: Vec<(u64, Shard)> = self.world.replicas.lock().iter().map(|(id, s)| (*id, s.clone())).collect();
        let Some((node, shard)) = self.rng.pick(&replicas).filter(|(_, shard)| !shard.is_in_doubt()) else { return };
        let Some(end) = shard.machine().messaging.stream(stream).map(|stream| stream.end.0) else { return };
        let from = if self.rng.percent(40) { 0 } else { self.rng.below(end + 1) };
        let bytes_max = [0, 700, 4096, 1 << 20][self.rng.below(4) as usize];
        let wrong = match reader::read(shard, stream, from, end, bytes_max) {
            Err(Trouble::Refused(_)) => return,
            Err(Trouble::Wrong(wrong)) => Err(wrong),
            Ok(found) => {
                let read = Read { stream, from, end, found: &found.records, at: now() };
                self.world.ledger.lock().read_keys(&read).map(drop)
            }
        };
        self.world.facts.lock().key_reads += 1;
        if let Err(wrong) = wrong {
            self.violation(format!("{stream} read on n{node} from {from} to {end}: {wrong}"));
        }
    }

    /// Asks until there is an answer.
    async fn insist(&mut self, request: AppendRequest) -> Outcome {
        let mut maybe = false;
        for _ in 0..TRIES {
            if let Some(shard) = self.somebody() {
                match propose(&shard, Request::Append(request.clone())).await {
                    Some(Ok(Reply::Appended { base, .. })) => return Outcome::At(base.0),
                    Some(Ok(Reply::Duplicate { base, .. })) => {
                        self.world.facts.lock().recognised += 1;
                        return Outcome::At(base.0);
                    }
                    // An invitation to try again.
                    Some(Ok(Reply::Refused(Refusal::WrongOffset))) => {}
                    Some(Ok(Reply::Refused(refusal))) => return Outcome::Refused(refusal),
                    Some(Ok(other)) => self.violation(format!("an append was told {other:?}")),
                    Some(Err(ProposeError::NotLeader(_) | ProposeError::DiskFull | ProposeError::Stopped)) => {}
                    Some(Err(ProposeError::Unknown)) | None => maybe = true,
                }
            }
            SimRuntime::sleep(Duration::from_millis(150)).await;
        }
        if maybe { Outcome::Unknown } else { Outcome::Never }
    }

    async fn trim(&mut self, stream: StreamId) {
        let Some((start, end)) = self.world.ledger.lock().acknowledged_span(stream) else { return };
        let to = self.rng.between(start.max(end.saturating_sub(400)), end);
        let Some(shard) = self.somebody() else { return };
        self.world.ledger.lock().may_trim(stream, to);
        self.note(format_args!("{stream} trims to {to}"));
        let _ = propose(&shard, Request::Command(Command::Trim { stream, to: Offset(to) })).await;
    }

    /// What any replica shows must be whole, and what stays there.
    fn read(&mut self, stream: StreamId) {
        let replicas: Vec<(u64, Shard)> = self.world.replicas.lock().iter().map(|(id, s)| (*id, s.clone())).collect();
        let Some((node, shard)) = self.rng.pick(&replicas).filter(|(_, shard)| !shard.is_in_doubt()) else { return };
        let Some((start, end)) = shard.machine().messaging.stream(stream).map(|s| (s.start.0, s.end.0)) else { return };
        let from = self.rng.between(start, end.max(start));
        // Reading may fail while the disk does; what it shows may not be wrong.
        let Ok(slices) = shard.journal().read(stream, Offset(from), Offset(end), 4096) else { return };
        self.world.facts.lock().reads += 1;
        if let Err(wrong) = record::take(&slices).and_then(|found| self.check_read(stream, from..end, found)) {
            self.violation(format!("{stream} of {start}..{end} read on n{node} from {from}: {wrong}"));
        }
    }

    /// Compares what was read with what there is: each offset once, in order, and later the same.
    fn check_read(&self, stream: StreamId, asked: Range<u64>, found: record::Found) -> Result<(), String> {
        let mut ledger = self.world.ledger.lock();
        let mut next = asked.start;
        for (offset, id) in found.records.into_iter().filter(|(offset, _)| *offset >= asked.start) {
            if offset < next || offset >= asked.end {
                return Err(format!("@{offset} after {next}"));
            }
            if let Some(missing) = (next..offset).find(|missing| !ledger.may_miss(stream, *missing)) {
                return Err(format!("@{missing} is missing, @{offset} is there"));
            }
            next = offset + 1;
            ledger.read(stream, offset, id, now());
        }
        match asked.clone().find(|offset| !ledger.may_miss(stream, *offset)) {
            Some(missing) if next == asked.start => Err(format!("@{missing} is missing, and all after it")),
            _ => Ok(()),
        }
    }

    fn violation(&self, what: String) {
        self.world.ledger.lock().violation(format!("{:?} c{} {what}", now(), self.number));
    }
}

/// Proposes and waits; `None` when no answer came.
pub(super) async fn propose(shard: &Shard, request: Request) -> Option<Result<Reply, ProposeError>> {
    let (sender, wait) = futures::channel::oneshot::channel();
    let answer = Box::new(move |result| drop(sender.send(result)));
    SimRuntime::timeout(PATIENCE, async {
        shard.propose(request, answer).await;
        wait.await.ok()
    })
    .await
    .ok()
    .flatten()
}
