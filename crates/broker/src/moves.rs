//! Moving partitions from shard to shard.

use crate::broker::Broker;
use crate::request::{BrokerError, PartitionRef};
use machine::{Command, Refusal, Reply as MachineReply};
use model::ShardId;
use std::time::Duration;

/// How long whoever has a partition moved waits until it is there.
const PATIENCE: Duration = Duration::from_secs(10);

impl Broker {
    /// Has a partition go on in another shard, and waits until it does. Its records stay where they are until they
    /// expire or are trimmed.
    ///
    /// # Errors
    /// `UnknownShard`; `Moving` while it goes to yet another one, or has older records in one; `Unknown` when it is
    /// not there in time: it will be.
    pub async fn move_partition(&self, partition: &PartitionRef, to: ShardId) -> Result<(), BrokerError> {
        let inner = &self.inner;
        let (_, id) = inner.resolve_with(partition, |id, _| id)?;
        let command = Command::MoveStream { id, partition: partition.partition, to };
        match inner.catalog_command(command).await? {
            // Not every node knows how yet.
            MachineReply::Refused(Refusal::TooNew) => return Err(BrokerError::Unavailable),
            MachineReply::Refused(refusal) => return Err(refusal.into()),
            _ => {}
        }
        let deadline = inner.world.now() + PATIENCE;
        loop {
            let changed = inner.changes.streams.notified();
            if inner.resolve(partition)?.shard == to {
                return Ok(());
            }
            if inner.world.timeout_at(deadline, changed).await.is_none() {
                return Err(BrokerError::Unknown);
            }
        }
    }
}
