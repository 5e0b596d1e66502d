//! Delivers outbox items to their shards, for every shard this node leads.

use crate::broker::Inner;
use futures::channel::oneshot;
use machine::{Command, Refusal, Reply};
use model::ShardId;
use shard::{ProposeError, Request, Role, Shard};
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
        // In order, as the target takes them, and without waiting for one before the next is sent.
        let mut sent = Vec::with_capacity(items.len());
        for (item, command) in items {
            sent.push((item, send(target, Command::Deliver { from: from.id(), item, command }).await));
        }
        let mut logged = Vec::with_capacity(sent.len());
        for (item, answer) in sent {
            if is_logged(item, answer.await.unwrap_or(Err(ProposeError::Unknown)), from.id(), to) {
                logged.push(item);
            }
        }
        if !logged.is_empty() {
            progress |= from.command(Command::Delivered { to, items: logged }).await.is_ok();
        }
    }
    progress
}

type Answer = Result<Reply, ProposeError>;

/// Puts a command into the target's queue.
async fn send(target: &Shard, command: Command) -> oneshot::Receiver<Answer> {
    let (answer, wait) = oneshot::channel();
    let answer = Box::new(move |outcome| drop(answer.send(outcome)));
    target.propose(Request::Command(command), answer).await;
    wait
}

/// Whether the target has logged the item: then it is not sent again.
fn is_logged(item: u64, answer: Answer, from: ShardId, to: ShardId) -> bool {
    match answer {
        // One before it is not there, so this one did not count: both are sent again.
        Ok(Reply::Refused(Refusal::NotYet)) | Err(_) => false,
        Ok(Reply::Refused(refusal)) => {
            // Deterministic: another try would end the same way.
            tracing::warn!(%from, %to, item, %refusal, "an outbox item was refused");
            true
        }
        Ok(_) => true,
    }
}
