//! A journal in a temporary folder whose writer the test drives.

use bytes::Bytes;
use journal::disk::Folder;
use journal::frame::Kind;
use journal::{CacheBudget, Journal, LogEntry, LogPosition, Next, OpenError, Options, Recovered, Writer};
use model::record::Message;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceDesc, PieceHead, ShardId, StreamId, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Journals have different ids, as if drawn at random.
static FRESH_ID: AtomicU64 = AtomicU64::new(OF_FORMATS + 1);
/// The id of the one journal whose bytes are compared with kept ones.
const OF_FORMATS: u64 = 0xfeed;

pub(crate) struct Fixture {
    _folder: Option<tempfile::TempDir>,
    path: PathBuf,
    pub(crate) journal: Arc<Journal>,
    pub(crate) writer: Writer,
    pub(crate) recovered: Recovered,
    pub(crate) cache: Arc<CacheBudget>,
    cache_bytes: usize,
    log_file_bytes: u64,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(1 << 20, 64 << 10)
    }

    pub(crate) fn with(cache_bytes: usize, log_file_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Self::open(Some(folder), path, cache_bytes, log_file_bytes)
    }

    /// Another journal of the same node: it shares the cache's budget.
    pub(crate) fn beside(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Self::open_with(
            FRESH_ID.fetch_add(1, Ordering::SeqCst),
            self.cache.clone(),
            Some(folder),
            path,
            self.cache_bytes,
            self.log_file_bytes,
        )
    }

    fn open(folder: Option<tempfile::TempDir>, path: PathBuf, cache_bytes: usize, log_file_bytes: u64) -> Self {
        let fresh_id = FRESH_ID.fetch_add(1, Ordering::SeqCst);
        Self::open_with(fresh_id, CacheBudget::new(cache_bytes), folder, path, cache_bytes, log_file_bytes)
    }

    /// A journal that has the same id in every run.
    pub(crate) fn of_formats(cache_bytes: usize, log_file_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let cache = CacheBudget::new(cache_bytes);
        Self::open_with(OF_FORMATS, cache, Some(folder), path, cache_bytes, log_file_bytes)
    }

    fn open_with(
        fresh_id: u64,
        cache: Arc<CacheBudget>,
        folder: Option<tempfile::TempDir>,
        path: PathBuf,
        cache_bytes: usize,
        log_file_bytes: u64,
    ) -> Self {
        let disk = Folder::open(&path).unwrap();
        Self::open_on(disk, fresh_id, cache, folder, path, cache_bytes, log_file_bytes)
    }

    /// In the folder `journal` of a temporary one, and nothing is kept in memory.
    pub(crate) fn on(disk: Folder, folder: tempfile::TempDir, log_file_bytes: u64) -> Self {
        let fresh_id = FRESH_ID.fetch_add(1, Ordering::SeqCst);
        let path = folder.path().join("journal");
        Self::open_on(disk, fresh_id, CacheBudget::new(0), Some(folder), path, 0, log_file_bytes)
    }

    fn open_on(
        disk: Folder,
        fresh_id: u64,
        cache: Arc<CacheBudget>,
        folder: Option<tempfile::TempDir>,
        path: PathBuf,
        cache_bytes: usize,
        log_file_bytes: u64,
    ) -> Self {
        let mut options = Options::new(ShardId(1), cache.clone(), fresh_id);
        options.log_file_bytes = log_file_bytes;
        options.reserve_bytes = log_file_bytes;
        let (journal, writer, recovered) = Journal::open(Arc::new(disk), options).unwrap();
        Fixture { _folder: folder, path, journal, writer, recovered, cache, cache_bytes, log_file_bytes }
    }

    /// The process dies and starts again: what was written stays, what waited is gone.
    pub(crate) fn restart(self) -> Self {
        let Fixture { _folder: folder, path, journal, writer, cache_bytes, log_file_bytes, .. } = self;
        drop((journal, writer));
        Self::open(folder, path, cache_bytes, log_file_bytes)
    }

    /// The process dies, and why its journal does not open again.
    pub(crate) fn refused(&self) -> OpenError {
        let disk = Arc::new(Folder::open(&self.path).unwrap());
        let mut options = Options::new(ShardId(1), self.cache.clone(), 0);
        options.log_file_bytes = self.log_file_bytes;
        options.reserve_bytes = self.log_file_bytes;
        Journal::open(disk, options).err().expect("it does not open")
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Writes and syncs everything that waits.
    pub(crate) fn settle(&mut self) {
        while !self.writer.is_idle() {
            match self.writer.write() {
                Next::Sync | Next::SyncWithin(_) => assert_eq!(self.writer.sync(), Next::Idle),
                Next::Idle => {}
                Next::Retry(_) => panic!("storage refused"),
            }
        }
    }

    pub(crate) fn append(&mut self, entries: Vec<LogEntry>) -> Arc<AtomicBool> {
        let done = Arc::new(AtomicBool::new(false));
        let told = done.clone();
        let entries = entries.into_iter().map(|entry| (entry, true)).collect();
        self.journal.append(entries, Box::new(move || told.store(true, Ordering::SeqCst)));
        done
    }

    /// Appends one entry with these pieces at the log's end, applies it, and writes it.
    pub(crate) fn store(&mut self, pieces: &[(u64, u64, usize)]) -> u64 {
        let index = self.journal.last().index + 1;
        let (entry, descs) = entry(1, index, pieces);
        self.append(vec![entry]);
        self.journal.publish(index, &descs, &[]);
        self.settle();
        index
    }

    pub(crate) fn indexes(&self) -> Vec<(u64, u64)> {
        let (from, to) = (self.journal.floor().index + 1, self.journal.last().index + 1);
        let mut found = Vec::new();
        let mut next = from;
        while next < to {
            let entries = self.journal.entries(next, to, 10_000).unwrap();
            next += entries.len() as u64;
            found.extend(entries.iter().map(|entry| (entry.at.term, entry.at.index)));
        }
        found
    }
}

/// The value of a message: recognisable, and as long as asked for.
pub(crate) fn value(stream: u64, offset: u64, bytes: usize) -> Vec<u8> {
    format!("{stream}/{offset}/").into_bytes().into_iter().cycle().take(bytes).collect()
}

pub(crate) fn entry(term: u64, index: u64, pieces: &[(u64, u64, usize)]) -> (LogEntry, Vec<PieceDesc>) {
    let mut builder = EntryBuilder::new();
    for (stream, offset, bytes) in pieces {
        let value = value(*stream, *offset, *bytes);
        let piece = Message { value: &value, timestamp: Timestamp(*offset as i64), ..Message::default() };
        let piece = piece.encode().unwrap();
        let head = PieceHead::parse(&piece).unwrap();
        builder.add_piece(StreamId(*stream), Offset(*offset), LeaderEpoch(3), &head, piece.clone().into(), None);
    }
    let entry = Entry::parse(builder.finish(Hlc(index))).unwrap();
    let descs = entry.pieces().collect();
    let at = LogPosition { term, index };
    let meta_bytes = entry.meta_bytes() as u32;
    (LogEntry { at, kind: Kind::Entry, payload: entry.bytes().clone(), meta_bytes }, descs)
}

pub(crate) fn blank(term: u64, index: u64) -> LogEntry {
    LogEntry { at: LogPosition { term, index }, kind: Kind::Blank, payload: Bytes::new(), meta_bytes: 0 }
}
