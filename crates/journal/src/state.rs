//! What the journal holds in memory, under its one lock. No method here does input or output.

use crate::active::ActiveIndex;
use crate::damage::Damage;
use crate::disk::DiskFile;
use crate::file::{FileId, FileKind};
use crate::log::{EntryLog, LogEntry, Place, Slot};
use crate::manifest::{Listed, LogPosition, Manifest};
use crate::recent::Recent;
use crate::reclaim::Usage;
use crate::table::TableHead;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Called by the writer when what was asked for is done. Never called when the journal or its writer is dropped
/// first: then it is dropped, too.
pub type Done = Box<dyn FnOnce() + Send>;

/// Something for the writer to write.
pub(crate) enum Work {
    Entry {
        ticket: u64,
        entry: LogEntry,
    },
    Vote {
        number: u64,
        vote: Bytes,
    },
    /// Only a wish for a sync.
    Nothing,
}

pub(crate) struct Job {
    pub(crate) work: Work,
    /// Whether `done` has to wait for stable storage.
    pub(crate) fsync: bool,
    pub(crate) done: Option<Done>,
}

impl Job {
    /// Whether something is lost if nobody does it.
    pub(crate) fn is_work(&self) -> bool {
        !matches!(self.work, Work::Nothing)
    }
}

/// A log file that is not finished: it has no table yet.
pub(crate) struct LogFile {
    pub(crate) id: FileId,
    pub(crate) file: Arc<dyn DiskFile>,
    /// First and last Raft index whose latest copy is here.
    pub(crate) entries: Option<(u64, u64)>,
    /// Where its frames end.
    pub(crate) end: u64,
    /// No more will be written to it.
    pub(crate) rolled: bool,
    /// A sync of it failed: it is never synced again.
    pub(crate) poisoned: bool,
    /// Finished files that have what is settled of it: see [`crate::finish`].
    pub(crate) copies: Vec<FileId>,
}

/// A file with a table.
pub struct Finished {
    /// Which.
    pub id: FileId,
    /// Its kind.
    pub kind: FileKind,
    /// Its bytes.
    pub file: Arc<dyn DiskFile>,
    /// Its length, table included.
    pub length: u64,
    /// Its table.
    pub table: TableHead,
    /// Pieces in it that the machine refused: index and number.
    pub refused: Vec<(u64, u32)>,
}

impl Finished {
    /// What a manifest says of it.
    #[must_use]
    pub fn listed(&self) -> Listed {
        Listed {
            id: self.id,
            kind: self.kind,
            length: self.length,
            frames_end: self.table.frames_end,
            first_index: self.table.first_index,
            last_index: self.table.last_index,
            refused: self.refused.clone(),
        }
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}..={}", self.id, self.kind, self.table.first_index, self.table.last_index)
    }
}

/// Whether there is room for new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The reserve is whole.
    Enough,
    /// The disk is full and the reserve is in use: only what frees space or keeps the shard alive
    /// may be written.
    Reserve,
    /// The reserve is used up as well: the writer waits.
    None,
}

