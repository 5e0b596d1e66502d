//! The journal's handle: what the shard calls.
//!
//! Nothing here blocks on the disk except where its documentation says so.

use crate::canary::Fault;
use crate::cursors::Cursors;
use crate::damage::Damage;
use crate::disk::{Disk, DiskFile};
use crate::file::{FileId, FileKind, parse_name};
use crate::frame::HEAD_BYTES;
use crate::log::LogEntry;
use crate::manifest::LogPosition;
use crate::state::{Done, Finished, Job, Space, State, Work};
use bytes::Bytes;
use model::{Histogram, PieceDesc, ShardId, limit};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The tail cache's budget, one for all journals of a node.
#[derive(Debug)]
pub struct CacheBudget {
    limit: usize,
    used: AtomicUsize,
    journals: AtomicUsize,
}

impl CacheBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(CacheBudget { limit, used: AtomicUsize::new(0), journals: AtomicUsize::new(0) })
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// A journal begins to use it.
    pub(crate) fn join(&self) {
        self.journals.fetch_add(1, Relaxed);
    }

    /// How much a journal that caches `cached` bytes has to give back. One that has no more than its share
    /// gives nothing: that is for the others to do, busy or not.
    fn excess(&self, cached: usize) -> usize {
        let share = self.limit / self.journals.load(Relaxed).max(1);
        self.used().saturating_sub(self.limit).min(cached.saturating_sub(share))
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// What a journal is opened with.
#[derive(Clone)]
pub struct Options {
    /// Whose journal it is.
    pub shard: ShardId,
    /// Largest log file.
    pub log_file_bytes: u64,
    /// A log file also ends after so many pieces.
    pub file_pieces_max: usize,
    /// How long what nobody waits for may be unsynced.
    pub sync_delay: Duration,
    /// Within this time the scrubber reads everything once.
    pub scrub_period: Duration,
    /// Bytes kept reserved for the work that frees space when the disk is full.
    pub reserve_bytes: u64,
    /// The tail cache's budget.
    pub cache: Arc<CacheBudget>,
    /// A random number: the id of a new journal.
    pub fresh_id: u64,
    /// Called, without locks held, when the writer has something to do.
    pub wake_writer: Arc<dyn Fn() + Send + Sync>,
    /// A known fault, for builds that prove the checkers.
    #[cfg(feature = "canary")]
    pub fault: Option<Fault>,
}

impl Options {
    /// The usual options for `shard`.
    #[must_use]
    pub fn new(shard: ShardId, cache: Arc<CacheBudget>, fresh_id: u64) -> Self {
        Options {
            shard,
            log_file_bytes: limit::LOG_FILE_BYTES_MAX,
            file_pieces_max: limit::FILE_EXTENTS_MAX,
            sync_delay: Duration::from_millis(200),
            scrub_period: Duration::from_secs(limit::SCRUB_PERIOD_SECONDS),
            reserve_bytes: limit::LOG_FILE_BYTES_MIN,
            cache,
            fresh_id,
            wake_writer: Arc::new(|| {}),
            #[cfg(feature = "canary")]
            fault: None,
        }
    }
}

/// Counters since the journal was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of frames written to log files.
    pub log_bytes: AtomicU64,
    /// Of these, bytes written around the page cache.
    pub around_bytes: AtomicU64,
    /// Bytes written to packed files.
    pub packed_bytes: AtomicU64,
    /// Bytes written as checkpoints.
    pub checkpoint_bytes: AtomicU64,
    /// Syncs of log files.
    pub fsyncs: AtomicU64,
    /// Writes and syncs that failed.
    pub storage_errors: AtomicU64,
    /// Files given back.
    pub files_removed: AtomicU64,
    /// Times entries at the end of the log were replaced by another leader's.
    pub truncations: AtomicU64,
    /// Of these, how often some were in a file before the one being written.
    pub truncations_across_files: AtomicU64,
    /// Times the floor was moved.
    pub purges: AtomicU64,
    /// Snapshots installed.
    pub installs: AtomicU64,
    /// Bytes of snapshots copied from other replicas.
    pub pulled_bytes: AtomicU64,
    /// Parts of snapshots that were gone on with where an earlier try had ended.
    pub parts_resumed: AtomicU64,
    /// Parts of snapshots that were here whole when they were asked for.
    pub parts_reused: AtomicU64,
    /// Parts of snapshots that were not what they should be, and were copied again.
    pub parts_refused: AtomicU64,
    /// Chunks of snapshots that had changed on the way.
    pub chunks_refused: AtomicU64,
    /// Reads of pieces answered from memory.
    pub cache_hits: AtomicU64,
    /// Reads of pieces that went to a file.
    pub cache_misses: AtomicU64,
    /// Damaged ranges found.
    pub damage_found: AtomicU64,
    /// Of these, those that were repaired or that nobody wanted any more.
    pub damage_mended: AtomicU64,
    /// Times the compacted part of streams was taken over from another replica.
    pub takeovers: AtomicU64,
    /// Bytes read by the scrubber.
    pub scrubbed_bytes: AtomicU64,
    /// Times the shard went on although acknowledged entries may have been lost.
    pub possible_losses: AtomicU64,
    /// How long writes to log files took.
    pub write_seconds: Histogram,
    /// How long syncs of log files took.
    pub fsync_seconds: Histogram,
    /// From when entries were handed over until they were as durable as they had to be.
    pub append_seconds: Histogram,
    /// Times files were rewritten as packed files.
    pub packs: AtomicU64,
    /// How often that is under way now.
    pub packing: AtomicU64,
    /// Bytes read to be rewritten.
    pub pack_read_bytes: AtomicU64,
    /// Bytes of finished files given back.
    pub reclaimed_bytes: AtomicU64,
}

