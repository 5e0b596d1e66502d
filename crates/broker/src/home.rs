//! Where a node keeps what it must not forget: who it is, and its replicas' journals.

use crate::identity::Identity;
use crate::local_shard::LocalShard;
use crate::node::{DataFolder, NodeError};
use futures::future::BoxFuture;
use journal::{CacheBudget, ColdPages};
use model::ShardId;
use shard::{Environment, Shard};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a replica's state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From nothing, if there is nothing: the shard begins with this replica. Twice would be two shards
    /// of one name, each of which acknowledges.
    Found,
    /// From its own disk and from the other replicas.
    Follow,
}

/// A replica that runs on this node.
pub trait Local: Send + Sync {
    /// It.
    fn shard(&self) -> &Shard;
    /// Leaves a checkpoint and stops it.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Where a node keeps what it must not forget.
pub trait Home: Send + Sync {
    /// Changes what is written down about the node: durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn change_identity(&self, change: &mut dyn FnMut(&mut Identity)) -> Result<(), NodeError>;
    /// Where it is, for people.
    fn path(&self) -> PathBuf;
    /// Where a shard's journal is or would be, for people.
    fn path_of(&self, shard: ShardId) -> PathBuf;
    /// Whether there is a journal of a shard.
    fn has_data(&self, shard: ShardId) -> bool;
    /// Opens or makes the journal of a shard and starts the replica on it.
    fn start(
        &self,
        shard: ShardId,
        origin: Origin,
        environment: Environment,
    ) -> BoxFuture<'_, Result<Box<dyn Local>, NodeError>>;
    /// Removes the journal of a shard that has been stopped.
    fn remove(&self, shard: ShardId) -> BoxFuture<'_, Result<(), NodeError>>;
}

/// A folder, and memory for the records of the journals in it.
pub(crate) struct FolderHome {
    pub(crate) folder: DataFolder,
    pub(crate) cache: Arc<CacheBudget>,
    pub(crate) cold: Arc<ColdPages>,
    pub(crate) me: model::NodeId,
}

impl Home for FolderHome {
    fn change_identity(&self, change: &mut dyn FnMut(&mut Identity)) -> Result<(), NodeError> {
        self.folder.change_identity(change)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn path_of(&self, shard: ShardId) -> PathBuf {
        self.folder.shard_folder(shard)
    }

    fn has_data(&self, shard: ShardId) -> bool {
        self.folder.has_data(shard)
    }

    fn start(
        &self,
        shard: ShardId,
        origin: Origin,
        environment: Environment,
    ) -> BoxFuture<'_, Result<Box<dyn Local>, NodeError>> {
        Box::pin(async move {
            let path = self.folder.shard_folder(shard);
            let pages = (self.cache.clone(), self.cold.clone());
            let started = LocalShard::start(self.me, path, shard, origin, pages, environment);
            Ok(Box::new(started.await?) as Box<dyn Local>)
        })
    }

    fn remove(&self, shard: ShardId) -> BoxFuture<'_, Result<(), NodeError>> {
        let path = self.folder.shard_folder(shard);
        Box::pin(async move {
            let removed = tokio::task::spawn_blocking({
                let path = path.clone();
                // What its journal had begun when it was stopped may have made a file meanwhile.
                move || std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_dir_all(&path))
            });
            match removed.await {
                Ok(Err(error)) => Err(NodeError::Io { path, error }),
                Ok(Ok(())) | Err(_) => Ok(()),
            }
        })
    }
}