pub(crate) struct State {
    pub(crate) log: EntryLog,
    pub(crate) floor: LogPosition,
    pub(crate) committed: u64,
    /// Entries up to here have been applied and their pieces indexed.
    pub(crate) applied: u64,
    /// Entries up to here are on stable storage.
    pub(crate) flushed: u64,
    pub(crate) vote: Option<Bytes>,
    /// Counts votes, so that of several copies the last is known.
    pub(crate) vote_number: u64,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) job_bytes: usize,
    pub(crate) next_ticket: u64,
    pub(crate) next_sequence: u64,
    pub(crate) active: ActiveIndex,
    pub(crate) recent: Recent,
    pub(crate) open_files: BTreeMap<u64, LogFile>,
    /// By rank: first Raft index, then id.
    pub(crate) finished: Arc<Vec<Arc<Finished>>>,
    pub(crate) manifest: Manifest,
    pub(crate) refused: Vec<(u64, u32)>,
    /// Names of files that do not count any more, to be removed once the manifest says so too.
    pub(crate) leftovers: Vec<String>,
    /// Files that could not be packed because of damage: not tried again before some is mended.
    pub(crate) unpackable: BTreeSet<FileId>,
    /// What is known to be damaged on disk.
    pub(crate) damage: BTreeSet<Damage>,
    pub(crate) cached_bytes: usize,
    /// Finished files that a snapshot's receiver is reading, and how many receivers.
    pub(crate) pins: BTreeMap<FileId, u32>,
    /// The same of a checkpoint's files, by number: open, so that they can be read when they are removed.
    pub(crate) held: BTreeMap<u64, (Arc<dyn DiskFile>, u32)>,
    /// Parts of snapshots that are here, by name, and how long those are that this process has seen to be whole.
    pub(crate) parts: BTreeMap<String, Option<u64>>,
    pub(crate) usage: Usage,
    /// The current log file and how much of it is on stable storage.
    pub(crate) current_flushed: (u64, u64),
    pub(crate) space: Space,
    /// The checkpoint is damaged: the next has to hold everything.
    pub(crate) wants_base: bool,
    /// Something in the manifest changed that nobody waits for.
    pub(crate) manifest_due: bool,
    /// The next write starts a new log file.
    pub(crate) roll: bool,
    pub(crate) stopping: bool,
    /// Nobody writes any more.
    pub(crate) writer_is_gone: bool,
    /// Something was asked for that nobody has written.
    pub(crate) unwritten: bool,
}

impl State {
    pub(crate) fn new(manifest: Manifest) -> Self {
        State {
            log: EntryLog::new(manifest.floor),
            floor: manifest.floor,
            committed: manifest.floor.index,
            applied: manifest.checkpoint_at.index.max(manifest.floor.index),
            flushed: manifest.floor.index,
            vote: (manifest.vote_number > 0).then(|| Bytes::from(manifest.vote.clone())),
            vote_number: manifest.vote_number,
            jobs: VecDeque::new(),
            job_bytes: 0,
            next_ticket: 1,
            next_sequence: manifest.next_sequence,
            active: ActiveIndex::default(),
            recent: Recent::default(),
            open_files: BTreeMap::new(),
            finished: Arc::default(),
            refused: manifest.refused.clone(),
            manifest,
            leftovers: Vec::new(),
            unpackable: BTreeSet::new(),
            damage: BTreeSet::new(),
            cached_bytes: 0,
            pins: BTreeMap::new(),
            held: BTreeMap::new(),
            parts: BTreeMap::new(),
            usage: Usage::default(),
            current_flushed: (0, 0),
            space: Space::Enough,
            wants_base: false,
            manifest_due: false,
            roll: false,
            stopping: false,
            writer_is_gone: false,
            unwritten: false,
        }
    }

    /// What nobody is going to do, for whoever has the lock to drop without it.
    #[must_use]
    pub(crate) fn take_unwritten(&mut self) -> VecDeque<Job> {
        if !self.writer_is_gone {
            return VecDeque::new();
        }
        self.unwritten |= self.jobs.iter().any(Job::is_work);
        self.job_bytes = 0;
        std::mem::take(&mut self.jobs)
    }

