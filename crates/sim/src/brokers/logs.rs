//! The logs that clients write to and read: partitions of topics that stay, and of which there are more with time.

use broker::request::{PartitionRef, TopicRef};
use model::StreamId;

/// Topics that stay. To the first producers write plainly, to the second those that number their batches.
pub(super) const TOPICS: [&str; 2] = ["plain", "numbered"];
/// How many partitions they have in the beginning, and at most.
pub(super) const PARTITIONS: (u32, u32) = (2, 5);
/// So that no two logs have one key.
const KEYS: u64 = 100;

/// A log that clients know.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// What the checkers call it.
    pub(super) key: StreamId,
    /// Which of [`TOPICS`] it is a partition of.
    pub(super) topic: usize,
    pub(super) partition: PartitionRef,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Logs(Vec<Log>);

impl Logs {
    /// A topic has so many partitions: returns the logs that are new.
    pub(super) fn grow(&mut self, topic: usize, partitions: u32) -> Vec<Log> {
        let known = self.of(topic).len() as u32;
        let log = |partition| Log {
            key: StreamId(topic as u64 * KEYS + u64::from(partition)),
            topic,
            partition: PartitionRef { topic: TopicRef::Name(TOPICS[topic].to_owned()), partition },
        };
        let new: Vec<Log> = (known..partitions.max(known)).map(log).collect();
        self.0.extend(new.iter().cloned());
        new
    }

    /// Those of a topic.
    pub(super) fn of(&self, topic: usize) -> Vec<Log> {
        self.0.iter().filter(|log| log.topic == topic).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Log> {
        self.0.clone()
    }
}
