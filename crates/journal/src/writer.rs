//! The one that writes: takes what waits, puts it into the current log file with one `writev`,
//! syncs once for all of it, and tells whoever waited.
//!
//! A storage error never leaves this file. A failed write or sync abandons the log file: it is never
//! synced again, and everything not known to be on stable storage is written once more, from
//! memory, into a new one. While the disk is full the writer waits. Nothing is acknowledged
//! meanwhile, and service resumes by itself.
//!
//! The writer decides; whoever drives it (a thread, or the simulator) only calls [`Writer::write`]
//! and [`Writer::sync`] as they ask.

use crate::canary::Fault;
use crate::disk::DiskFile;
use crate::file::{FileHeader, FileId, FileKind, HEADER_BYTES, name};
use crate::frame::{ALIGNMENT, FrameHead, HEAD_BYTES, Kind, frame_bytes};
use crate::journal::Journal;
use crate::log::Place;
use crate::manifest::LogPosition;
use crate::state::{Done, Job, LogFile, Space, Work};
use bytes::Bytes;
use model::checksum::crc32c;
use model::limit;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What the writer wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing waits.
    Idle,
    /// Call [`Writer::sync`] now: somebody waits for stable storage.
    Sync,
    /// Call [`Writer::sync`] within this time; until then more may be written.
    SyncWithin(Duration),
    /// Storage refused. Call [`Writer::write`] again after this time.
    Retry(Duration),
}

/// How long a full or failing disk is left alone.
const RETRY: Duration = Duration::from_millis(100);

/// The current log file.
struct Current {
    sequence: u64,
    id: FileId,
    file: Arc<dyn DiskFile>,
    position: u64,
    /// Bytes on stable storage.
    flushed: u64,
    capacity: u64,
    pieces: usize,
}

/// See the module's documentation.
pub struct Writer {
    journal: Arc<Journal>,
    current: Option<Current>,
    /// Written, or to be written again, and not known to be on stable storage.
    unsynced: Vec<Job>,
    unsynced_bytes: usize,
    /// How many of `unsynced` are in the current file; the rest has to be written.
    written: usize,
    /// The last log file, known flushed up to a position: what the next file's header says.
    previous: Option<(u64, u64)>,
    /// Bytes of the file before: a shard that writes little gets small files.
    last_file_bytes: u64,
}

impl Writer {
    pub(crate) fn new(journal: Arc<Journal>, previous: Option<(u64, u64)>) -> Self {
        Writer {
            journal,
            current: None,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            written: 0,
            previous,
            last_file_bytes: 0,
        }
    }

    /// The journal it writes for.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Writes what waits.
    pub fn write(&mut self) -> Next {
        self.take_jobs();
        match self.write_unwritten() {
            Ok(()) => {}
            Err(error) => {
                self.on_error("write", &error);
                return Next::Retry(RETRY);
            }
        }
        self.complete_without_sync();
        if self.unsynced.is_empty() {
            Next::Idle
        } else if self.unsynced.iter().any(|job| job.fsync) || self.unsynced_bytes >= limit::UNSYNCED_BYTES_MAX {
            Next::Sync
        } else {
            Next::SyncWithin(self.journal.options.sync_delay)
        }
    }

    /// Makes what was written durable and tells whoever waited.
    pub fn sync(&mut self) -> Next {
        let Some(current) = self.current.as_mut() else {
            return Next::Idle;
        };
        let (skip, began) = (self.journal.faulty(Fault::NoFsync), Instant::now());
        if !skip && let Err(error) = current.file.sync() {
            self.on_error("sync", &error);
            return Next::Retry(RETRY);
        }
        self.journal.counters.fsync_seconds.observe(began.elapsed());
        self.journal.counters.fsyncs.fetch_add(1, Relaxed);
        current.flushed = current.position;
        self.previous = Some((current.sequence, current.flushed));
        let jobs: Vec<Job> = self.unsynced.drain(..self.written).collect();
        self.written = 0;
        self.unsynced_bytes = 0;
        {
            let mut state = self.journal.state.lock();
            state.on_flushed(jobs.iter().filter_map(|job| match &job.work {
                Work::Entry { ticket, entry, .. } => Some((entry.at.index, *ticket)),
                Work::Vote { .. } | Work::Nothing => None,
            }));
            state.current_flushed = (current.sequence, current.flushed);
        }
        for done in jobs.into_iter().filter_map(|job| job.done) {
            done();
        }
        self.journal.trim_cache();
        Next::Idle
    }

    fn take_jobs(&mut self) {
        let mut state = self.journal.state.lock();
        let mut bytes = 0;
        while bytes < limit::WRITE_BYTES_MAX
            && let Some(job) = state.jobs.pop_front()
        {
            if let Work::Entry { entry, .. } = &job.work {
                bytes += entry.payload.len();
            }
            self.unsynced.push(job);
        }
        state.job_bytes -= bytes.min(state.job_bytes);
        self.unsynced_bytes += bytes;
    }

