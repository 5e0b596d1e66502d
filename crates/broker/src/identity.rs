//! Who a node is, as its folder remembers it.
//!
//! The file is replaced whole when something in it changes: when a node has been let into a cluster, and
//! when it gets a replica or gives one up. It is what tells a new folder from one that has lost something:
//! nothing else may make a replica start from nothing, for that would forget votes and acknowledgements.

use model::wire::{Wire, WireError};
use model::{NodeId, ShardId};
use rand::RngExt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// The file's name in the node's folder.
pub const NAME: &str = "identity";

/// The first version had nothing behind `node`.
const FIRST: u32 = 1;
const VERSION: u32 = 2;

model::wire_enum! {
    /// How far a node is on its way into a cluster.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Stage {
        /// It founds a cluster: shards that are not there yet are made from nothing.
        1 = Founding,
        /// It has asked to be let in, and has not seen its own name in the catalog yet.
        2 = Joining,
        /// It belongs to the cluster. What it has lost, it has lost.
        3 = Member,
    }
}

model::wire_struct! {
    /// Who a node is.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Identity {
        /// Version of this file.
        version: u32,
        /// The cluster, drawn at random when its first node started. 0 while it is not known.
        pub cluster: u128,
        /// The node. 0 until a cluster has given it a number.
        pub node: NodeId,
        /// Drawn at random when the folder was made: tells this node from others that are given its number
        /// by mistake.
        pub incarnation: u128,
        /// How far it is.
        pub stage: Stage,
        /// The shards of which there is a replica in the folder.
        pub replicas: Vec<ShardId>,
        /// The shards of which there was one, ascending: none of them is founded here again, whatever a catalog
        /// that lags behind says.
        pub left: Vec<ShardId>,
    }
}

model::wire_struct! {
    struct FirstIdentity {
        version: u32,
        cluster: u128,
        node: NodeId,
    }
}

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Everything.
    Whole(Identity),
    /// A node's number and its cluster: that is all the first version knew, of nodes that were alone.
    Bare(Identity),
}

impl Identity {
    /// The identity of a node that founds a cluster.
    #[must_use]
    pub fn founding(node: NodeId) -> Self {
        Identity { cluster: rand::rng().random(), node, stage: Stage::Founding, ..Identity::joining() }
    }

    /// The identity of a node that asks to be let into a cluster.
    #[must_use]
    pub fn joining() -> Self {
        let incarnation = rand::rng().random();
        let (cluster, node, stage) = (0, NodeId(0), Stage::Joining);
        let (replicas, left) = (Vec::new(), Vec::new());
        Identity { version: VERSION, cluster, node, incarnation, stage, replicas, left }
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// When they are not an identity of this version or one before it.
    pub fn decode(bytes: &[u8]) -> Result<Found, WireError> {
        match bytes.first_chunk().map(|version| u32::from_le_bytes(*version)) {
            Some(FIRST) => {
                let FirstIdentity { cluster, node, .. } = FirstIdentity::from_wire(bytes)?;
                Ok(Found::Bare(Identity { cluster, ..Identity::founding(node) }))
            }
            Some(VERSION) => Identity::from_wire(bytes).map(Found::Whole),
            _ => Err(WireError::Invalid("version of an identity")),
        }
    }

    /// Reads the file in `folder`, if there is one.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Result<Found, WireError>>> {
        let mut bytes = Vec::new();
        match File::open(folder.join(NAME)) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Identity::decode(&bytes)))
    }

    /// Writes the file anew: durable when this returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let temporary = folder.join("identity.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&self.to_wire())?;
        file.sync_all()?;
        std::fs::rename(temporary, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;

    const CLUSTER: u128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;

    #[test]
    fn the_identity_is_as_drawn() {
        let identity = Identity {
            cluster: CLUSTER,
            node: NodeId(3),
            incarnation: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
            stage: Stage::Member,
            replicas: vec![ShardId(0), ShardId(2)],
            left: vec![ShardId(1)],
            ..Identity::joining()
        };
        let bytes = golden(env!("CARGO_MANIFEST_DIR"), "identity2", &identity.to_wire());
        assert_eq!(Identity::decode(&bytes), Ok(Found::Whole(identity)));
    }

    #[test]
    fn the_first_version_is_read() {
        let first = FirstIdentity { version: FIRST, cluster: CLUSTER, node: NodeId(3) };
        let bytes = golden(env!("CARGO_MANIFEST_DIR"), "identity", &first.to_wire());
        let Ok(Found::Bare(identity)) = Identity::decode(&bytes) else { panic!("{:?}", Identity::decode(&bytes)) };
        assert_eq!((identity.version, identity.cluster, identity.node), (VERSION, CLUSTER, NodeId(3)));
        for wrong in [&[][..], &[1, 0], &[9; 28], &bytes[..27]] {
            assert!(Identity::decode(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Identity::read(folder.path()).unwrap().is_none());
        for identity in [Identity::founding(NodeId(1)), Identity::joining()] {
            identity.write(folder.path()).unwrap();
            assert_eq!(Identity::read(folder.path()).unwrap(), Some(Ok(Found::Whole(identity))));
        }
    }
}
