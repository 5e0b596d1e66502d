//! A replica of this node with its journal in a folder: starting, stopping.

use crate::home::{Local, Origin};
use crate::node::{NodeError, at};
use futures::future::BoxFuture;
use journal::disk::Folder;
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, ColdPages, Journal, Options};
use model::{NodeId, ShardId};
use rand::RngExt;
use shard::runtime::Tokio;
use shard::{Environment, Shard};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A shard's replica and the thread that writes its journal.
pub(crate) struct LocalShard {
    shard: Shard,
    writer: JoinHandle<()>,
}

impl LocalShard {
    /// Opens the journal of `id` and starts the replica of node `me`.
    pub(crate) async fn start(
        me: NodeId,
        path: PathBuf,
        id: ShardId,
        origin: Origin,
        (cache, cold): (Arc<CacheBudget>, Arc<ColdPages>),
        environment: Environment,
    ) -> Result<Self, NodeError> {
        let bell = Bell::new();
        let mut options = Options::new(id, cache, rand::rng().random());
        options.wake_writer = bell.ringer();
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || -> Result<_, NodeError> {
                let disk = Folder::open(&path).map_err(at(&path))?.with_cold_pages(cold);
                Journal::open(Arc::new(disk), options).map_err(|error| NodeError::Journal { folder: path, error })
            }
        });
        let stopped = || NodeError::Io { path: path.clone(), error: io::Error::other("the node stops") };
        let (journal, writer, recovered) = opened.await.map_err(|_| stopped())??;
        for reason in &recovered.reasons {
            tracing::warn!(shard = %id, reason, "recovery");
        }
        let in_doubt = recovered.in_doubt;
        let writer = spawn(writer, bell).map_err(at(&path))?;
        let failed = |error| NodeError::Shard { folder: path.clone(), error };
        let shard = Shard::start::<Tokio>(me, journal, in_doubt, environment).await.map_err(failed)?;
        if origin == Origin::Found {
            shard.initialize(vec![me]).await.map_err(failed)?;
        }
        // Who decides alone need not wait to see whether somebody else leads.
        shard.elect().await;
        Ok(LocalShard { shard, writer })
    }
}

impl Local for LocalShard {
    fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Makes everything durable and says that nothing follows.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.shard.checkpoint().await;
            self.shard.shutdown().await;
            let journal = self.shard.journal().clone();
            journal.stop();
            let writer = self.writer;
            let closed = tokio::task::spawn_blocking(move || {
                let _ = writer.join();
                journal.close()
            });
            match closed.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(shard = %self.shard.id(), %error, "not closed cleanly"),
                Err(error) => tracing::warn!(shard = %self.shard.id(), %error, "not closed cleanly"),
            }
        })
    }
}