/// See the module's documentation.
pub struct Journal {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) state: Mutex<State>,
    /// Held while the manifest is replaced, so that replacements follow one another.
    pub(crate) manifest_lock: Mutex<()>,
    /// Held while a file is finished or a snapshot installed: both read what counts, work, and then change it. Taken
    /// before the manifest's.
    pub(crate) finish_lock: Mutex<()>,
    /// Entries were lost, and nobody has said yet which records with them: a gap may be a loss.
    pub(crate) gaps_unknown: AtomicBool,
    /// How often a snapshot was installed.
    pub(crate) installs: AtomicU64,
    /// How much is known to be damaged, to be seen without the lock.
    pub(crate) damaged: AtomicUsize,
    /// Bytes written to log files when pieces were last read from a file; `u64::MAX` before.
    pub(crate) read_behind_at: AtomicU64,
    pub(crate) cursors: Cursors,
    /// Counters, for metrics.
    pub counters: Arc<Counters>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({})", self.options.shard)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.options.cache.release(self.state.get_mut().cached_bytes);
        self.options.cache.journals.fetch_sub(1, Relaxed);
    }
}

/// Where a look-up of an entry led.
#[derive(Debug)]
pub(crate) enum EntrySource {
    Memory(LogEntry),
    File {
        at: LogPosition,
        kind: crate::frame::Kind,
        meta_bytes: u32,
        bytes: usize,
        position: u64,
        file_number: u128,
        file: Arc<dyn DiskFile>,
    },
}

impl fmt::Debug for dyn DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskFile")
    }
}

