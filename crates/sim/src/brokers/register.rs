//! Registers: each is a position of a group without members, which several clients write and read at the same time, a
//! few times, before they go on to the next one. A history of so few operations can be judged whole.

use super::caller::{Caller, Door};
use super::coordinator::Coordinator;
use super::history::{Act, OPERATIONS_MAX};
use crate::time::now;
use broker::request::{NewOffset, OffsetCommit, OffsetFetch, PartitionRef, TopicRef};
use broker::{Reply, Request};
use model::Offset;

/// So that what is read says who wrote it.
const WRITES: u64 = 1_000_000;

/// See the module's documentation.
pub(super) struct Register {
    caller: Caller,
    /// Which register it is now.
    nth: u64,
    coordinator: Coordinator,
    writes: u64,
    /// Over which log; of no matter, as long as it is the same for all.
    partition: PartitionRef,
}

fn name(nth: u64) -> String {
    format!("r{nth}")
}

impl Register {
    pub(super) fn new(caller: Caller, topic: &str) -> Self {
        let partition = PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition: 0 };
        Register { caller, nth: 0, coordinator: Coordinator::of(&name(0)), writes: 0, partition }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            while self.caller.scene.book.lock().histories.length(&name(self.nth)) >= OPERATIONS_MAX {
                self.nth += 1;
                self.coordinator = Coordinator::of(&name(self.nth));
            }
            let Some(door) = self.coordinator.door(&mut self.caller) else { continue };
            if self.caller.rng.percent(50) {
                self.write(&door).await;
            } else {
                self.read(&door).await;
            }
        }
    }

    fn ask(&self, act: Act) -> usize {
        self.caller.scene.book.lock().histories.ask(&name(self.nth), act, now())
    }

    fn answer(&self, nth: usize, act: Act) {
        self.caller.note(format_args!("{}: {act:?}", name(self.nth)));
        self.caller.scene.book.lock().histories.answer(&name(self.nth), nth, act, now());
    }

    async fn write(&mut self, door: &Door) {
        self.writes += 1;
        let value = self.caller.number * WRITES + self.writes;
        let nth = self.ask(Act::Write(value));
        let new = NewOffset {
            partition: self.partition.clone(),
            offset: Offset(value),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let (group, member) = (name(self.nth), String::new());
        let commit = OffsetCommit { group, member, instance: None, generation: -1, offsets: vec![new] };
        let answer = match door.ask(Request::CommitOffsets(commit)).await {
            Some(Reply::OffsetsCommitted(committed)) => committed.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(())) => self.answer(nth, Act::Write(value)),
            // It may have been done, and may yet be.
            Some(Err(error)) => self.coordinator.heed(&error),
            None => self.coordinator.forget(),
        }
    }

    async fn read(&mut self, door: &Door) {
        let nth = self.ask(Act::Read(None));
        let fetch = OffsetFetch { group: name(self.nth), partitions: Some(vec![self.partition.clone()]) };
        let answer = match door.ask(Request::FetchOffsets(vec![fetch])).await {
            Some(Reply::OffsetsFetched(fetched)) => fetched.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(fetched)) => {
                if let Some(fetched) = fetched.into_iter().next().filter(|fetched| fetched.known) {
                    self.answer(nth, Act::Read(fetched.committed.map(|committed| committed.offset.0)));
                }
            }
            Some(Err(error)) => self.coordinator.heed(&error),
            None => self.coordinator.forget(),
        }
    }
}
