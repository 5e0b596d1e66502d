//! Delivers outbox items to their shards, for every shard this node leads.

use crate::broker::Inner;
use crate::cluster::call::{NodeAnswer, NodeCall};
use crate::cluster::leaders::Asked;
use crate::cluster::network::Network;
use bytes::Bytes;
use futures::channel::oneshot;
use machine::{Command, Refusal, Reply};
use model::{ShardId, limit};
use parking_lot::Mutex;
use shard::{ProposeError, Request, Shard};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Items sent before their delivery is logged.
const BATCH: usize = 256;
/// Looked again after this even when nobody rang.
const INTERVAL: Duration = Duration::from_secs(1);
/// What could not be delivered is not tried again sooner, whoever looks for it: two destinations that both refuse would
/// otherwise have each other looked for without end.
const AGAIN: Duration = Duration::from_millis(20);
/// How long another node may take to log a batch.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which shard's items are being delivered to which, and whether somebody has looked for more of them meanwhile.
type UnderWay = Arc<Mutex<BTreeMap<(ShardId, ShardId), bool>>>;

/// One that is: until it is dropped, come what may.
struct Turn {
    broker: Weak<Inner>,
    under_way: UnderWay,
    between: (ShardId, ShardId),
    /// Whether something was delivered.
    some: bool,
}

impl Turn {
    /// Nothing if it is another's.
    fn take(broker: &Weak<Inner>, under_way: &UnderWay, between: (ShardId, ShardId)) -> Option<Self> {
        if let Some(looked_for) = under_way.lock().get_mut(&between) {
            *looked_for = true;
            return None;
        }
        under_way.lock().insert(between, false);
        Some(Turn { broker: broker.clone(), under_way: under_way.clone(), between, some: false })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let looked_for = self.under_way.lock().remove(&self.between).unwrap_or_default();
        if (looked_for || self.some)
            && let Some(inner) = self.broker.upgrade()
        {
            // What has come meanwhile was passed over, and who takes it may be another by now.
            inner.changes.outbox.notify_one();
        }
    }
}

/// Delivers each shard's items to each of its destinations by themselves: nobody waits for items of others that a node
/// does not take.
pub(crate) async fn run(broker: Weak<Inner>) {
    let under_way = UnderWay::default();
    loop {
        let Some(inner) = broker.upgrade() else { return };
        for from in inner.shards.all().into_iter().filter(|shard| shard.leading().is_ok()) {
            let destinations = from.machine().outbox.destinations();
            for to in destinations {
                if let Some(turn) = Turn::take(&broker, &under_way, (from.id(), to)) {
                    inner.world.spawn(deliver(turn, from.clone()));
                }
            }
        }
        let (changes, world) = (inner.changes.clone(), inner.world.clone());
        drop(inner);
        let _ = world.timeout(INTERVAL, changes.outbox.notified()).await;
    }
}

/// Delivers what waits for one shard, until there is no more or no more can be delivered now.
async fn deliver(mut turn: Turn, from: Shard) {
    while let Some(inner) = turn.broker.upgrade() {
        match deliver_to(&inner, &from, turn.between.1).await {
            Tried::Delivered => turn.some = true,
            Tried::Nothing => return,
            Tried::Failed => {
                let world = inner.world.clone();
                drop(inner);
                return world.sleep(AGAIN).await;
            }
        }
    }
}

/// What came of a try to deliver.
enum Tried {
    /// There may be more that can be delivered now.
    Delivered,
    /// Nothing waits.
    Nothing,
    /// Nothing can be delivered now.
    Failed,
}

/// Delivers some of what waits.
async fn deliver_to(inner: &Inner, from: &Shard, to: ShardId) -> Tried {
    let items = pending(from, to);
    if items.is_empty() {
        return Tried::Nothing;
    }
    let logged = match inner.shards.get(to) {
        Some(target) if target.leading().is_ok() => log(&target, from.id(), items).await,
        _ => match &inner.network {
            Some(network) => log_elsewhere(inner, &**network, from.id(), to, items).await,
            None => Vec::new(),
        },
    };
    if !logged.is_empty() && from.command(Command::Delivered { to, items: logged }).await.is_ok() {
        Tried::Delivered
    } else {
        Tried::Failed
    }
}

/// The oldest items for a shard: no more than go into a call to another node, but one at least.
fn pending(from: &Shard, to: ShardId) -> Vec<(u64, Bytes)> {
    let machine = from.machine();
    let mut room = limit::DELIVERY_BYTES_MAX;
    let mut items = Vec::new();
    for (item, command) in machine.outbox.pending(to).take(BATCH) {
        if !items.is_empty() && command.len() > room {
            break;
        }
        room = room.saturating_sub(command.len());
        items.push((item, command.clone()));
    }
    items
}

/// Has the target log items, in order. Returns which it has logged.
pub(crate) async fn log(target: &Shard, from: ShardId, items: Vec<(u64, Bytes)>) -> Vec<u64> {
    // In order, as the target takes them, and without waiting for one before the next is sent.
    let mut sent = Vec::with_capacity(items.len());
    for (item, command) in items {
        sent.push((item, send(target, Command::Deliver { from, item, command }).await));
    }
    let mut logged = Vec::with_capacity(sent.len());
    for (item, answer) in sent {
        if is_logged(item, answer.await.unwrap_or(Err(ProposeError::Unknown)), from, target.id()) {
            logged.push(item);
        }
    }
    logged
}

/// The same, by the node that leads the target. What is not known to be logged is sent again: a shard
/// takes each item once.
async fn log_elsewhere(
    inner: &Inner,
    network: &dyn Network,
    from: ShardId,
    to: ShardId,
    items: Vec<(u64, Bytes)>,
) -> Vec<u64> {
    let call = NodeCall::Deliver { from, to, items };
    let mut asked = Asked::default();
    while let Some(leader) = asked.next(|| inner.whom_to_ask(to, 0)).filter(|leader| *leader != inner.me()) {
        let named = match inner.ask(network, leader, &call, inner.world.now() + PATIENCE).await {
            Ok(NodeAnswer::Delivered { items }) => return items,
            Ok(NodeAnswer::NotLeader { leader }) => leader,
            _ => None,
        };
        match named {
            Some(named) => inner.leaders.hear(to, named),
            // The next time another one is asked.
            None => inner.leaders.forget(to),
        }
        if !asked.follow(named) {
            break;
        }
    }
    Vec::new()
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
        // Deterministic: another try would end the same way.
        Ok(Reply::Refused(refusal)) => {
            match refusal {
                // It is about a stream that went while it was on its way.
                Refusal::UnknownStream | Refusal::Moved(_) => {
                    tracing::debug!(%from, %to, item, %refusal, "an outbox item came too late");
                }
                _ => tracing::warn!(%from, %to, item, %refusal, "an outbox item was refused"),
            }
            true
        }
        Ok(_) => true,
    }
}