/// Why entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// The entry is below the floor or above the last.
    #[error("entry {0} is not in the log")]
    Absent(u64),
    /// Its bytes on disk are not what was written.
    #[error("entry {0} is damaged on disk")]
    Damaged(u64),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Journal {
    /// The journal's own id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.state.lock().manifest.journal
    }

    /// Whose journal it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.options.shard
    }

    /// Whether this known fault is switched on: see [`crate::canary`].
    #[must_use]
    pub fn faulty(&self, fault: Fault) -> bool {
        #[cfg(feature = "canary")]
        return self.options.fault == Some(fault);
        #[cfg(not(feature = "canary"))]
        {
            let _ = fault;
            false
        }
    }

    // ---- the Raft log -------------------------------------------------------------------------

    /// Appends entries, each with whether it has to be on stable storage before `done` is called.
    /// They can be read when this returns; `done` follows when the last is written, and everything
    /// that needs it is on stable storage.
    ///
    /// # Panics
    /// When the entries do not follow the log's last.
    pub fn append(&self, entries: Vec<(LogEntry, bool)>, done: Done) {
        if entries.is_empty() {
            done();
            return;
        }
        let added: usize = entries.iter().map(|(entry, _)| entry.payload.len()).sum();
        let (counters, began) = (self.counters.clone(), Instant::now());
        let done = Box::new(move || {
            counters.append_seconds.observe(began.elapsed());
            done();
        });
        let mut state = self.state.lock();
        state.append(entries, done);
        self.options.cache.used.fetch_add(added, Relaxed);
        self.wake_writer(state);
        self.trim_cache();
    }

    /// Forgets entries above `index`. Their bytes stay where they are; recovery goes by what is
    /// appended next, with the same or a lower index.
    ///
    /// # Panics
    /// When an entry above `index` was applied.
    pub fn truncate_after(&self, index: u64) {
        let keep = if self.faulty(Fault::TruncateOffByOne) { index + 1 } else { index };
        let mut state = self.state.lock();
        let before = state.cached_bytes;
        if let Some(first) = state.log.get(keep + 1) {
            let file = first.place.and_then(|place| state.open_files.get(&place.sequence));
            let across = file.is_some_and(|file| file.rolled);
            self.counters.truncations.fetch_add(1, Relaxed);
            self.counters.truncations_across_files.fetch_add(u64::from(across), Relaxed);
        }
        state.truncate_after(keep);
        let freed = before - state.cached_bytes;
        drop(state);
        self.options.cache.release(freed);
    }

    /// Saves the vote; `done` follows when it is on stable storage.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        let mut state = self.state.lock();
        state.vote = Some(vote.clone());
        state.vote_number += 1;
        if self.faulty(Fault::VoteNotPersisted) {
            drop(state);
            return done();
        }
        let number = state.vote_number;
        state.jobs.push_back(Job { work: Work::Vote { number, vote }, fsync: true, done: Some(done) });
        self.wake_writer(state);
    }

    /// Calls `done` when everything appended so far is on stable storage.
    pub fn flush(&self, done: Done) {
        let mut state = self.state.lock();
        state.jobs.push_back(Job { work: Work::Nothing, fsync: true, done: Some(done) });
        self.wake_writer(state);
    }

    /// Tells the writer, or whoever waits for it if there is none any more.
    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let unwritten = state.take_unwritten();
        drop(state);
        drop(unwritten);
        (self.options.wake_writer)();
    }

    /// The last vote saved.
    #[must_use]
    pub fn vote(&self) -> Option<Bytes> {
        self.state.lock().vote.clone()
    }

    /// Notes that entries up to `index` are committed; written with the next frame.
    pub fn set_committed(&self, index: u64) {
        let mut state = self.state.lock();
        state.committed = state.committed.max(index);
    }

    /// Index known committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.state.lock().committed
    }

    /// Moves the floor: entries up to `at` will not be read as Raft log any more.
    pub fn purge(&self, at: LogPosition) {
        let mut state = self.state.lock();
        if at.index > state.floor.index {
            state.floor = at;
            let before = state.cached_bytes;
            state.drop_slots();
            let freed = before - state.cached_bytes;
            drop(state);
            self.options.cache.release(freed);
            self.counters.purges.fetch_add(1, Relaxed);
        }
    }

    /// The floor.
    #[must_use]
    pub fn floor(&self) -> LogPosition {
        self.state.lock().floor
    }

    /// The last entry, or the floor when there is none.
    #[must_use]
    pub fn last(&self) -> LogPosition {
        let state = self.state.lock();
        state.log.last().max(state.floor)
    }

    /// The earliest entry from which on at most `bytes_max` bytes of log follow: what to keep for
    /// followers that lag a little.
    #[must_use]
    pub fn index_keeping(&self, bytes_max: u64) -> u64 {
        let state = self.state.lock();
        let (mut index, mut bytes) = (state.log.last().index, 0);
        while let Some(slot) = state.log.get(index) {
            bytes += u64::from(slot.meta_bytes) + u64::from(slot.body_bytes);
            if bytes > bytes_max {
                break;
            }
            index -= 1;
        }
        index + 1
    }

    /// Entries up to here are on stable storage.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.state.lock().flushed
    }

    /// The term of entry `index`, if the log has it.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        let state = self.state.lock();
        if index == state.floor.index {
            return Some(state.floor.term);
        }
        state.log.get(index).filter(|_| index > state.floor.index).map(|slot| slot.term)
    }

    /// Of the entries above the floor from `first` to `last`, the last of each term.
    #[must_use]
    pub fn term_ends(&self, first: u64, last: u64) -> Vec<LogPosition> {
        let state = self.state.lock();
        state.log.term_ends(first.max(state.floor.index + 1), last)
    }

    /// Reads entries from `from` to `to`, exclusive, but no more than `bytes_max` bytes of them
    /// beyond the first. May read files.
    ///
    /// # Errors
    /// See [`LogReadError`]. An entry that is absent at the start is an error; absent ones at the
    /// end are left out.
    pub fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<LogEntry>, LogReadError> {
        self.read_entries(from, to, bytes_max, false)
    }

    /// With `meta_only`, a body that is not what was written is no error.
    pub(crate) fn read_entries(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
        meta_only: bool,
    ) -> Result<Vec<LogEntry>, LogReadError> {
        let mut sources = Vec::new();
        {
            let state = self.state.lock();
            let mut bytes = 0;
            for index in from..to.min(state.log.last().index + 1) {
                let slot = state.log.get(index).filter(|_| index > state.floor.index);
                let slot = slot.ok_or(LogReadError::Absent(index))?;
                let size = slot.meta_bytes as usize + slot.body_bytes as usize;
                if !sources.is_empty() && bytes + size > bytes_max {
                    break;
                }
                bytes += size;
                sources.push(Self::source(&state, index, slot)?);
            }
        }
        let noting = |read: Result<LogEntry, LogReadError>| {
            read.inspect_err(|error| {
                if let LogReadError::Damaged(index) = error {
                    self.note_damage(Damage::Entry { index: *index });
                }
            })
        };
        sources.into_iter().map(|source| noting(source.read(meta_only))).collect()
    }

    fn source(state: &State, index: u64, slot: &crate::log::Slot) -> Result<EntrySource, LogReadError> {
        let at = LogPosition { term: slot.term, index };
        if slot.is_lost() {
            return Ok(EntrySource::Memory(LogEntry { at, kind: slot.kind, payload: Bytes::new(), meta_bytes: 0 }));
        }
        if let Some(payload) = slot.cached.as_ref().or_else(|| state.recent.entry(index)) {
            let (payload, meta_bytes) = (payload.clone(), slot.meta_bytes);
            return Ok(EntrySource::Memory(LogEntry { at, kind: slot.kind, payload, meta_bytes }));
        }
        Self::source_on_disk(state, index, slot)
    }

    pub(crate) fn source_on_disk(
        state: &State,
        index: u64,
        slot: &crate::log::Slot,
    ) -> Result<EntrySource, LogReadError> {
        let at = LogPosition { term: slot.term, index };
        let place = slot.place.ok_or(LogReadError::Absent(index))?;
        let file = state.log_file(place.sequence).ok_or(LogReadError::Absent(index))?;
        Ok(EntrySource::File {
            at,
            kind: slot.kind,
            meta_bytes: slot.meta_bytes,
            bytes: slot.meta_bytes as usize + slot.body_bytes as usize,
            position: place.position,
            file_number: FileId { journal: state.manifest.journal, sequence: place.sequence }.number(),
            file,
        })
    }

    // ---- what the machine said ----------------------------------------------------------------

    /// Says that entry `index` has been applied, and with which of its pieces: those from now on can
    /// be read by stream and offset. Entries are applied in order.
    ///
    /// # Panics
    /// When `index` does not follow the entry applied before.
    pub fn publish(&self, index: u64, accepted: &[PieceDesc], refused: &[u32]) {
        let mut state = self.state.lock();
        assert_eq!(index, state.applied + 1, "entries are applied in order");
        state.applied = index;
        state.committed = state.committed.max(index);
        // Entries of finished files are applied again when the checkpoint is older than they are:
        // their table has their pieces.
        let mut holding = state.finished.iter().filter(|file| file.table.last_index >= index).peekable();
        let is_tabled = holding.peek().is_some();
        // Which pieces were refused is said with the file that has the entry as log. One that came with a snapshot may
        // reach above it, and says so of itself alone.
        let own = state.manifest.journal;
        let is_said = holding.any(|file| file.kind == FileKind::Log && file.id.journal == own);
        if !is_tabled {
            for piece in accepted {
                state.active.push(index, piece);
            }
        }
        if !is_said {
            state.refused.extend(refused.iter().map(|nth| (index, *nth)));
        }
    }

    /// Entries up to here have been applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.state.lock().applied
    }

    // ---- space --------------------------------------------------------------------------------

    /// How much room the disk has.
    #[must_use]
    pub fn space(&self) -> Space {
        self.state.lock().space
    }

    /// Whether new work may be admitted: whatever else there is has to be kept with what is left.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.space() == Space::Enough
    }

    pub(crate) fn set_space(&self, space: Space) {
        self.state.lock().space = space;
    }

    /// Bytes accepted and not yet written: the writer's queue.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().job_bytes
    }

    /// Bytes of files the journal has, tables included; unfinished files count what is written.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let state = self.state.lock();
        let finished: u64 = state.finished.iter().map(|file| file.length).sum();
        finished + state.open_files.values().map(|file| file.end).sum::<u64>()
    }

    /// The finished files, by rank.
    #[must_use]
    pub fn finished(&self) -> Arc<Vec<Arc<Finished>>> {
        self.state.lock().finished.clone()
    }

    /// Bytes of memory the index and the log take, cached entries not counted.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        let state = self.state.lock();
        let fences: usize = state.finished.iter().map(|file| file.table.memory_bytes()).sum();
        fences
            + state.recent.index_bytes()
            + state.log.memory_bytes()
            + state.active.len() * size_of::<crate::active::ActiveExtent>()
    }

    /// Drops cached entries while the node's budget is exceeded. Only what is applied and on stable
    /// storage goes. An idle journal does so when it looks after its files.
    pub(crate) fn trim_cache(&self) {
        if self.options.cache.used() > self.options.cache.limit {
            let ignore_flush = self.faulty(Fault::EvictUnflushed);
            let mut state = self.state.lock();
            let excess = self.options.cache.excess(state.cached_bytes);
            let freed = state.evict(excess, ignore_flush);
            drop(state);
            self.options.cache.release(freed);
        }
    }

    // ---- for the writer -----------------------------------------------------------------------

    /// A number that no file of this journal has had.
    pub(crate) fn take_sequence(&self) -> u64 {
        let mut state = self.state.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        sequence
    }

    /// Creates a log file of `bytes` bytes; when the disk is full, of what the reserve has, if that
    /// is at least `least`.
    pub(crate) fn create_log_file(&self, name: &str, bytes: u64, least: u64) -> io::Result<Arc<dyn DiskFile>> {
        match self.disk.create(name, bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && least <= self.options.reserve_bytes => {
                self.disk.rename(crate::reserve::NAME, name).map_err(|_| error)?;
                self.set_space(Space::Reserve);
                tracing::warn!(shard = %self.options.shard, "disk full: the reserve is in use, new work is refused");
                self.disk.open(name)
            }
            other => other,
        }
    }

    pub(crate) fn close_log_file(&self, sequence: u64, end: u64, poisoned: bool) {
        let mut state = self.state.lock();
        let State { open_files, log, .. } = &mut *state;
        if let Some(file) = open_files.get_mut(&sequence) {
            file.rolled = true;
            file.poisoned = poisoned;
            file.end = end;
            // What lies beyond the end is going to be written again: it has no place until then.
            if let Some((first, last)) = file.entries {
                let mut kept = None;
                for index in first..=last {
                    let Some(slot) = log.get_mut(index) else { continue };
                    match slot.place {
                        Some(place) if place.sequence == sequence && place.position >= end => slot.place = None,
                        _ => kept = Some(index),
                    }
                }
                file.entries = kept.map(|last| (first, last));
            }
        }
    }

    /// Replaces the manifest by what counts now, after `change`.
    pub(crate) fn write_manifest(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let _one_at_a_time = self.manifest_lock.lock();
        let manifest = {
            let mut state = self.state.lock();
            change(&mut state);
            state.describe()
        };
        manifest.write(&*self.disk)?;
        // Nothing on disk speaks of them any more, except where a snapshot has brought one back.
        let leftovers = {
            let mut state = self.state.lock();
            let mut leftovers = std::mem::take(&mut state.leftovers);
            if !leftovers.is_empty() {
                let counting = state.counting();
                leftovers.retain(|name| parse_name(name).is_none_or(|file| !counting.contains(&file)));
            }
            leftovers
        };
        for name in leftovers {
            match self.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => self.state.lock().leftovers.push(name),
                _ => {}
            }
        }
        Ok(())
    }

    /// Tries again to remove files that do not count any more. Blocks on the disk.
    ///
    /// # Errors
    /// As the disk says.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        let none = self.state.lock().leftovers.is_empty();
        if none { Ok(()) } else { self.write_manifest(|_| ()) }
    }

    /// Stops the writer once everything appended is on stable storage.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        (self.options.wake_writer)();
    }

    /// Whether [`Journal::stop`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Says that everything is synced and nothing will be written: the next start has no doubts.
    ///
    /// # Errors
    /// As the disk says.
    pub fn close(&self) -> io::Result<()> {
        self.write_manifest(|state| state.manifest.clean = !state.unwritten && !state.jobs.iter().any(Job::is_work))
    }
}

