//! The node's folder and the shards in it: opening, starting, stopping.
//!
//! ```text
//! DATA/lock                 held while the node runs
//! DATA/identity             who this node is
//! DATA/shards/00000000/     the catalog's journal
//! DATA/shards/00000001/ ... the other shards' journals
//! ```

use journal::disk::Folder;
use journal::manifest::ManifestError;
use journal::thread::{Bell, spawn};
use journal::{CacheBudget, ColdPages, Journal, OpenError, Options};
use model::wire::Wire;
use model::{NodeId, ShardId, Timestamp};
use rand::RngExt;
use shard::environment::OnEffects;
use shard::runtime::Tokio;
use shard::{Environment, Shard, StartError};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Another process has the folder.
    #[error("{0} is in use by another mainstem process: stop that one, or name another folder with --data-dir")]
    InUse(PathBuf),
    /// There is a file where the folder should be or be made.
    #[error("no data can be kept in {path}: {file} is a file. --data-dir names a folder")]
    NoFolder {
        /// The folder that is wanted.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The identity file cannot be read.
    #[error(
        "{0} is not an identity file of this version. Restore it, or remove it: the node gets a new identity then, \
         and clients see another cluster"
    )]
    Identity(PathBuf),
    /// There was a shard, and its folder is gone.
    #[error("{folder} is missing, and shard {shard} with it. Restore the data folder from a backup")]
    Missing {
        /// Which.
        shard: ShardId,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A journal cannot be opened.
    #[error("{folder}: {error}{}", advice_to_open(error))]
    Journal {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// A shard does not start.
    #[error("{folder}: {error}")]
    Shard {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        error: StartError,
    },
    /// The operating system.
    #[error("cannot use {path} for data: {error}{}", advice(error))]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// What to do about it, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ". Who runs mainstem has to be able to write there; --data-dir names another folder"
        }
        _ => "",
    }
}

fn advice_to_open(error: &OpenError) -> &'static str {
    match error {
        OpenError::Io(error) | OpenError::Manifest(ManifestError::Io(error)) => advice(error),
        _ => "",
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |error| NodeError::Io { path, error }
}

model::wire_struct! {
    /// Who a node is. Written once.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Identity {
        /// Version of this file.
        version: u32,
        /// The cluster, drawn at random when its first node started.
        pub cluster: u128,
        /// The node.
        pub node: NodeId,
    }
}

const IDENTITY_VERSION: u32 = 1;

/// The node's folder, locked.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Unlocked when dropped, or when the process dies.
    _lock: File,
    /// Who the node is.
    pub identity: Identity,
}

impl DataFolder {
    /// Opens `path`, making it and an identity if need be, and keeps others out.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn open(path: &Path) -> Result<Self, NodeError> {
        if let Some(file) = path.ancestors().find(|above| above.is_file()) {
            return Err(NodeError::NoFolder { path: path.to_owned(), file: file.to_owned() });
        }
        std::fs::create_dir_all(path).map_err(at(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(NodeError::InUse(path.to_owned())),
            locked => locked.map_err(|error| at(&lock_path)(error.into()))?,
        }
        let identity_path = path.join("identity");
        let identity = match File::open(&identity_path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(at(&identity_path))?;
                let identity = Identity::from_wire(&bytes).ok().filter(|identity| identity.version == IDENTITY_VERSION);
                identity.ok_or_else(|| NodeError::Identity(identity_path.clone()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.join("shards").exists() {
                    let path = identity_path.display();
                    tracing::warn!(%path, "the identity is missing: the node gets a new one, and clients see another cluster");
                }
                let identity = Identity { version: IDENTITY_VERSION, cluster: rand::rng().random(), node: NodeId(1) };
                write_identity(path, &identity).map_err(at(&identity_path))?;
                identity
            }
            Err(error) => return Err(at(&identity_path)(error)),
        };
        Ok(DataFolder { path: path.to_owned(), _lock: lock, identity })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shard_folder(&self, shard: ShardId) -> PathBuf {
        DataFolder::path_of(&self.path, shard)
    }

    /// Where the node with its data in `folder` keeps `shard`.
    pub(crate) fn path_of(folder: &Path, shard: ShardId) -> PathBuf {
        folder.join("shards").join(format!("{:08}", shard.0))
    }

    /// The shards that have a folder.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn shards(&self) -> Result<Vec<ShardId>, NodeError> {
        let folder = self.path.join("shards");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let mut shards = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
            let name = entry.map_err(at(&folder))?.file_name();
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok()) {
                shards.push(ShardId(number));
            }
        }
        shards.sort_unstable();
        Ok(shards)
    }

    /// The shards that there are; a new folder gets folders for the catalog and as many others as `count`.
    ///
    /// # Errors
    /// `Missing` when there are others and no catalog, or as the operating system says.
    pub(crate) fn shards_or_new(&self, count: u32) -> Result<Vec<ShardId>, NodeError> {
        let shards = self.shards()?;
        let catalog = self.shard_folder(ShardId::CATALOG);
        if shards.contains(&ShardId::CATALOG) {
            return Ok(shards);
        }
        if shards.iter().any(|shard| self.shard_folder(*shard).join(journal::manifest::NAME).exists()) {
            return Err(NodeError::Missing { shard: ShardId::CATALOG, folder: catalog });
        }
        let sync = || {
            let folder = self.path.join("shards");
            File::open(&folder).and_then(|names| names.sync_all()).map_err(at(&folder))
        };
        for folder in (1..=count).map(|shard| self.shard_folder(ShardId(shard))) {
            std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        }
        // The catalog's comes last: where it is, so are all others, whatever ended the first start.
        sync()?;
        std::fs::create_dir_all(&catalog).map_err(at(&catalog))?;
        sync()?;
        self.shards()
    }
}

