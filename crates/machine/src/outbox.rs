//! How a shard's decision reaches another shard exactly once.
//!
//! Where a command has consequences elsewhere, its `apply` puts an item into the outbox. The leader
//! sends items, oldest first, until the other shard has logged them; that shard's inbox drops the
//! repeated ones; `Delivered` removes them here. Losing a leader, a message or an answer costs
//! another try and nothing else.

use crate::command::Command;
use crate::reply::Refusal;
use crate::table::Table;
use bytes::Bytes;
use model::wire::Wire;
use model::{IntervalSet, ShardId, limit};

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
    pub(crate) fn put(&mut self, to: ShardId, command: &Command) -> u64 {
        let next = self.next.get_or_insert_with(&to, || 1);
        let number = *next;
        *next += 1;
        self.items.insert((to, number), Bytes::from(command.to_wire()));
        number
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

/// Numbers of items received, by the shard they came from.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) received: Table<ShardId, IntervalSet>,
}

impl Inbox {
    pub(crate) fn new(tag: u8) -> Self {
        Inbox { received: Table::new(tag) }
    }

    /// Whether item `number` of `from` is new; notes it.
    pub(crate) fn accept(&mut self, from: ShardId, number: u64) -> Result<bool, Refusal> {
        let received = self.received.get_or_insert_with(&from, || {
            // Numbers start at 1, so everything received in order is one interval.
            let mut set = IntervalSet::new();
            set.insert(0..1);
            set
        });
        if received.contains(number) {
            return Ok(false);
        }
        if received.intervals() > limit::INBOX_GAPS_MAX {
            return Err(Refusal::LimitReached("inbox gaps"));
        }
        received.insert(number..number + 1);
        Ok(true)
    }
}
