//! The way out when an entry cannot be applied: an operator skips it, while the node is stopped.
//!
//! A shard stops at an entry that its machine cannot read, and stops there again at every start. When
//! nothing else helps, the entry can be treated as blank: what it carried is lost, on purpose and on
//! record. It has to be skipped on every replica, or they differ from then on.

use crate::node::{DataFolder, NodeError};
use crate::world::wall;
use journal::disk::Folder;
use journal::manifest::{Manifest, ManifestError};
use journal::skips::{self, Skip, SkipsError};
use model::ShardId;
use model::limit;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why an entry is not skipped.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    /// The folder cannot be opened, or the node runs.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// There is no such shard.
    #[error("{0}: no shard is kept there")]
    NoShard(PathBuf),
    /// The checkpoint already has what the entry did.
    #[error("entry {index} is applied: the checkpoint covers entries up to {covered}")]
    Applied {
        /// The entry.
        index: u64,
        /// What the checkpoint covers.
        covered: u64,
    },
    /// None, or more than anybody skips.
    #[error("entries {first} to {last} cannot be skipped: name 1 to {most} entries, the lowest first", most = limit::SKIPS_AT_ONCE_MAX)]
    Range {
        /// The first that was named.
        first: u64,
        /// The last that was named.
        last: u64,
    },
    /// A reason is wanted, and not a book.
    #[error("a reason of 1 to {} bytes has to be given", limit::SKIP_REASON_BYTES_MAX)]
    Reason,
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] SkipsError),
}

/// Records that `entries` of `shard` are skipped on the node whose data is in `folder`.
///
/// # Errors
/// See [`SkipError`].
pub fn skip_entries(
    folder: &Path,
    shard: ShardId,
    entries: RangeInclusive<u64>,
    reason: &str,
) -> Result<(), SkipError> {
    let (first, last) = entries.clone().into_inner();
    if !(first..first.saturating_add(limit::SKIPS_AT_ONCE_MAX)).contains(&last) {
        return Err(SkipError::Range { first, last });
    }
    if reason.trim().is_empty() || reason.len() > limit::SKIP_REASON_BYTES_MAX {
        return Err(SkipError::Reason);
    }
    // Looked for before anything is opened, because opening makes what is missing.
    let path = DataFolder::path_of(folder, shard);
    if !path.join(journal::manifest::NAME).is_file() {
        return Err(SkipError::NoShard(path));
    }
    let _locked = DataFolder::open(folder)?;
    let disk = Folder::open(&path).map_err(SkipsError::Io)?;
    let covered = Manifest::read(&disk)?.map_or(0, |manifest| manifest.checkpoint_at.index);
    if first <= covered {
        return Err(SkipError::Applied { index: first, covered });
    }
    let decided = wall();
    let skips = entries.map(|index| Skip { index, decided, reason: reason.to_owned() });
    Ok(skips::add(&disk, skips.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Broker, Config};

    #[tokio::test(flavor = "multi_thread")]
    async fn only_what_is_not_applied_on_a_stopped_node_is_skipped_and_with_a_reason() {
        let data = tempfile::tempdir().unwrap();
        let shard = ShardId(1);
        let skip = |index: u64, reason: &str| skip_entries(data.path(), shard, index..=index, reason);
        assert!(matches!(skip(7, "why"), Err(SkipError::NoShard(_))));
        assert!(std::fs::read_dir(data.path()).unwrap().next().is_none(), "nothing was made");
        let broker = Broker::start(data.path(), Config { shards: 1, ..Config::default() }).await.unwrap();
        assert!(matches!(skip(7, "why"), Err(SkipError::Node(NodeError::InUse(_)))));
        broker.stop().await;
        drop(broker);
        assert!(matches!(skip(1_000, " "), Err(SkipError::Reason)));
        assert!(matches!(skip(1, "why"), Err(SkipError::Applied { index: 1, .. })));
        for last in [8, 1_009] {
            assert!(matches!(skip_entries(data.path(), shard, 9..=last, "why"), Err(SkipError::Range { .. })));
        }
        skip(1_000, "cannot be read").unwrap();
        skip_entries(data.path(), shard, 1_001..=1_002, "nor these").unwrap();
        let disk = Folder::open(DataFolder::path_of(data.path(), shard)).unwrap();
        let skips = skips::read(&disk).unwrap();
        let reasons: Vec<_> = skips.iter().map(|skip| (skip.index, skip.reason.as_str())).collect();
        assert_eq!(reasons, [(1_000, "cannot be read"), (1_001, "nor these"), (1_002, "nor these")]);
    }
}