    /// Writes everything of `unsynced` that is not in the current file, rolling as need be.
    fn write_unwritten(&mut self) -> io::Result<()> {
        while self.written < self.unsynced.len() {
            let first_bytes = job_bytes(&self.unsynced[self.written]);
            let roll = self.journal.state.lock().roll;
            let fits = !roll
                && self.current.as_ref().is_some_and(|current| {
                    current.position + first_bytes <= current.capacity
                        && current.pieces < self.journal.options.file_pieces_max
                });
            if !fits {
                self.roll(first_bytes)?;
            }
            self.write_run()?;
        }
        Ok(())
    }

    /// Writes as many jobs as fit the current file.
    fn write_run(&mut self) -> io::Result<()> {
        let Some(current) = self.current.as_mut() else {
            return Ok(());
        };
        let jobs = &self.unsynced[self.written..];
        let state = self.journal.state.lock();
        let mut position = current.position;
        let mut heads = Vec::with_capacity(jobs.len());
        let mut places = Vec::with_capacity(jobs.len());
        let mut pieces = current.pieces;
        let mut passed = 0;
        for job in jobs {
            if position + job_bytes(job) > current.capacity || pieces >= self.journal.options.file_pieces_max {
                break;
            }
            let (kind, at, payload, meta_bytes, counts) = match &job.work {
                Work::Entry { entry, ticket } => {
                    let counts = state.log.get(entry.at.index).is_some_and(|slot| slot.ticket == *ticket);
                    (entry.kind, entry.at, &entry.payload, entry.meta_bytes as usize, counts)
                }
                Work::Vote { number, vote } => {
                    (Kind::Vote, LogPosition { term: 0, index: *number }, vote, vote.len(), false)
                }
                Work::Nothing => {
                    passed += 1;
                    continue;
                }
            };
            let (meta, body) = payload.split_at(meta_bytes);
            let head = FrameHead {
                kind,
                shard: self.journal.options.shard,
                term: at.term,
                index: at.index,
                // An entry that was replaced since is not what is committed at its index, and what
                // follows in this file may have been replaced by what is not written yet.
                committed: if counts { state.committed.min(at.index) } else { 0 },
                flushed: current.flushed,
                meta_bytes: meta.len() as u32,
                body_bytes: body.len() as u32,
                body_crc: crc32c(body),
            };
            heads.push((head.encode(current.id.number(), position, meta), payload));
            if let Work::Entry { ticket, entry, .. } = &job.work {
                places.push((entry.at.index, *ticket, Place { sequence: current.sequence, position }));
                if kind == Kind::Entry {
                    pieces += model::entry::descriptions(meta).map_or(0, |pieces| pieces.len());
                }
            }
            position += head.frame_bytes();
        }
        drop(state);
        let count = heads.len();
        let padding = [0u8; ALIGNMENT];
        let mut slices = Vec::with_capacity(count * 3);
        for (head, payload) in &heads {
            slices.push(IoSlice::new(head));
            if !payload.is_empty() {
                slices.push(IoSlice::new(payload));
            }
            let used = HEAD_BYTES + payload.len();
            let pad = used.next_multiple_of(ALIGNMENT) - used;
            if pad > 0 {
                slices.push(IoSlice::new(&padding[..pad]));
            }
        }
        let bytes = position - current.position;
        let (counters, began) = (&self.journal.counters, Instant::now());
        if bytes >= limit::WRITE_AROUND_BYTES_MIN && !self.journal.is_read_behind() {
            current.file.write_around(current.position, &slices)?;
            counters.around_bytes.fetch_add(bytes, Relaxed);
        } else {
            current.file.write_at(current.position, &slices)?;
        }
        counters.write_seconds.observe(began.elapsed());
        counters.log_bytes.fetch_add(bytes, Relaxed);
        current.position = position;
        current.pieces = pieces;
        self.written += count + passed;
        let mut state = self.journal.state.lock();
        state.on_written(places.into_iter());
        if let Some(file) = state.open_files.get_mut(&current.sequence) {
            file.end = position;
        }
        Ok(())
    }

