//! How a shard's decision reaches another shard exactly once.
//!
//! Where a command has consequences elsewhere, its `apply` puts an item into the outbox. Items for a
//! shard are numbered from 1. The leader sends them in that order until the other shard has logged
//! them; that shard's inbox takes each number once and after the one before it; `Delivered` removes
//! items here. Losing a leader, a message or an answer costs another try and nothing else.

use crate::command::Command;
use crate::refusal::Refusal;
use crate::table::Table;
use bytes::Bytes;
use model::wire::Wire;
use model::{ShardId, limit};

/// Items waiting for other shards.
#[derive(Debug)]
pub struct Outbox {
    /// By shard and number; the value is the command's own form.
    pub(crate) items: Table<(ShardId, u64), Bytes>,
    /// The number of each shard's next item.
    pub(crate) next: Table<ShardId, u64>,
}

impl Outbox {
    pub(crate) fn new(items_tag: u8, next_tag: u8) -> Self {
        Outbox { items: Table::new(items_tag), next: Table::new(next_tag) }
    }

    /// Whether `count` more items fit.
    #[must_use]
    pub fn has_room(&self, count: usize) -> bool {
        self.items.len() + count <= limit::OUTBOX_ITEMS_MAX
    }

    /// Adds an item for `to`.
    pub(crate) fn put(&mut self, to: ShardId, command: &Command) {
        self.put_bytes(to, Bytes::from(command.to_wire()));
    }

    /// Adds an item that each of `shards` gets; they share its bytes.
    pub(crate) fn put_for_all(&mut self, shards: &[ShardId], command: &Command) {
        let bytes = Bytes::from(command.to_wire());
        for shard in shards {
            self.put_bytes(*shard, bytes.clone());
        }
    }

    fn put_bytes(&mut self, to: ShardId, command: Bytes) {
        let next = self.next.get_or_insert_with(&to, || 1);
        let number = *next;
        *next += 1;
        self.items.insert((to, number), command);
    }

    /// Removes delivered items.
    pub(crate) fn delivered(&mut self, to: ShardId, numbers: &[u64]) {
        for number in numbers {
            self.items.remove(&(to, *number));
        }
    }

    /// The oldest items for `to`.
    pub fn pending(&self, to: ShardId) -> impl Iterator<Item = (u64, &Bytes)> {
        self.items.range((to, 0)..=(to, u64::MAX)).map(|((_, number), command)| (*number, command))
    }

    /// The shards that items wait for, ascending.
    #[must_use]
    pub fn destinations(&self) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = self.items.iter().map(|((to, _), _)| *to).collect();
        shards.dedup();
        shards
    }
}

/// The last item received of each shard.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) received: Table<ShardId, u64>,
}

impl Inbox {
    pub(crate) fn new(tag: u8) -> Self {
        Inbox { received: Table::new(tag) }
    }

    /// Whether item `number` of `from` is new; notes it.
    ///
    /// # Errors
    /// When the item before it has not been received. The item is not noted then: it comes again.
    pub(crate) fn accept(&mut self, from: ShardId, number: u64) -> Result<bool, Refusal> {
        let last = self.received.get(&from).copied().unwrap_or(0);
        if number <= last {
            return Ok(false);
        }
        if number - 1 > last {
            return Err(Refusal::NotYet);
        }
        self.received.insert(from, number);
        Ok(true)
    }
}
