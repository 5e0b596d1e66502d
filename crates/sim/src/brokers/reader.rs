//! Consumers: they read logs from the start in order, ask where logs end, and compare what they see.

use super::caller::{Caller, Door};
use super::logs::Log;
use crate::cluster::record;
use crate::time::now;
use broker::request::{FoundOffset, OffsetQuery, OffsetSpec, ReadPart, ReadQuery, ReadRange, Search};
use broker::{BrokerError, Chunk, Reply, Request, Slice};
use bytes::Bytes;
use model::{Offset, StreamId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a consumer is in a log.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The next offset.
    next: u64,
    /// When it came there.
    since: Duration,
}

/// See the module's documentation.
pub(super) struct Reader {
    caller: Caller,
    places: BTreeMap<StreamId, Place>,
}

/// Nobody looks for times here.
fn find_nothing(_: &Bytes, _: Timestamp, _: usize) -> Search {
    Search::Nothing
}

/// Asks where a log starts, and judges the answer.
pub(super) async fn ask_for_start(caller: &mut Caller, log: &Log, door: &Door) -> Option<u64> {
    let asked = now();
    let (partition, which) = (log.partition.clone(), OffsetSpec::Earliest);
    let query = OffsetQuery { partition, which, find: find_nothing, epoch: None };
    let Some(Reply::Offsets(found)) = door.ask(Request::Offsets(vec![query])).await else {
        caller.forget(log);
        return None;
    };
    match found.into_iter().next() {
        Some(Ok(FoundOffset { offset: Some(start), .. })) => {
            let outcome = caller.scene.book.lock().starts(log.key, start.0, asked, now());
            if let Err(wrong) = outcome {
                caller.violation(format!("{} by {}: {wrong}", log.key, door.node));
            }
            return Some(start.0);
        }
        Some(Err(error)) => caller.heed(log, &error),
        Some(Ok(_)) | None => caller.violation(format!("{}: no start by {}", log.key, door.node)),
    }
    None
}

impl Reader {
    pub(super) fn new(caller: Caller) -> Self {
        Reader { caller, places: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            let logs = self.caller.scene.logs.lock().all();
            let Some(log) = self.caller.rng.pick(&logs).cloned() else { continue };
            let Some(door) = self.caller.leader(&log).await else { continue };
            match self.caller.rng.below(10) {
                0 => drop(self.places.remove(&log.key)),
                1..=3 => self.ask_for_end(&log, &door).await,
                4 | 5 => {
                    if let Some(door) = self.caller.anybody() {
                        self.read(&log, &door, true).await;
                    }
                }
                _ => self.read(&log, &door, false).await,
            }
        }
    }

    async fn ask_for_end(&mut self, log: &Log, door: &Door) {
        let asked = now();
        let (partition, which) = (log.partition.clone(), OffsetSpec::Latest);
        let query = OffsetQuery { partition, which, find: find_nothing, epoch: None };
        let answer = match door.ask(Request::Offsets(vec![query])).await {
            Some(Reply::Offsets(found)) => found.into_iter().next(),
            _ => return self.caller.forget(log),
        };
        match answer {
            Some(Ok(FoundOffset { offset: Some(end), .. })) => {
                self.caller.scene.facts.lock().ends += 1;
                let outcome = self.caller.scene.book.lock().ends(log.key, end.0, asked, now());
                if let Err(wrong) = outcome {
                    self.caller.violation(format!("{} by {}: {wrong}", log.key, door.node));
                }
            }
            Some(Err(error)) => self.caller.heed(log, &error),
            Some(Ok(_)) | None => self.caller.violation(format!("{}: no end by {}", log.key, door.node)),
        }
    }

    /// Asks where a log starts, to go on from there.
    async fn go_to_start(&mut self, log: &Log, door: &Door) {
        if let Some(start) = ask_for_start(&mut self.caller, log, door).await {
            self.places.insert(log.key, Place { next: start, since: now() });
        }
    }

    async fn read(&mut self, log: &Log, door: &Door, any_replica: bool) {
        let place = self.places.get(&log.key).copied().unwrap_or_default();
        let rng = &mut self.caller.rng;
        let max_bytes = [1, 700, 4 << 10, 64 << 10][rng.below(4) as usize];
        let max_wait = Duration::from_millis([0, 20, 500][rng.below(3) as usize]);
        let (from, offset) = (log.partition.clone(), Offset(place.next));
        let range = ReadRange { from, offset, max_bytes, epoch: None, last_epoch: None };
        let parts = vec![range];
        let query = ReadQuery { parts, min_bytes: 1, max_wait, max_bytes, in_files: false, any_replica };
        let answer = match door.ask(Request::Read(query)).await {
            Some(Reply::Read { parts, .. }) => parts.into_iter().next(),
            _ => return self.caller.forget(log),
        };
        match answer {
            Some(Ok(part)) => self.judge(log, door, place, &part),
            Some(Err(BrokerError::OffsetOutOfRange)) => {
                self.places.remove(&log.key);
                let (is_trimmed, may_be_gone) = {
                    let records = &self.caller.scene.book.lock().records;
                    (place.next < records.trimmed_to(log.key), records.losses.may_lose(place.since))
                };
                if is_trimmed {
                    self.go_to_start(log, door).await;
                } else if !may_be_gone {
                    let what = format!("{} by {}: nothing is at {}", log.key, door.node, place.next);
                    self.caller.violation(what);
                }
            }
            // A replica that does not lead, and has less than others.
            Some(Err(BrokerError::OffsetNotAvailable)) if any_replica => {}
            Some(Err(error)) => self.caller.heed(log, &error),
            None => self.caller.violation(format!("{}: no answer by {}", log.key, door.node)),
        }
    }

    /// Compares what was read with what is known: each offset once, in order, and later the same.
    fn judge(&mut self, log: &Log, door: &Door, place: Place, part: &ReadPart) {
        self.caller.scene.facts.lock().reads += 1;
        let next = match self.take(log, place.next, part) {
            Ok(next) => next,
            Err(wrong) => {
                let what = format!("{} by {} from {}: {wrong}", log.key, door.node, place.next);
                return self.caller.violation(what);
            }
        };
        if next > place.next {
            self.places.insert(log.key, Place { next, since: now() });
        }
    }

    fn take(&self, log: &Log, from: u64, part: &ReadPart) -> Result<u64, String> {
        let slices = part.chunks.iter().map(|chunk| match chunk {
            Chunk::Slice(slice) => Ok(slice.clone()),
            Chunk::File { .. } => Err("a part of a file, and nobody asked for one".to_owned()),
        });
        let slices = slices.collect::<Result<Vec<Slice>, String>>()?;
        let found = record::take(&slices)?;
        let mut book = self.caller.scene.book.lock();
        book.may_start(log.key, part.start.0)?;
        let trimmed_to = book.records.trimmed_to(log.key);
        let (mut next, at) = (from, now());
        for (offset, id) in found.records.into_iter().filter(|(offset, _)| *offset >= from) {
            // A replica that has just installed a snapshot may not know yet that the log was trimmed, and the
            // snapshot's files may.
            if offset < next || offset > next.max(trimmed_to) {
                return Err(format!("@{offset} after {next}"));
            }
            next = offset;
            if offset >= part.end.0 {
                return Err(format!("@{offset}, and the log ends at {}", part.end.0));
            }
            book.records.read(log.key, offset, id, at);
            next += 1;
        }
        if next == from && from < part.end.0 && !part.chunks.is_empty() {
            return Err("pieces that have nothing of what was asked for".to_owned());
        }
        Ok(next)
    }
}