fn write_identity(folder: &Path, identity: &Identity) -> io::Result<()> {
    let temporary = folder.join("identity.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&identity.to_wire())?;
    file.sync_all()?;
    std::fs::rename(temporary, folder.join("identity"))?;
    File::open(folder)?.sync_all()
}

/// A shard's replica and the thread that writes its journal.
pub(crate) struct LocalShard {
    pub(crate) shard: Shard,
    writer: JoinHandle<()>,
}

/// What a shard of this node is started with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) cache: Arc<CacheBudget>,
    pub(crate) cold: Arc<ColdPages>,
    pub(crate) on_effects: Arc<OnEffects>,
    pub(crate) on_role: Arc<dyn Fn(ShardId) + Send + Sync>,
    pub(crate) upkeep: shard::Upkeep,
    pub(crate) turns: Arc<Semaphore>,
}

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis() as i64)
}

impl LocalShard {
    /// Opens the journal of `id` and starts its replica.
    pub(crate) async fn start(folder: &DataFolder, id: ShardId, around: Surroundings) -> Result<Self, NodeError> {
        let path = folder.shard_folder(id);
        let bell = Bell::new();
        let mut options = Options::new(id, around.cache, rand::rng().random());
        options.wake_writer = bell.ringer();
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || -> Result<_, NodeError> {
                let disk = Folder::open(&path).map_err(at(&path))?.with_cold_pages(around.cold);
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
        let environment = Environment {
            transport: Arc::new(shard::Alone),
            wall: Arc::new(wall),
            offload: Arc::new(|work| {
                drop(tokio::task::spawn_blocking(work));
            }),
            on_effects: around.on_effects,
            on_role: around.on_role,
            upkeep: around.upkeep,
            turns: around.turns,
        };
        let me = folder.identity.node;
        let failed = |error| NodeError::Shard { folder: path.clone(), error };
        let shard = Shard::start::<Tokio>(me, journal, in_doubt, environment).await.map_err(failed)?;
        shard.initialize(vec![me]).await.map_err(failed)?;
        shard.elect().await;
        Ok(LocalShard { shard, writer })
    }

    /// Leaves a checkpoint, makes everything durable and says that nothing follows.
    pub(crate) async fn stop(self) {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;

    #[test]
    fn a_file_where_the_folder_should_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("data")] {
            let said = DataFolder::open(&path).unwrap_err().to_string();
            assert!(said.ends_with(&format!("{} is a file. --data-dir names a folder", file.display())), "{said}");
        }
    }

    #[test]
    fn a_new_folder_gets_all_its_shards_or_is_still_new() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temporary.path()).unwrap();
        // What is left of a first start that did not get far.
        std::fs::create_dir_all(folder.shard_folder(ShardId(2))).unwrap();
        assert_eq!(folder.shards_or_new(3).unwrap(), [0, 1, 2, 3].map(ShardId));
        assert_eq!(folder.shards_or_new(5).unwrap(), [0, 1, 2, 3].map(ShardId));
        std::fs::write(folder.shard_folder(ShardId(2)).join(journal::manifest::NAME), "").unwrap();
        std::fs::remove_dir(folder.shard_folder(ShardId::CATALOG)).unwrap();
        let said = folder.shards_or_new(3).unwrap_err();
        assert!(matches!(said, NodeError::Missing { shard: ShardId::CATALOG, .. }), "{said}");
    }

    #[test]
    fn the_identity_is_as_drawn() {
        let identity = Identity { version: 1, cluster: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, node: NodeId(3) };
        let bytes = golden(env!("CARGO_MANIFEST_DIR"), "identity", &identity.to_wire());
        assert_eq!(Identity::from_wire(&bytes), Ok(identity));
    }
}
