//! Has streams leave hot shards: looks from time to time, has [`super::shed`] decide, and tells the catalog.
//!
//! It runs beside the driver, which must not wait while a node that hangs does not say what it takes.

use super::plan;
use super::shed::{self, Shed, Shedding};
use crate::broker::Inner;
use machine::machine::VERSION_OF_MOVES;
use machine::{Command, Reply};
use std::sync::Weak;
use std::time::Duration;

/// From one look at what shards take to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the catalog may take. What did not come to be is looked at again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until the broker stops.
pub(crate) async fn run(broker: Weak<Inner>) {
    let mut shedding = Shedding::default();
    loop {
        let Some(inner) = broker.upgrade() else { return };
        if inner.changes.are_over() {
            return;
        }
        inner.shed_load(&mut shedding).await;
        let world = inner.world.clone();
        drop(inner);
        world.sleep(INTERVAL).await;
    }
}

impl Inner {
    /// Has a stream leave a hot shard, if this node leads the catalog.
    async fn shed_load(&self, shedding: &mut Shedding) {
        let (Some(network), Ok(_)) = (self.network.clone(), self.catalog().leading()) else {
            *shedding = Shedding::default();
            return;
        };
        let is_large = {
            let machine = self.catalog().machine();
            machine.version() >= VERSION_OF_MOVES && plan::can_spare_one(&machine.catalog)
        };
        if !is_large {
            return;
        }
        let mut loads = self.all_loads(&*network).await;
        let command = {
            let machine = self.catalog().machine();
            let catalog = &machine.catalog;
            // What a new shard takes does not count before it does itself.
            loads.shards.retain(|shard, _| catalog.shards().any(|known| known == *shard));
            // One at a time, so that the next look sees what came of it. And nothing whose older records stay for
            // ever: it could never move again.
            let may_move = |stream| {
                let may_leave =
                    catalog.partition_of(stream).is_some_and(|(_, topic, _)| shed::may_leave(&topic.config));
                may_leave && catalog.moves().next().is_none() && catalog.older_of(stream).is_none()
            };
            let Some(Shed { stream, to }) = shedding.look(&loads, may_move) else { return };
            let Some((id, _, partition)) = catalog.partition_of(stream) else { return };
            tracing::info!(%stream, %to, "a stream leaves a hot shard");
            Command::MoveStream { id, partition, to }
        };
        if let Some(Ok(Reply::Refused(refusal))) = self.world.timeout(PATIENCE, self.catalog().command(command)).await {
            tracing::warn!(%refusal, "a stream does not leave a hot shard");
        }
    }
}
