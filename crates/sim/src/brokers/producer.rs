//! Producers: those that send messages and do not repeat them, and those that number their batches and repeat each
//! until it is answered (KIP-98).
//!
//! Now and then one of these begins anew with its number's next epoch, as after an error (KIP-360), and what is left of
//! its former self goes on sending. That is to be refused wherever the new one has written.

use super::caller::Caller;
use super::logs::Log;
use crate::cluster::client::NUMBERS;
use crate::cluster::record::{self, Stamp};
use crate::time::now;
use broker::request::{AppendPart, Appended};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use model::config::StreamConfig;
use model::{Durability, StreamId, Timestamp};
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a batch is sent, and how long the pause in between is.
const TRIES: usize = 40;
const AGAIN: Duration = Duration::from_millis(150);
/// In how many of a hundred cases it sends the last batch again although that was answered.
const REPEAT_PERCENT: u64 = 10;
/// In how many it begins anew, and in how many its former self sends something.
const RENEW_PERCENT: u64 = 3;
const FORMER_PERCENT: u64 = 10;

/// How a producer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    Numbering,
}

/// See the module's documentation.
pub(super) struct Producer {
    caller: Caller,
    manner: Manner,
    /// Records numbered so far.
    nth: u64,
    /// What it was given to number its batches, and the next number per log.
    id: Option<u64>,
    sequences: BTreeMap<StreamId, i32>,
    /// Which instance of that producer it is, and the next number per log of the one before.
    epoch: i16,
    former: BTreeMap<StreamId, i32>,
    /// The last batch per log, and where it was put.
    last: BTreeMap<StreamId, (Bytes, u64)>,
}

/// How a batch that was repeated until it was answered came out.
enum Outcome {
    At(u64),
    Refused(BrokerError),
    /// It was never appended.
    Never,
    Unknown,
}

/// Whether an error says that nothing was appended, and that another try may help.
fn is_an_invitation(error: &BrokerError) -> bool {
    use BrokerError::{DiskFull, NotLeader, Unavailable, UnknownPartition, UnknownTopic};
    // A topic that is not known is known later: no client writes to one before it is made.
    matches!(error, NotLeader(_) | DiskFull | Unavailable | UnknownTopic | UnknownPartition)
}

/// The records are written and read by hand, so nobody looks into them.
#[allow(clippy::unnecessary_wraps, reason = "the shape that the broker asks for")]
fn take_as_it_is(bytes: &Bytes, _: &StreamConfig, _: Timestamp, _: usize) -> Result<Option<Bytes>, BrokerError> {
    Ok(Some(bytes.clone()))
}

impl Producer {
    pub(super) fn new(caller: Caller, manner: Manner) -> Self {
        Producer {
            caller,
            manner,
            nth: 0,
            id: None,
            sequences: BTreeMap::new(),
            epoch: 0,
            former: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            let logs = self.caller.scene.logs.lock().of(self.manner as usize);
            let Some(log) = self.caller.rng.pick(&logs).cloned() else { continue };
            match self.manner {
                Manner::Plain => self.send_plainly(&log).await,
                Manner::Numbering => self.send_numbered(&log).await,
            }
        }
    }

    /// Numbers for `count` records.
    fn numbers(&mut self, count: u64) -> u64 {
        let id = self.caller.number * NUMBERS + self.nth;
        self.nth += count;
        id
    }

    /// `count` records from `id` on, which were asked for at `asked`, are at `base`.
    fn acknowledged(&self, log: &Log, (id, count): (u64, u64), base: u64, asked: Duration) {
        self.caller.note(format_args!("{} {id}+{count} is at {base}", log.key));
        let outcome = self.caller.scene.book.lock().acknowledged(log.key, (id, count), base, asked, now());
        self.caller.scene.facts.lock().acknowledged += 1;
        if let Err(wrong) = outcome {
            self.caller.violation(format!("{} {wrong}", log.key));
        }
    }

