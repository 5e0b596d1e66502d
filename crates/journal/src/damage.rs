//! What is known to be damaged on disk: found by reading, by packing, by the scrubber, by recovery.
//!
//! Damage is noted by what is damaged, not by where, so that a note stays right when files are
//! rewritten. It is never skipped: a read that meets it fails, until [`crate::repair`] has put the
//! right bytes back.

use crate::file::{FileId, FileKind};
use crate::journal::Journal;
use crate::read::ReadError;
use crate::state::Finished;
use crate::table::Extent;
use model::{Offset, StreamId, limit};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

/// Something that was on stable storage and cannot be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// A Raft entry above the floor: any replica that has it can give it back.
    Entry {
        /// Its index.
        index: u64,
    },
    /// Records of entries below the floor: a replica that still has them can.
    Records {
        /// Whose.
        stream: StreamId,
        /// First offset.
        from: Offset,
        /// One past the last.
        to: Offset,
    },
    /// A file's table or header: they are rebuilt from its frames.
    Table {
        /// The file.
        file: FileId,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Entry { index } => write!(f, "entry {index}"),
            Damage::Records { stream, from, to } => write!(f, "offsets {from} to {to} of {stream}"),
            Damage::Table { file } => write!(f, "the table or header of file {file}"),
        }
    }
}

impl Journal {
    /// What is damaged now.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        if self.damaged.load(Relaxed) == 0 {
            return Vec::new();
        }
        self.state.lock().damage.iter().copied().collect()
    }

    /// How many ranges are damaged now.
    #[must_use]
    pub fn damage_count(&self) -> u64 {
        self.damaged.load(Relaxed) as u64
    }

    /// Notes damage, and says so the first time.
    pub fn note_damage(&self, damage: Damage) {
        {
            let mut state = self.state.lock();
            // What is not noted is found again, when there is room.
            if state.damage.len() >= limit::DAMAGE_NOTED_MAX || !state.damage.insert(damage) {
                return;
            }
            self.damaged.store(state.damage.len(), Relaxed);
        }
        self.counters.damage_found.fetch_add(1, Relaxed);
        tracing::error!(shard = %self.options.shard, %damage, "damaged on disk: refused until it is repaired");
    }

    /// Notes that something is as it was written again, or that nobody wants it any more.
    pub fn forget_damage(&self, damage: Damage) {
        let mut state = self.state.lock();
        if state.damage.remove(&damage) {
            state.unpackable.clear();
            self.damaged.store(state.damage.len(), Relaxed);
            self.counters.damage_mended.fetch_add(1, Relaxed);
            tracing::warn!(shard = %self.options.shard, %damage, "no longer damaged");
        }
    }

    /// Notes that all of a stream's records below `to` are as they should be.
    pub(crate) fn forget_records_damage(&self, stream: StreamId, to: Offset) {
        let of_it = |damage: &Damage| matches!(damage, Damage::Records { stream: whose, to: end, .. } if *whose == stream && *end <= to);
        self.damage().into_iter().filter(of_it).for_each(|damage| self.forget_damage(damage));
    }

    /// Notes that the bytes of an extent are not what was written: as part of a Raft entry, if that
    /// is above the floor.
    pub(crate) fn note_bad_extent(&self, extent: &Extent, index: Option<u64>, file: Option<&Finished>) {
        let index = index.or_else(|| self.entry_at(file?, extent.position));
        let damage = match index {
            Some(index) if index > self.floor().index => Damage::Entry { index },
            _ => Damage::Records { stream: extent.stream, from: extent.base, to: extent.end() },
        };
        self.note_damage(damage);
    }

    /// The Raft entry that lies at `position` of an own log file.
    fn entry_at(&self, file: &Finished, position: u64) -> Option<u64> {
        if file.kind != FileKind::Log || file.id.journal != self.id() || file.table.last_index <= self.floor().index {
            return None;
        }
        let rows = file.table.entries(&*file.file).ok()?;
        let nth = rows.iter().rposition(|row| row.position <= position && !row.is_lost())?;
        Some(file.table.last_index + 1 - rows.len() as u64 + nth as u64)
    }

    /// Whether there is damage that was not mended.
    pub(crate) fn knows_damage(&self) -> bool {
        self.gaps_unknown.load(Relaxed) || self.damaged.load(Relaxed) > 0
    }

    /// The error for a look-up that finds nothing of `stream` between `from` and `to`, exclusive, if
    /// records there were lost to damage.
    pub(crate) fn missing(&self, stream: StreamId, from: Offset, to: Offset) -> Option<ReadError> {
        if from >= to {
            return None;
        }
        if self.gaps_unknown.load(Relaxed) {
            return Some(ReadError::Damaged { stream, from, to });
        }
        if self.damaged.load(Relaxed) == 0 {
            return None;
        }
        let state = self.state.lock();
        state.damage.iter().find_map(|damage| match *damage {
            Damage::Records { stream: whose, from: first, to: end } if whose == stream && first < to && from < end => {
                Some(ReadError::Damaged { stream, from: first, to: end })
            }
            _ => None,
        })
    }
}
