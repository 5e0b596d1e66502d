//! Has load spread: looks from time to time at what shards take and keep, has [`super::exchange`] and [`super::shed`]
//! decide, and tells the catalog.
//!
//! It runs beside the driver, which must not wait while a node that hangs does not say what it takes.

use super::exchange::{self, Exchange};
use super::plan::{self, Move};
use super::shed::{self, Loads, Shed};
use super::streak::Streak;
use crate::broker::Inner;
use machine::machine::VERSION_OF_MOVES;
use machine::{Command, Reply};
use model::{NodeId, ShardId};
use std::sync::Weak;
use std::time::Duration;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the catalog may take. What did not come to be is looked at again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the last looks saw.
#[derive(Default)]
struct Looks {
    /// The nodes that leaders go from.
    leaders: Streak<NodeId>,
    /// The nodes that replicas go from.
    replicas: Streak<NodeId>,
    /// The shards that streams go from.
    streams: Streak<ShardId>,
}

/// Runs until the broker stops.
pub(crate) async fn run(broker: Weak<Inner>) {
    let mut looks = Looks::default();
    loop {
        let Some(inner) = broker.upgrade() else { return };
        if inner.changes.are_over() {
            return;
        }
        inner.spread_load(&mut looks).await;
        let world = inner.world.clone();
        drop(inner);
        world.sleep(INTERVAL).await;
    }
}

impl Inner {
    /// Has shards change places, and streams leave hot shards, if this node leads the catalog.
    async fn spread_load(&self, looks: &mut Looks) {
        let (Some(network), Ok(_)) = (self.network.clone(), self.catalog().leading()) else {
            *looks = Looks::default();
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
        {
            // What a new shard takes does not count before it does itself.
            let machine = self.catalog().machine();
            loads.shards.retain(|shard, _| machine.catalog.shards().any(|known| known == *shard));
        }
        self.exchange_shards(&loads, looks).await;
        self.shed_load(&loads, looks).await;
    }

    /// Has leaders and replicas change places, where what they take and keep differs for longer. Not while replicas
    /// have yet to come to where they shall be.
    async fn exchange_shards(&self, loads: &Loads, looks: &mut Looks) {
        let (leaders, replicas) = {
            let machine = self.catalog().machine();
            let catalog = &machine.catalog;
            (exchange::of_leaders(catalog, &loads.shards), exchange::of_replicas(catalog, &loads.kept))
        };
        let lasts = looks.leaders.look(leaders.as_ref().map(|next| next.from));
        let leaders = leaders.filter(|_| lasts);
        let lasts = looks.replicas.look(replicas.as_ref().map(|next| next.from));
        let replicas = replicas.filter(|_| lasts);
        let Some(Exchange { from, to, moves }) = leaders.or(replicas) else { return };
        if !self.is_all_in_place().await {
            return;
        }
        tracing::info!(%from, %to, shards = moves.len(), "shards change places because of what they take or keep");
        for Move { shard, revision, replicas, preferred } in moves {
            self.change_placement(Command::PlaceShard { shard, revision, replicas, preferred }).await;
        }
    }

    /// Has a stream leave a shard that was hot for longer.
    async fn shed_load(&self, loads: &Loads, looks: &mut Looks) {
        let command = {
            let machine = self.catalog().machine();
            let catalog = &machine.catalog;
            // One at a time, so that the next look sees what came of it. And nothing whose older records stay for
            // ever: it could never move again.
            let may_move = |stream| {
                let may_leave =
                    catalog.partition_of(stream).is_some_and(|(_, topic, _)| shed::may_leave(&topic.config));
                may_leave && catalog.moves().next().is_none() && catalog.older_of(stream).is_none()
            };
            let shed = shed::decide(loads, may_move);
            let is_hot = looks.streams.look(shed.map(|shed| shed.from));
            let Some(Shed { stream, to, .. }) = shed.filter(|_| is_hot) else { return };
            let Some((id, _, partition)) = catalog.partition_of(stream) else { return };
            tracing::info!(%stream, %to, "a stream leaves a hot shard");
            Command::MoveStream { id, partition, to }
        };
        if let Some(Ok(Reply::Refused(refusal))) = self.world.timeout(PATIENCE, self.catalog().command(command)).await {
            tracing::warn!(%refusal, "a stream does not leave a hot shard");
        }
    }
}