    fn given_up(&self, log: &Log, id: u64, count: u64) {
        self.caller.scene.book.lock().records.given_up(log.key, id, count);
    }

    fn denied(&self, log: &Log, id: u64, count: u64) {
        self.caller.scene.book.lock().records.denied(log.key, id, count);
    }

    /// Some messages in one request.
    async fn send_plainly(&mut self, log: &Log) {
        let Some(door) = self.caller.leader(log).await else { return };
        let rng = &mut self.caller.rng;
        let count = if rng.percent(20) { rng.between(2, 4) } else { 1 };
        let from_memory = rng.percent(10);
        let sizes: Vec<usize> = (0..count).map(|_| rng.between(8, 900) as usize).collect();
        let first = self.numbers(count);
        self.caller.scene.book.lock().records.asked(log.key, first, count, from_memory);
        let part = |(id, size)| AppendPart {
            to: log.partition.clone(),
            bytes: Bytes::from(record::message(id, size)),
            durability: from_memory.then_some(Durability::QuorumMemory),
            inspect: take_as_it_is,
        };
        let (parts, asked) = ((first..).zip(sizes).map(part).collect(), now());
        let Some(Reply::Appended(answers)) = door.ask(Request::Append(parts)).await else {
            self.caller.forget(log);
            return self.given_up(log, first, count);
        };
        for (id, answer) in (first..).zip(answers) {
            match answer {
                Ok(Appended { base, duplicate: false, .. }) => self.acknowledged(log, (id, 1), base.0, asked),
                Ok(appended) => self.caller.violation(format!("{} {id}: told {appended:?}", log.key)),
                // Not proposed, or refused: it must never be seen.
                Err(refused) if is_an_invitation(&refused.error) => {
                    self.caller.heed(log, &refused.error);
                    self.denied(log, id, 1);
                }
                Err(refused) if refused.error == BrokerError::Unknown => self.given_up(log, id, 1),
                Err(refused) => self.caller.violation(format!("{} {id}: {}", log.key, refused.error)),
            }
        }
    }

    async fn send_numbered(&mut self, log: &Log) {
        let Some(producer) = self.identify().await else { return };
        if self.caller.rng.percent(REPEAT_PERCENT)
            && let Some((bytes, base)) = self.last.get(&log.key).cloned()
        {
            return self.repeat(log, bytes, base).await;
        }
        if self.caller.rng.percent(RENEW_PERCENT) {
            self.renew();
        }
        // Only where the new one has written, it is known that there is one.
        if self.caller.rng.percent(FORMER_PERCENT)
            && self.sequences.contains_key(&log.key)
            && let Some(sequence) = self.former.get(&log.key).copied()
        {
            return self.send_as_former(log, Stamp { producer, epoch: self.epoch - 1, sequence }).await;
        }
        let sequence = self.sequences.get(&log.key).copied().unwrap_or_default();
        let (id, count, bytes) = self.batch(log, Stamp { producer, epoch: self.epoch, sequence });
        let asked = now();
        match self.insist(log, bytes.clone()).await {
            Outcome::At(base) => {
                self.last.insert(log.key, (bytes, base));
                self.acknowledged(log, (id, count), base, asked);
                self.sequences.insert(log.key, sequence + count as i32);
            }
            Outcome::Never => self.denied(log, id, count),
            Outcome::Refused(error) => self.caller.violation(format!("{} {id}: {error}", log.key)),
            Outcome::Unknown => {
                // What comes after it cannot be numbered any more.
                self.given_up(log, id, count);
                self.id = None;
            }
        }
    }

    /// A new batch of some records, the first of which has the number `id`.
    fn batch(&mut self, log: &Log, stamp: Stamp) -> (u64, u64, Bytes) {
        let count = self.caller.rng.between(1, 6);
        let id = self.numbers(count);
        let size = self.caller.rng.between(8, 1_500) as usize;
        self.caller.scene.book.lock().records.asked(log.key, id, count, false);
        (id, count, Bytes::from(record::batch(id, count as u32, size, stamp)))
    }