impl State {
    /// The log and packed files that count.
    fn counting(&self) -> BTreeSet<(FileId, FileKind)> {
        let open = self.open_files.values().map(|file| (file.id, FileKind::Log));
        let finished = self.finished.iter().map(|file| (file.id, file.kind));
        open.chain(finished).collect()
    }

    /// The own log file with this sequence, finished or not.
    pub(crate) fn log_file(&self, sequence: u64) -> Option<Arc<dyn DiskFile>> {
        if let Some(file) = self.open_files.get(&sequence) {
            return Some(file.file.clone());
        }
        let own = self.manifest.journal;
        let id = FileId { journal: own, sequence };
        self.finished.iter().find(|file| file.id == id).map(|file| file.file.clone())
    }
}

impl EntrySource {
    pub(crate) fn read(self, meta_only: bool) -> Result<LogEntry, LogReadError> {
        match self {
            EntrySource::Memory(entry) => Ok(entry),
            EntrySource::File { at, kind, meta_bytes, bytes, position, file_number, file } => {
                let mut frame = vec![0; HEAD_BYTES + bytes];
                if file.read_at(position, &mut frame).is_err() {
                    return Err(LogReadError::Damaged(at.index));
                }
                let (content, body) = frame.split_at(HEAD_BYTES + meta_bytes as usize);
                let whole = content.first_chunk().is_some_and(|head_bytes| {
                    crate::frame::FrameHead::decode(head_bytes).is_some_and(|head| {
                        head.index == at.index
                            && head.term == at.term
                            && head.verify_meta(head_bytes, file_number, position, &content[HEAD_BYTES..])
                            && (meta_only || head.verify_body(body))
                    })
                });
                if !whole {
                    return Err(LogReadError::Damaged(at.index));
                }
                let payload = Bytes::from(frame).slice(HEAD_BYTES..);
                Ok(LogEntry { at, kind, payload, meta_bytes })
            }
        }
    }
}
