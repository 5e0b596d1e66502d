//! The replicas of this node. They are opened and closed while it runs.

use crate::home::Local;
use model::ShardId;
use parking_lot::RwLock;
use shard::Shard;
use std::collections::BTreeMap;

/// The replicas of this node, by shard.
#[derive(Default)]
pub(crate) struct Shards {
    open: RwLock<BTreeMap<ShardId, Box<dyn Local>>>,
}

impl Shards {
    /// The replica of a shard, if this node has one.
    pub(crate) fn get(&self, shard: ShardId) -> Option<Shard> {
        self.open.read().get(&shard).map(|local| local.shard().clone())
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> Vec<Shard> {
        self.open.read().values().map(|local| local.shard().clone()).collect()
    }

    /// Adds one that has been started.
    pub(crate) fn add(&self, local: Box<dyn Local>) {
        self.open.write().insert(local.shard().id(), local);
    }

    /// Takes one out, to be stopped.
    pub(crate) fn take(&self, shard: ShardId) -> Option<Box<dyn Local>> {
        self.open.write().remove(&shard)
    }

    /// Takes all out, to be stopped.
    pub(crate) fn take_all(&self) -> Vec<Box<dyn Local>> {
        std::mem::take(&mut *self.open.write()).into_values().collect()
    }
}
