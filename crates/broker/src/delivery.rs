//! Delivers outbox items to their shards, for every shard this node leads.

use crate::broker::Inner;
use machine::Command;
use model::ShardId;
use shard::{Role, Shard};
use std::sync::Weak;
use std::time::Duration;

/// Items sent before their delivery is logged.
const BATCH: usize = 256;
/// Looked again after this even when nobody rang.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(broker: Weak<Inner>) {
    loop {
        let Some(inner) = broker.upgrade() else { return };
        for shard in inner.shards.values() {
            if shard.role() == Role::Leader {
                while deliver(&inner, shard).await {}
            }
        }
        let changes = inner.changes.clone();
        drop(inner);
        let _ = tokio::time::timeout(INTERVAL, changes.outbox.notified()).await;
    }
}

/// Delivers some of what waits. Returns whether there may be more that can be delivered now.
async fn deliver(inner: &Inner, from: &Shard) -> bool {
    let destinations = from.machine().outbox.destinations();
    let mut progress = false;
    for to in destinations {
        let Some(target) = inner.shards.get(&to) else { continue };
        let items: Vec<(u64, bytes::Bytes)> = {
            let machine = from.machine();
            machine.outbox.pending(to).take(BATCH).map(|(item, command)| (item, command.clone())).collect()
        };
        let sent = items.into_iter().map(|(item, command)| send(target, from.id(), item, command));
        let logged: Vec<u64> = futures::future::join_all(sent).await.into_iter().flatten().collect();
        if !logged.is_empty() {
            progress |= from.command(Command::Delivered { to, items: logged }).await.is_ok();
        }
    }
    progress
}

/// Returns the item's number once the target has logged it.
async fn send(target: &Shard, from: ShardId, item: u64, command: bytes::Bytes) -> Option<u64> {
    match target.command(Command::Deliver { from, item, command }).await {
        Ok(machine::Reply::Refused(refusal)) => {
            // Deterministic: another try would end the same way.
            tracing::warn!(%from, to = %target.id(), item, %refusal, "an outbox item was refused");
            Some(item)
        }
        Ok(_) => Some(item),
        Err(_) => None,
    }
}