    /// Starts a new log file with room for a frame of `least` bytes.
    fn roll(&mut self, least: u64) -> io::Result<()> {
        if self.current.is_some() {
            // A file is left only when all of it is on stable storage, so that damage in it can be
            // told from a torn tail.
            if self.written > 0 && self.sync() != Next::Idle {
                return Err(io::Error::other("the file before could not be synced"));
            }
            if let Some(old) = self.current.take() {
                self.last_file_bytes = old.position;
                self.journal.close_log_file(old.sequence, old.position, false);
            }
        }
        let sequence = self.journal.take_sequence();
        let (vote, vote_number) = {
            let mut state = self.journal.state.lock();
            state.roll = false;
            (state.vote.clone(), state.vote_number)
        };
        let vote_bytes = vote.as_ref().map_or(0, |vote| frame_bytes(vote.len()));
        let bounds =
            (limit::LOG_FILE_BYTES_MIN.min(self.journal.options.log_file_bytes), self.journal.options.log_file_bytes);
        let least = HEADER_BYTES as u64 + vote_bytes + least;
        let capacity = (self.last_file_bytes * 2).clamp(bounds.0, bounds.1).max(least);
        let id = FileId { journal: self.journal.id(), sequence };
        let file = self.journal.create_log_file(&name(id, FileKind::Log), capacity, least)?;
        let capacity = file.length()?;
        let header = FileHeader {
            id,
            kind: FileKind::Log,
            shard: self.journal.options.shard,
            previous: self.previous,
            copy: false,
        };
        let position = match self.start_file(&*file, &header, vote_number, vote.as_ref()) {
            Ok(position) => position,
            Err(error) => {
                // The first error is what matters. Left over, the file would take room, and raise a
                // question at the next start.
                let _ = self.journal.disk.remove(&name(id, FileKind::Log));
                return Err(error);
            }
        };
        let log_file = LogFile {
            id,
            file: file.clone(),
            entries: None,
            end: position,
            rolled: false,
            poisoned: false,
            copies: Vec::new(),
        };
        self.journal.state.lock().open_files.insert(sequence, log_file);
        self.current = Some(Current { sequence, id, file, position, flushed: position, capacity, pieces: 0 });
        self.previous = Some((sequence, position));
        Ok(())
    }

    /// Gives a log file its header and the last vote; on stable storage on return. Returns where the
    /// first frame goes.
    fn start_file(
        &self,
        file: &dyn DiskFile,
        header: &FileHeader,
        vote_number: u64,
        vote: Option<&Bytes>,
    ) -> io::Result<u64> {
        let mut position = HEADER_BYTES as u64;
        file.write_at(0, &[IoSlice::new(&header.encode())])?;
        if let Some(vote) = vote {
            let head = FrameHead {
                kind: Kind::Vote,
                shard: self.journal.options.shard,
                term: 0,
                index: vote_number,
                committed: 0,
                flushed: 0,
                meta_bytes: vote.len() as u32,
                body_bytes: 0,
                body_crc: crc32c(&[]),
            };
            file.write_at(
                position,
                &[IoSlice::new(&head.encode(header.id.number(), position, vote)), IoSlice::new(vote)],
            )?;
            position += frame_bytes(vote.len());
        }
        file.sync()?;
        self.journal.disk.sync_names()?;
        Ok(position)
    }

    /// Gives up the current file after a failed write or sync.
    fn on_error(&mut self, what: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::StorageFull {
            tracing::warn!(shard = %self.journal.options.shard, "disk full: appends wait for space");
            self.journal.set_space(Space::None);
        } else {
            tracing::error!(shard = %self.journal.options.shard, %error, what, "storage error: leaving the log file");
        }
        self.journal.counters.storage_errors.fetch_add(1, Relaxed);
        self.written = 0;
        if let Some(current) = self.current.take() {
            self.previous = Some((current.sequence, current.flushed));
            self.journal.close_log_file(current.sequence, current.flushed, true);
        }
    }

    /// Completes what does not wait for stable storage: everything written in front of the first
    /// job that does, because a log has no holes.
    fn complete_without_sync(&mut self) {
        for job in &mut self.unsynced[..self.written] {
            if job.fsync {
                break;
            }
            if let Some(done) = job.done.take() {
                done();
            }
        }
    }

    /// Whether everything asked for is on stable storage.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.unsynced.is_empty() && self.journal.state.lock().jobs.is_empty()
    }
}

impl Drop for Writer {
    /// Whoever waits for what is not written yet would wait for ever.
    fn drop(&mut self) {
        let unwritten = {
            let mut state = self.journal.state.lock();
            (state.writer_is_gone, state.unwritten) = (true, self.unsynced.iter().any(Job::is_work));
            state.take_unwritten()
        };
        drop(unwritten);
    }
}

fn job_bytes(job: &Job) -> u64 {
    match &job.work {
        Work::Entry { entry, .. } => frame_bytes(entry.payload.len()),
        Work::Vote { vote, .. } => frame_bytes(vote.len()),
        Work::Nothing => 0,
    }
}

/// A completion that does nothing.
#[must_use]
pub fn nobody() -> Done {
    Box::new(|| {})
}
