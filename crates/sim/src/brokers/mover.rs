//! A mover: it has logs go on in other shards, at any node, while everybody uses them.

use super::caller::Caller;
use super::logs::Log;
use broker::BrokerError;
use model::ShardId;

/// In how many of a hundred cases it moves something when it could.
const MOVE_PERCENT: u64 = 25;

/// See the module's documentation.
pub(super) struct Mover {
    caller: Caller,
    /// Shards that there may be, the catalog not counted.
    shards: u32,
}

impl Mover {
    pub(super) fn new(caller: Caller, shards: u32) -> Self {
        Mover { caller, shards }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            if !self.caller.rng.percent(MOVE_PERCENT) {
                continue;
            }
            let logs = self.caller.scene.logs.lock().all();
            let to = ShardId(self.caller.rng.between(1, self.shards.into()) as u32);
            if let Some(log) = self.caller.rng.pick(&logs).cloned() {
                self.shift(&log, to).await;
            }
        }
    }

    async fn shift(&mut self, log: &Log, to: ShardId) {
        let Some(door) = self.caller.anybody() else { return };
        let from = match door.look_up(log.partition.topic.clone()).await {
            Some(Ok(info)) => info.partitions.get(log.partition.partition as usize).and_then(|known| known.shard),
            _ => None,
        };
        if from.is_none_or(|from| from == to) {
            return;
        }
        match door.move_partition(log.partition.clone(), to).await {
            Some(Ok(())) => {
                self.caller.note(format_args!("{} has gone from {from:?} to {to} by {}", log.key, door.node));
                self.caller.scene.facts.lock().moves += 1;
            }
            // Its older records are elsewhere still, or there is no such shard yet.
            Some(Err(BrokerError::Moving | BrokerError::UnknownShard)) => {
                self.caller.scene.facts.lock().moves_refused += 1;
            }
            // It may be on its way.
            Some(Err(_)) | None => self.caller.scene.facts.lock().moves_unanswered += 1,
        }
    }
}
