//! The node's folder: who has it, and which shards are in it.
//!
//! ```text
//! DATA/lock                 held while the node runs
//! DATA/identity             who this node is
//! DATA/shards/00000000/     the catalog's journal
//! DATA/shards/00000001/ ... the other shards' journals
//! ```

use crate::identity::{self, Found, Identity};
use journal::OpenError;
use journal::manifest::ManifestError;
use model::{NodeId, ShardId};
use parking_lot::Mutex;
use shard::StartError;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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
    /// There is data of a cluster, and nothing says which.
    #[error(
        "{0} is missing, and there is data that other nodes have, too. Restore it from a backup, or remove the folder \
         and join with an empty one"
    )]
    NoIdentity(PathBuf),
    /// The folder is another node's.
    #[error("{folder} is the data of node {found}, not of node {wanted}: --data-dir names another folder")]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who wants it.
        wanted: NodeId,
    },
    /// The folder has a cluster of its own, and is to join another one.
    #[error("{0} has a cluster of its own: a node joins with an empty folder. Without --join it goes on as it was")]
    Founded(PathBuf),
    /// The folder is that of a node of a cluster, and is to join another one.
    #[error(
        "{folder} is the data of a node of another cluster than that of {seed}: a node joins with an empty folder. \
         Without --join it goes on where it was"
    )]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// Who was to be joined.
        seed: String,
    },
    /// The folder waits to be let into a cluster.
    #[error("{0} is that of a node that has not been let into its cluster yet: start it with --join HOST:PORT")]
    Joining(PathBuf),
    /// A node that joins has to be reachable.
    #[error("a node that joins others has to listen for them: --listen peer=ADDRESS:PORT")]
    JoinWithoutPeer,
    /// Where it listens tells nobody where it is.
    #[error(
        "other nodes cannot be told to reach this one at {0}: --advertise peer=HOST:PORT names an address that they can reach"
    )]
    NoAddress(SocketAddr),
    /// The cluster does not let the node in.
    #[error("cannot join at {seed}: {why}")]
    Join {
        /// Who was asked.
        seed: String,
        /// What was said.
        why: String,
    },
    /// The address for other nodes cannot be used.
    #[error("cannot listen on peer={address}: {error}. --listen peer=ADDRESS:PORT names another place, peer=off none")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
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

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |error| NodeError::Io { path, error }
}

/// The node's folder, locked.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Unlocked when dropped, or when the process dies.
    _lock: File,
    /// Who the node is; nothing in a new folder.
    identity: Mutex<Option<Identity>>,
}

impl DataFolder {
    /// Opens `path`, making it if need be, and keeps others out.
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
        let identity_path = path.join(identity::NAME);
        let read = Identity::read(path).map_err(at(&identity_path))?;
        let found = read.transpose().map_err(|_| NodeError::Identity(identity_path))?;
        let folder = DataFolder { path: path.to_owned(), _lock: lock, identity: Mutex::default() };
        match found {
            None => {}
            Some(Found::Whole(identity)) => *folder.identity.lock() = Some(identity),
            // Of a node that was alone: what it has not founded yet, nobody else has.
            Some(Found::Bare(identity)) => folder.set_identity(identity)?,
        }
        Ok(folder)
    }

    /// Who the node is; nothing while the folder is new.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    /// Writes down who the node is.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn set_identity(&self, identity: Identity) -> Result<(), NodeError> {
        let mut known = self.identity.lock();
        identity.write(&self.path).map_err(at(&self.path.join(identity::NAME)))?;
        *known = Some(identity);
        Ok(())
    }

    /// Changes what is written down about the node.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), NodeError> {
        let Some(mut identity) = self.identity() else { return Ok(()) };
        change(&mut identity);
        if self.identity().as_ref() == Some(&identity) { Ok(()) } else { self.set_identity(identity) }
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

    /// The shards that have a folder with something in it.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn shards_with_data(&self) -> Result<Vec<ShardId>, NodeError> {
        Ok(self.shards()?.into_iter().filter(|shard| self.has_data(*shard)).collect())
    }

    /// Whether there is something in a shard's folder.
    pub(crate) fn has_data(&self, shard: ShardId) -> bool {
        std::fs::read_dir(self.shard_folder(shard)).is_ok_and(|mut files| files.next().is_some())
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
        if !self.shards_with_data()?.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