    /// Begins anew with the next epoch.
    fn renew(&mut self) {
        self.epoch += 1;
        self.former = std::mem::take(&mut self.sequences);
        self.last.clear();
    }

    /// What comes next of the instance before sends it, although this one has written to the log.
    async fn send_as_former(&mut self, log: &Log, stamp: Stamp) {
        let (id, count, bytes) = self.batch(log, stamp);
        match self.insist(log, bytes).await {
            Outcome::Refused(BrokerError::FencedProducer) => {
                self.caller.scene.facts.lock().producers_fenced += 1;
                self.denied(log, id, count);
            }
            Outcome::Never => self.denied(log, id, count),
            Outcome::Unknown => self.given_up(log, id, count),
            Outcome::At(base) => {
                let Stamp { producer, epoch, .. } = stamp;
                self.caller.violation(format!(
                    "{} {id}: is at {base}, from epoch {epoch} of producer {producer}, which is in {} there",
                    log.key, self.epoch
                ));
            }
            Outcome::Refused(error) => self.caller.violation(format!("{} {id}: {error}", log.key)),
        }
    }

    /// Sends a batch again that was put at `base`, as a client does that has missed the answer.
    async fn repeat(&mut self, log: &Log, bytes: Bytes, base: u64) {
        match self.insist(log, bytes).await {
            Outcome::At(again) if again != base => {
                self.caller
                    .violation(format!("duplicate: a batch of {} was put at {base}, and again at {again}", log.key));
            }
            Outcome::Refused(error) => {
                self.caller.violation(format!("{}: a batch that was put at {base} is refused: {error}", log.key));
            }
            Outcome::At(_) | Outcome::Never | Outcome::Unknown => {}
        }
    }

    /// The number this producer was given, or a new one.
    async fn identify(&mut self) -> Option<u64> {
        if self.id.is_none() {
            let door = self.caller.anybody()?;
            let Some(Reply::NewProducer(Ok(id))) = door.ask(Request::NewProducer).await else { return None };
            self.caller.note(format_args!("is producer {} by {}", id.0, door.node));
            self.caller.scene.facts.lock().producers += 1;
            let outcome = self.caller.scene.book.lock().ids.producer(id.0);
            if let Err(wrong) = outcome {
                self.caller.violation(wrong);
            }
            self.sequences.clear();
            self.former.clear();
            self.last.clear();
            self.epoch = 0;
            self.id = Some(id.0);
        }
        self.id
    }

    /// Sends a batch until there is an answer.
    async fn insist(&mut self, log: &Log, bytes: Bytes) -> Outcome {
        let mut maybe = false;
        for _ in 0..TRIES {
            if let Some(door) = self.caller.leader(log).await {
                let (to, bytes) = (log.partition.clone(), bytes.clone());
                let part = AppendPart { to, bytes, durability: None, inspect: take_as_it_is };
                let answer = match door.ask(Request::Append(vec![part])).await {
                    Some(Reply::Appended(answers)) => answers.into_iter().next(),
                    _ => None,
                };
                match answer {
                    Some(Ok(appended)) => {
                        self.caller.scene.facts.lock().recognised += u64::from(appended.duplicate);
                        return Outcome::At(appended.base.0);
                    }
                    Some(Err(refused)) if is_an_invitation(&refused.error) => {
                        self.caller.heed(log, &refused.error);
                    }
                    Some(Err(refused)) if refused.error != BrokerError::Unknown => {
                        return Outcome::Refused(refused.error);
                    }
                    Some(Err(_)) => maybe = true,
                    None => {
                        self.caller.forget(log);
                        maybe = true;
                    }
                }
            }
            SimRuntime::sleep(AGAIN).await;
        }
        if maybe { Outcome::Unknown } else { Outcome::Never }
    }
}