    /// Adds entries to the log and to the writer's work. `done` follows the last.
    pub(crate) fn append(&mut self, entries: Vec<(LogEntry, bool)>, done: Done) {
        let last = entries.len().saturating_sub(1);
        let mut done = Some(done);
        for (nth, (entry, fsync)) in entries.into_iter().enumerate() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.log.push(
                entry.at.index,
                Slot {
                    term: entry.at.term,
                    kind: entry.kind,
                    meta_bytes: entry.meta_bytes,
                    body_bytes: entry.payload.len() as u32 - entry.meta_bytes,
                    place: None,
                    cached: Some(entry.payload.clone()),
                    ticket,
                    flushed: false,
                },
            );
            self.cached_bytes += entry.payload.len();
            self.job_bytes += entry.payload.len();
            let done = if nth == last { done.take() } else { None };
            self.jobs.push_back(Job { work: Work::Entry { ticket, entry }, fsync, done });
        }
    }

    pub(crate) fn truncate_after(&mut self, index: u64) {
        assert!(index >= self.applied, "applied entries are never truncated: {index} below {}", self.applied);
        self.cached_bytes -= self.log.truncate_after(index);
        self.flushed = self.flushed.min(index);
    }

    /// Entries were written at these places; an entry replaced since is passed over.
    pub(crate) fn on_written(&mut self, written: impl Iterator<Item = (u64, u64, Place)>) {
        for (index, ticket, place) in written {
            for file in self.open_files.values_mut() {
                // What an earlier file holds from this index on is replaced by this one.
                if file.id.sequence != place.sequence
                    && let Some((first, last)) = file.entries
                    && last >= index
                {
                    file.entries = (first < index).then_some((first, index - 1));
                }
            }
            if let Some(file) = self.open_files.get_mut(&place.sequence) {
                let first = file.entries.map_or(index, |(first, _)| first.min(index));
                file.entries = Some((first, index));
            }
            if let Some(slot) = self.log.get_mut(index)
                && slot.ticket == ticket
            {
                slot.place = Some(place);
            }
        }
    }

    /// Everything written so far is on stable storage.
    pub(crate) fn on_flushed(&mut self, flushed: impl Iterator<Item = (u64, u64)>) {
        for (index, ticket) in flushed {
            if let Some(slot) = self.log.get_mut(index)
                && slot.ticket == ticket
            {
                slot.flushed = true;
            }
        }
        while self.log.get(self.flushed + 1).is_some_and(|slot| slot.flushed) {
            self.flushed += 1;
        }
    }

    /// Evicts cached bytes until `excess` of them are gone or none may go.
    pub(crate) fn evict(&mut self, excess: usize, ignore_flush: bool) -> usize {
        let settled = if ignore_flush { self.applied } else { self.applied.min(self.flushed) };
        let mut freed = self.recent.evict(excess);
        if freed < excess {
            freed += self.log.evict(excess - freed, |index, slot| index <= settled && slot.place.is_some());
        }
        self.cached_bytes -= freed;
        freed
    }

    /// Forgets entries that Raft no longer reads and no unfinished file holds.
    pub(crate) fn drop_slots(&mut self) {
        let oldest_open = self.open_files.values().filter_map(|file| file.entries).map(|(first, _)| first).min();
        let keep_from = oldest_open.unwrap_or(u64::MAX).min(self.flushed + 1);
        self.cached_bytes -= self.log.drop_to(self.floor.index.min(keep_from - 1));
    }

    /// Whether a finished file has to stay: somebody copies it, or an unfinished file has what it has, too, which
    /// would count anew without it.
    pub(crate) fn is_pinned(&self, file: &Finished) -> bool {
        self.pins.contains_key(&file.id) || self.open_files.values().any(|open| open.copies.contains(&file.id))
    }

    /// The files that have to stay.
    pub(crate) fn pinned(&self) -> BTreeSet<FileId> {
        let copies = self.open_files.values().flat_map(|open| &open.copies);
        self.pins.keys().chain(copies).copied().collect()
    }

    /// Orders files by rank: of two that hold records of one stream, the older records come first.
    pub(crate) fn sort_files(files: &mut [Arc<Finished>]) {
        files.sort_by_key(|file| (file.table.first_index, file.id));
    }

    /// What is on disk now, as a manifest.
    pub(crate) fn describe(&mut self) -> Manifest {
        let manifest = &mut self.manifest;
        manifest.generation += 1;
        manifest.next_sequence = self.next_sequence;
        manifest.floor = self.floor;
        // The log file that has the last vote may be finished or given back.
        manifest.vote_number = self.vote_number;
        manifest.vote = self.vote.as_ref().map(|vote| vote.to_vec()).unwrap_or_default();
        manifest.logs_from = self.open_files.keys().next().copied().unwrap_or(self.next_sequence);
        manifest.files = self.finished.iter().map(|file| file.listed()).collect();
        manifest.refused = self.refused.clone();
        let (current, flushed) = self.current_flushed;
        let rolled = self.open_files.iter().filter(|(_, file)| file.rolled);
        manifest.flushed = rolled.map(|(sequence, file)| (*sequence, file.end)).collect();
        if self.open_files.get(&current).is_some_and(|file| !file.rolled) {
            manifest.flushed.push((current, flushed));
        }
        manifest.clone()
    }
}
