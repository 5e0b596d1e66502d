//! Consumer groups: each commits positions that only grow, and reads them back.

use super::caller::{Caller, Door};
use super::coordinator::Coordinator;
use super::logs::Log;
use broker::request::{NewOffset, OffsetCommit, OffsetFetch};
use broker::{Reply, Request};
use model::Offset;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::time::Duration;

/// How often a position is asked for in the end, and how long the pause in between is.
const TRIES: usize = 40;
const AGAIN: Duration = Duration::from_millis(100);

/// See the module's documentation.
pub(super) struct Group {
    caller: Caller,
    name: String,
    coordinator: Coordinator,
}

impl Group {
    pub(super) fn new(caller: Caller) -> Self {
        let name = format!("g{}", caller.number);
        Group::named(caller, name)
    }

    /// The client of a group of any name.
    pub(super) fn named(caller: Caller, name: String) -> Self {
        Group { caller, coordinator: Coordinator::of(&name), name }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            let logs = self.caller.scene.logs.lock().all();
            let Some(log) = self.caller.rng.pick(&logs).cloned() else { continue };
            let Some(door) = self.coordinator.door(&mut self.caller) else { continue };
            if self.caller.rng.percent(60) {
                self.commit(&log, &door).await;
            } else {
                let _ = self.read_back(&log, &door).await;
            }
        }
    }

    /// Reads all positions back, each until there is an answer.
    pub(super) async fn check(mut self) {
        let logs = self.caller.scene.logs.lock().all();
        for log in logs {
            for _ in 0..TRIES {
                if let Some(door) = self.coordinator.door(&mut self.caller)
                    && self.read_back(&log, &door).await
                {
                    break;
                }
                SimRuntime::sleep(AGAIN).await;
            }
        }
    }

    async fn commit(&mut self, log: &Log, door: &Door) {
        let step = self.caller.rng.between(1, 20);
        let offset = {
            let mut book = self.caller.scene.book.lock();
            let offset = book.positions.furthest(&self.name, log.key) + step;
            book.positions.asked(&self.name, log.key, offset);
            offset
        };
        let (partition, metadata) = (log.partition.clone(), String::new());
        let new = NewOffset { partition, offset: Offset(offset), leader_epoch: -1, metadata };
        let (group, member) = (self.name.clone(), String::new());
        let commit = OffsetCommit { group, member, instance: None, generation: -1, offsets: vec![new] };
        let answer = match door.ask(Request::CommitOffsets(commit)).await {
            Some(Reply::OffsetsCommitted(committed)) => committed.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(())) => {
                self.caller.note(format_args!("{} is at {offset} of {} by {}", self.name, log.key, door.node));
                self.caller.scene.book.lock().positions.committed(&self.name, log.key, offset);
                self.caller.scene.facts.lock().commits += 1;
            }
            Some(Err(error)) => self.coordinator.heed(&error),
            None => self.coordinator.forget(),
        }
    }

    /// Returns whether there was an answer.
    async fn read_back(&mut self, log: &Log, door: &Door) -> bool {
        let (group, partitions) = (self.name.clone(), Some(vec![log.partition.clone()]));
        let fetch = OffsetFetch { group, partitions };
        let answer = match door.ask(Request::FetchOffsets(vec![fetch])).await {
            Some(Reply::OffsetsFetched(fetched)) => fetched.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(fetched)) => {
                let Some(fetched) = fetched.into_iter().next().filter(|fetched| fetched.known) else {
                    // Its catalog does not know the topic yet.
                    return false;
                };
                let offset = fetched.committed.map(|committed| committed.offset.0);
                self.caller.scene.facts.lock().positions += 1;
                let outcome = self.caller.scene.book.lock().positions.read(&self.name, log.key, offset);
                if let Err(wrong) = outcome {
                    self.caller.violation(format!("by {}: {wrong}", door.node));
                }
                return true;
            }
            Some(Err(error)) => self.coordinator.heed(&error),
            None => self.coordinator.forget(),
        }
        false
    }
}
