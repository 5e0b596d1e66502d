//! Opening a journal: finding out what is on disk, what of it counts, and what may be missing.
//!
//! The manifest says which finished files and which checkpoint count. Own log files it does not list
//! are walked in order; a later frame with an index not greater than an earlier one replaces
//! everything from that index on. What is no frame is a torn tail and is cut, unless a later frame
//! shows that it was once on stable storage: then it is damage.

use crate::canary::Fault;
use crate::cursors::Cursors;
use crate::disk::{Disk, DiskFile};
use crate::file::{FileId, FileKind, HEADER_BYTES, name, parse_name};
use crate::frame::Kind;
use crate::journal::{Journal, Options};
use crate::log::{EntryLog, Place, Slot};
use crate::manifest::{Listed, LogPosition, Manifest, ManifestError};
use crate::parts;
use crate::rebuild::open_finished;
use crate::scan::{End, Found, Scanner};
use crate::skips;
use crate::state::{Finished, LogFile, State};
use crate::table::TableError;
use crate::writer::Writer;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What opening found out.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The node may have forgotten something it acknowledged: see the design, section 3.
    pub in_doubt: bool,
    /// Why, for the log.
    pub reasons: Vec<String>,
    /// Raft entries that cannot be read though they were on stable storage. The log ends before the
    /// first of them, unless the checkpoint covers it or an operator has decided to skip it.
    pub damaged_entries: Vec<u64>,
    /// Entries that were found and cannot be used, because others before them are lost.
    pub entries_cut: u64,
    /// Frames read to get here.
    pub frames_scanned: u64,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The folder belongs to something else.
    #[error("the folder has a journal of shard {found}, not {wanted}")]
    OtherShard {
        /// Whose it is.
        found: model::ShardId,
        /// Whose it should be.
        wanted: model::ShardId,
    },
    /// Files without a manifest.
    #[error("there is {0}, a journal's file, and no manifest. Restore the data folder from a backup")]
    NoManifest(String),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Entries that nobody else has are lost. Opening goes on once an operator has decided to skip
    /// them: see [`crate::skips`].
    #[error(
        "log file {file} is damaged at byte {position}: entries {first} to {last} cannot be read, and no other \
         replica has them. Restore the file, or give up what they carried with `mainstem skip-entry`"
    )]
    Lost {
        /// The damaged file.
        file: FileId,
        /// Where its bytes are no longer what was written.
        position: u64,
        /// The first entry that is lost.
        first: u64,
        /// The last; when nothing follows it, more may have been lost behind it.
        last: u64,
    },
    /// The record of what is skipped cannot be read.
    #[error(transparent)]
    Skips(#[from] skips::SkipsError),
    /// A table that should be there is not usable and could not be rebuilt.
    #[error("file {0} cannot be used: {1}. Restore the data folder from a backup")]
    Table(FileId, TableError),
}

impl Journal {
    /// Opens the journal on `disk`, or makes one, and returns it with its writer, which the caller
    /// drives. Reads every frame written since the last checkpoint. The manifest says from now on
    /// that the journal is in use.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Arc<Journal>, Writer, Recovered), OpenError> {
        let mut recovered = Recovered::default();
        let names = disk.list()?;
        let mut manifest = match Manifest::read(&*disk)? {
            Some(manifest) if manifest.shard != options.shard => {
                return Err(OpenError::OtherShard { found: manifest.shard, wanted: options.shard });
            }
            Some(manifest) => manifest,
            None => match names.iter().find(|name| parse_name(name).is_some()) {
                Some(name) => return Err(OpenError::NoManifest(name.clone())),
                None => fresh(&*disk, &options),
            },
        };
        let lost_power = !manifest.clean && manifest.boot_id != disk.boot_id();
        if lost_power {
            recovered.reasons.push("the machine restarted without a clean shutdown".into());
        }
        recovered.in_doubt = manifest.in_doubt || lost_power;

        let skips: BTreeSet<u64> = skips::read(&*disk)?.into_iter().map(|skip| skip.index).collect();
        let reopened = reopen_skipped(&mut manifest, &skips);
        let mut state = State::new(manifest.clone());
        state.finished = Arc::new(open_listed(&*disk, &manifest)?);
        let mut scan = LogScan {
            disk: &*disk,
            state: &mut state,
            recovered: &mut recovered,
            lost_power,
            committed: 0,
            beyond: 0,
            holed: false,
            lost_any: false,
            aside: None,
            doubt_said: manifest.in_doubt || lost_power,
            unstable: Vec::new(),
            headless: false,
            alone: !manifest.replicated,
            skips,
            reopened,
            hole: None,
        };
        let previous = scan.run(&names)?;
        state.applied = manifest.checkpoint_at.index.max(manifest.floor.index);
        state.flushed = state.log.last().index;
        state.next_sequence = state.next_sequence.max(
            names
                .iter()
                .filter_map(|name| parse_name(name))
                .filter(|(id, _)| id.journal == manifest.journal)
                .fold(0, |next, (id, _)| next.max(id.sequence + 1)),
        );
        let parts = parts::recover(&*disk, &names, &mut state, &manifest)?;
        remove_strays(&*disk, &names, &parts, &state, &manifest)?;

        manifest.boot_id = disk.boot_id();
        manifest.clean = false;
        manifest.in_doubt = recovered.in_doubt;
        manifest.lost = state.manifest.lost.clone();
        let gaps_unknown = !manifest.lost.is_empty();
        state.manifest = manifest;
        let journal = Arc::new(Journal {
            disk,
            options,
            state: Mutex::new(state),
            manifest_lock: Mutex::default(),
            finish_lock: Mutex::default(),
            gaps_unknown: AtomicBool::new(gaps_unknown),
            installs: AtomicU64::new(0),
            damaged: Default::default(),
            read_behind_at: AtomicU64::new(u64::MAX),
            cursors: Cursors::default(),
            counters: Default::default(),
        });
        journal.options.cache.join();
        if journal.faulty(Fault::VoteNotPersisted) {
            // It was in the manifest and in files that were begun since, too.
            journal.state.lock().vote = None;
        }
        journal.write_manifest(|_| ())?;
        journal.check_reserve()?;
        let writer = Writer::new(journal.clone(), previous);
        Ok((journal, writer, recovered))
    }

    /// Notes, durably, whether this replica may have forgotten what it acknowledged.
    ///
    /// # Errors
    /// As the disk says.
    pub fn set_in_doubt(&self, in_doubt: bool) -> io::Result<()> {
        self.write_manifest(|state| state.manifest.in_doubt = in_doubt)
    }
}

fn fresh(disk: &dyn Disk, options: &Options) -> Manifest {
    Manifest {
        journal: options.fresh_id,
        shard: options.shard,
        generation: 0,
        next_sequence: 1,
        floor: LogPosition::default(),
        logs_from: 1,
        files: Vec::new(),
        checkpoint: Vec::new(),
        checkpoint_at: LogPosition::default(),
        refused: Vec::new(),
        vote_number: 0,
        vote: Vec::new(),
        flushed: Vec::new(),
        boot_id: disk.boot_id(),
        clean: true,
        in_doubt: false,
        lost: Vec::new(),
        replicated: false,
        scrubbed: None,
    }
}

/// Skipping an entry changes which records of it and of those behind it count, and the table of a
/// finished file says what counted before. So files with such entries above the checkpoint count as
/// unfinished again. Returns those, by sequence.
///
/// Copies are left alone, because they lie out of order; an entry in one cannot be skipped.
fn reopen_skipped(manifest: &mut Manifest, skips: &BTreeSet<u64>) -> BTreeMap<u64, Reopened> {
    let applied = manifest.checkpoint_at.index.max(manifest.floor.index);
    let Some(first) = skips.range(applied + 1..).next().copied() else { return BTreeMap::new() };
    let own = manifest.journal;
    let mut reopened: Vec<_> = Vec::new();
    for listed in &manifest.files {
        if listed.kind == FileKind::Log && listed.id.journal == own && listed.last_index >= first {
            reopened.push((listed.first_index, listed.id.sequence, listed.frames_end));
        }
    }
    reopened.sort_unstable();
    let in_order = reopened.is_sorted_by_key(|(_, sequence, _)| *sequence);
    let before_others = reopened.last().is_none_or(|(_, sequence, _)| *sequence < manifest.logs_from);
    if !in_order || !before_others {
        return BTreeMap::new();
    }
    let reopened: BTreeMap<u64, Reopened> =
        reopened.into_iter().map(|(first_index, sequence, end)| (sequence, Reopened { first_index, end })).collect();
    let again = |listed: &Listed| listed.id.journal == own && reopened.contains_key(&listed.id.sequence);
    let (again, files): (Vec<_>, Vec<_>) = std::mem::take(&mut manifest.files).into_iter().partition(again);
    manifest.files = files;
    manifest.refused.extend(again.into_iter().flat_map(|listed| listed.refused));
    manifest.logs_from = reopened.keys().next().copied().unwrap_or(manifest.logs_from);
    reopened
}

fn open_listed(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<Arc<Finished>>, OpenError> {
    let mut files = Vec::with_capacity(manifest.files.len());
    for listed in &manifest.files {
        files.push(open_finished(disk, manifest.shard, listed).map_err(|error| OpenError::Table(listed.id, error))?);
    }
    Ok(files)
}

/// Files that do not count any more: leftovers of what a crash interrupted, but for `parts`, which are kept.
fn remove_strays(
    disk: &dyn Disk,
    names: &[String],
    parts: &BTreeSet<String>,
    state: &State,
    manifest: &Manifest,
) -> io::Result<()> {
    for name in names.iter().filter(|name| !parts.contains(*name)) {
        let counts = match parse_name(name) {
            Some(_) => parts::counts(name, state, manifest),
            None => {
                name == crate::manifest::NAME
                    || name == crate::reserve::NAME
                    || name == crate::skips::NAME
                    || name == crate::compacted::NAME
                    || manifest.checkpoint.iter().any(|file| crate::checkpoint::name(file.number) == *name)
            }
        };
        // The manifest's own temporary file may have become the manifest.
        if !counts && name != crate::manifest::TEMPORARY {
            disk.remove(name)?;
        }
    }
    Ok(())
}

/// What a killed process wrote may be in the page cache only, and all that is found counts as flushed
/// from now on. Written again first: a sync that failed under that process may have left pages
/// that count as clean and are not on stable storage.
fn make_stable(file: &dyn DiskFile, flushed: u64, end: u64) -> io::Result<()> {
    // Padding of the last frame may lie beyond the file's end.
    let end = end.min(file.length()?);
    let mut bytes = vec![0; end.saturating_sub(flushed) as usize];
    file.read_at(flushed, &mut bytes)?;
    file.write_at(flushed, &[IoSlice::new(&bytes)])?;
    file.sync()
}

/// Whether there is something behind a file's header.
fn has_content(file: &dyn DiskFile) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    let (mut position, length) = (HEADER_BYTES as u64, file.length()?);
    while position < length {
        let want = buffer.len().min((length - position) as usize);
        file.read_at(position, &mut buffer[..want])?;
        if buffer[..want].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        position += want as u64;
    }
    Ok(false)
}

struct LogScan<'a> {
    disk: &'a dyn Disk,
    state: &'a mut State,
    recovered: &'a mut Recovered,
    lost_power: bool,
    /// Entries up to here are what was committed: finished files and the frames so far show it.
    committed: u64,
    /// The greatest index that a file given up after an error has behind its end.
    beyond: u64,
    /// Frames were found lost.
    holed: bool,
    /// Entries were given up as lost.
    lost_any: bool,
    /// What was not known to be committed when frames were found lost.
    aside: Option<Aside>,
    /// The manifest on disk leads to a doubt at the next start.
    doubt_said: bool,
    /// Files with frames that may be in the page cache only: between these positions.
    unstable: Vec<(Arc<dyn DiskFile>, u64, u64)>,
    /// The file that is walked has no header that could be read: it may be a copy.
    headless: bool,
    /// No other replica has what this one has.
    alone: bool,
    /// What an operator has decided to do without.
    skips: BTreeSet<u64>,
    /// Finished files that are walked again.
    reopened: BTreeMap<u64, Reopened>,
    /// Where frames were last found lost and which entries those were, until something follows that
    /// can be used.
    hole: Option<Hole>,
}

/// A finished file that is walked again.
struct Reopened {
    /// The first entry that counts: those before were finished as a copy, and may be gone since.
    first_index: u64,
    /// Where its frames end.
    end: u64,
}

/// Entries that lost frames may have replaced.
struct Aside {
    /// The entry before them.
    kept: u64,
    slots: VecDeque<Slot>,
    /// Whether the first entry after the lost frames was looked at.
    judged: bool,
}

impl Aside {
    fn end(&self) -> u64 {
        self.kept + self.slots.len() as u64
    }
}

/// A place where frames that were on stable storage cannot be read.
struct Hole {
    file: FileId,
    position: u64,
    /// The last entry that is missing, once a later one was found.
    last: Option<u64>,
}

impl LogScan<'_> {
    /// Rebuilds the Raft log and the index of unfinished files. Returns where the last log file
    /// ends.
    fn run(&mut self, names: &[String]) -> Result<Option<(u64, u64)>, OpenError> {
        let (own, from) = (self.state.manifest.journal, self.state.manifest.logs_from);
        self.load_finished_entries()?;
        let mut sequences: Vec<u64> = names
            .iter()
            .filter_map(|name| parse_name(name))
            .filter(|(id, kind)| *kind == FileKind::Log && id.journal == own && id.sequence >= from)
            // What is listed was walked when it was finished.
            .filter(|(id, _)| self.state.finished.iter().all(|file| file.id != *id))
            .map(|(id, _)| id.sequence)
            .collect();
        sequences.sort_unstable();
        // Each header says where the file before it ends, so headers come first.
        let mut files = Vec::new();
        for sequence in sequences {
            let id = FileId { journal: own, sequence };
            let file = self.disk.open(&name(id, FileKind::Log))?;
            // A copy is younger than what it copies: it counts when it is listed, or not at all.
            let copy = Scanner::open(&*file, u64::MAX, u64::MAX, 0)?.is_some_and(|(header, _)| header.copy);
            if !copy {
                files.push((sequence, file, None));
            }
        }
        for nth in 1..files.len() {
            if let Some((header, _)) = Scanner::open(&*files[nth].1, u64::MAX, u64::MAX, 0)?
                && let Some((previous, end)) = header.previous
                && let Some(before) = files[..nth].iter_mut().find(|file| file.0 == previous)
            {
                before.2 = Some(end);
            }
        }
        for (sequence, _, end) in &mut files {
            *end = self.reopened.get(sequence).map(|file| file.end).or(*end);
        }
        let finished = self.state.finished.iter().map(|file| file.table.last_index).max();
        self.committed = finished.unwrap_or(0);
        let mut last = None;
        let count = files.len();
        for (nth, (sequence, file, end)) in files.into_iter().enumerate() {
            let id = FileId { journal: own, sequence };
            if let Some(end) = self.scan_file(id, file, end, nth + 1 == count)? {
                last = Some((sequence, end));
            }
        }
        self.restore_longest();
        if self.beyond > self.state.log.last().index && !self.state.manifest.clean {
            self.recovered.reasons.push("entries were not yet written again after an error".into());
            self.doubt();
        }
        self.give_up_lost();
        // Until here nothing on disk has changed.
        self.refuse_hole()?;
        self.make_all_stable()?;
        self.index_applied()?;
        Ok(last)
    }

    /// Entries above the floor that lie in finished own log files.
    fn load_finished_entries(&mut self) -> Result<(), OpenError> {
        let own = self.state.manifest.journal;
        let finished = self.state.finished.clone();
        for file in finished.iter().filter(|file| file.id.journal == own && file.kind == FileKind::Log) {
            if file.table.last_index <= self.state.floor.index {
                continue;
            }
            let rows = file.table.entries(&*file.file).map_err(|error| OpenError::Table(file.id, error))?;
            for (nth, row) in rows.iter().enumerate() {
                let index = file.table.last_index + 1 - rows.len() as u64 + nth as u64;
                if index <= self.state.floor.index {
                    continue;
                }
                if self.skip_up_to(if row.is_lost() { index } else { index - 1 }) && row.is_lost() {
                    continue;
                }
                if index != self.state.log.last().index + 1 {
                    self.recovered.damaged_entries.push(self.state.log.last().index + 1);
                    self.doubt();
                    return Ok(());
                }
                let place = Place { sequence: file.id.sequence, position: row.position };
                self.push(index, row.term, row.kind, row.meta_bytes, row.body_bytes, place);
            }
        }
        Ok(())
    }

    fn push(&mut self, index: u64, term: u64, kind: Kind, meta_bytes: u32, body_bytes: u32, place: Place) {
        let ticket = self.state.next_ticket;
        self.state.next_ticket += 1;
        let slot = Slot { term, kind, meta_bytes, body_bytes, place: Some(place), cached: None, ticket, flushed: true };
        self.state.log.push(index, slot);
    }

    /// Walks one unfinished file. Returns where its frames end.
    fn scan_file(
        &mut self,
        id: FileId,
        file: Arc<dyn DiskFile>,
        known_end: Option<u64>,
        is_last: bool,
    ) -> Result<Option<u64>, OpenError> {
        let limit = known_end.unwrap_or(u64::MAX);
        let listed = self.state.manifest.flushed.iter().find(|(sequence, _)| *sequence == id.sequence);
        let listed = listed.map_or(0, |(_, bytes)| *bytes);
        // A file that another follows was synced up to the end that one names.
        let flushed = known_end.unwrap_or(0).max(listed);
        let opened = Scanner::open(&*file, limit, flushed, flushed)?.map(|(_, scanner)| scanner);
        self.headless = opened.is_none();
        if self.headless {
            // Its header was never on stable storage, so neither was anything in it; unless it was.
            let suspicious = !self.lost_power && !self.state.manifest.clean && has_content(&*file)?;
            // Frames say themselves which file they belong to, and are written after the header is stable.
            let has_frame = Scanner::over(&*file, id, limit, 0, flushed)?.next_frame()?.is_ok();
            if flushed == 0 && !suspicious && !has_frame {
                return Ok(None);
            }
            self.recovered.reasons.push(format!("the header of log file {id} is damaged"));
            self.doubt();
        }
        let mut scanner = match opened {
            Some(scanner) => scanner,
            None => Scanner::over(&*file, id, limit, flushed, flushed)?,
        };
        let log_file = LogFile {
            id,
            file: file.clone(),
            entries: None,
            end: 0,
            rolled: true,
            poisoned: false,
            copies: Vec::new(),
        };
        self.state.open_files.insert(id.sequence, log_file);
        // Where the file is damaged, until what follows says whether anything is lost by it.
        let mut damaged = None;
        let end = loop {
            match scanner.next_frame()? {
                Ok(found) => {
                    self.recovered.frames_scanned += 1;
                    if found.head.kind.is_entry() {
                        self.note_copies(id, found.head.index);
                        if let Some(at) = damaged.take() {
                            self.on_damage(id, at, Some(found.head.index));
                        }
                    }
                    self.on_frame(id, found);
                }
                Err(End::Limit | End::Zeros) => break scanner.position(),
                Err(End::Torn) => {
                    // A killed process leaves a prefix of its last write; anything else in the tail
                    // of a machine that did not restart is damage that looks like one.
                    if !self.lost_power && known_end.is_none() {
                        let at = scanner.position();
                        self.recovered.reasons.push(format!("log file {id} is torn at byte {at}"));
                        // A file before the last that none names as the one before it was given up
                        // before anything in it counted.
                        if is_last && !self.state.manifest.clean {
                            self.doubt();
                        }
                    }
                    break scanner.position();
                }
                Err(End::Damaged { resumes_at }) => {
                    let at = scanner.position();
                    damaged.get_or_insert(at);
                    match resumes_at {
                        Some(position) => scanner.resume_at(position),
                        None => break at,
                    }
                }
            }
        };
        if let Some(at) = damaged {
            self.on_damage(id, at, None);
        }
        if scanner.flushed() < end {
            self.unstable.push((file.clone(), scanner.flushed(), end));
        }
        if known_end.is_some() {
            self.look_beyond(&*file, end)?;
        }
        if let Some(log_file) = self.state.open_files.get_mut(&id.sequence) {
            log_file.end = end;
        }
        Ok(Some(end))
    }

    /// Remembers which finished files have this entry of an unfinished one: what is settled of that was copied.
    fn note_copies(&mut self, id: FileId, index: u64) {
        let has = |file: &&Arc<Finished>| {
            let is_younger = file.id.journal == id.journal && file.id.sequence > id.sequence;
            let range = file.table.first_index..=file.table.last_index;
            file.kind == FileKind::Log && is_younger && range.contains(&index)
        };
        let Some(open) = self.state.open_files.get_mut(&id.sequence) else { return };
        for copy in self.state.finished.iter().filter(has) {
            if !open.copies.contains(&copy.id) {
                open.copies.push(copy.id);
            }
        }
    }

    /// Frames that were on stable storage cannot be read; entry `next` follows them, if any does.
    fn on_damage(&mut self, id: FileId, at: u64, next: Option<u64>) {
        let copies = self.state.open_files.get(&id.sequence).map_or(&[][..], |open| open.copies.as_slice());
        let ends =
            self.state.finished.iter().filter(|file| copies.contains(&file.id)).map(|file| file.table.last_index);
        // Whatever else was there has been replaced by what follows. The last vote is in the manifest, which is younger
        // than the file: it lists the copy.
        if next.zip(ends.max()).is_some_and(|(next, end)| next <= end + 1) {
            tracing::warn!(file = %id, at, "a log file is damaged where a copy has what it had");
            return;
        }
        self.recovered.reasons.push(format!("log file {id} is damaged at byte {at}"));
        self.recovered.damaged_entries.push(self.state.log.last().index + 1);
        self.hole.get_or_insert(Hole { file: id, position: at, last: None });
        self.drop_uncommitted();
        self.doubt();
    }

    /// A sync that fails here may lose what a killed process had acknowledged from memory, and the next
    /// start would not know: until everything is stable, the manifest says that there is a doubt.
    fn make_all_stable(&mut self) -> io::Result<()> {
        if self.unstable.is_empty() {
            return Ok(());
        }
        if !self.doubt_said {
            let manifest = Manifest { in_doubt: true, ..self.state.manifest.clone() };
            manifest.write(self.disk)?;
        }
        self.unstable.iter().try_for_each(|(file, flushed, end)| make_stable(&**file, *flushed, *end))
    }

    /// Notes the entries that a file given up after an error has behind its end. They have been
    /// written again since, unless the process died first.
    fn look_beyond(&mut self, file: &dyn DiskFile, end: u64) -> io::Result<()> {
        if let Some((_, mut scanner)) = Scanner::open(file, u64::MAX, end, 0)? {
            scanner.resume_at(end);
            while let Ok(found) = scanner.next_frame()? {
                self.beyond = self.beyond.max(found.head.index * u64::from(found.head.kind.is_entry()));
            }
        }
        Ok(())
    }

    /// Frames are lost, which may have replaced anything that was not committed: what is left of it
    /// must not be taken for what came in its place.
    fn drop_uncommitted(&mut self) {
        self.holed = true;
        if self.alone {
            // Nobody replaces what a replica has that is alone.
            return;
        }
        let log = &self.state.log;
        let kept = self.committed.clamp(log.first_index() - 1, log.last().index);
        let dropped = self.state.log.take_after(kept);
        self.aside.get_or_insert(Aside { kept, slots: dropped, judged: false });
    }

    /// When what follows the lost frames leads nowhere, the log as it was before them is the longest
    /// there is; unless others were committed in its place, for all that is known.
    fn restore_longest(&mut self) {
        let Some(aside) = &self.aside else { return };
        let last = self.state.log.last().index;
        let longer = aside.end() > last;
        if longer && self.committed <= aside.kept {
            self.restore_uncommitted();
        }
    }

    fn restore_uncommitted(&mut self) {
        let Some(Aside { kept, slots, .. }) = self.aside.take() else { return };
        if self.state.log.last().index < kept {
            // The log was begun anew, lower down.
            return;
        }
        self.state.log.truncate_after(kept);
        for (nth, slot) in slots.into_iter().enumerate() {
            self.state.log.push(kept + 1 + nth as u64, slot);
        }
    }

    /// What the checkpoint or the floor covers and no frame has is lost as log, and Raft goes on above
    /// it. Records that came with it are missing until they are copied from another replica.
    fn give_up_lost(&mut self) {
        let (floor, checkpoint_at) = (self.state.floor, self.state.manifest.checkpoint_at);
        let covered = if checkpoint_at.index > floor.index { checkpoint_at } else { floor };
        // What a checkpoint covers was on stable storage, so files are gone, and nobody knows what else was in
        // them: the last vote, too.
        let gone = self.state.log.last().index.max(floor.index) < checkpoint_at.index;
        if gone && !self.holed {
            self.doubt();
        }
        // Where there is a hole, what lies before it stays, so that it is known how far the hole goes.
        if self.state.log.last().index < floor.index && (gone || !self.holed) {
            self.state.log = EntryLog::new(floor);
        }
        if (self.holed || gone) && self.state.log.last().index < covered.index {
            self.lose_up_to(covered.index);
        }
        if self.lost_any {
            self.state.floor = covered;
        }
    }

    /// Notes that the entries after the last one, up to `index`, are lost.
    fn lose_up_to(&mut self, index: u64) {
        let first = self.state.log.last().index + 1;
        if first <= index {
            self.push_lost(index);
            self.lost_any = true;
            self.recovered.reasons.push(format!("entries {first} to {index} are lost, but for what they did"));
            self.state.manifest.lost.push((first, index));
        }
    }

    /// Puts something in the places after the last entry, up to `index`, that Raft does not ask for.
    fn push_lost(&mut self, index: u64) {
        let covered = self.state.manifest.checkpoint_at.max(self.state.floor);
        for lost in self.state.log.last().index + 1..=index {
            let ticket = self.state.next_ticket;
            self.state.next_ticket += 1;
            // Terms never decrease; of those between, they are not known and not asked for.
            let term = if lost == covered.index { covered.term } else { self.state.log.last().term };
            self.state.log.push(lost, Slot::lost(term, ticket));
        }
    }

    /// Puts blank entries in the place of those that are missing up to `index`, if an operator has
    /// decided to skip every one of them.
    fn skip_up_to(&mut self, index: u64) -> bool {
        let last = self.state.log.last();
        if !(last.index + 1..=index).all(|missing| self.skips.contains(&missing)) {
            return false;
        }
        for missing in last.index + 1..=index {
            let ticket = self.state.next_ticket;
            self.state.next_ticket += 1;
            self.state.log.push(missing, Slot::lost(last.term, ticket));
        }
        true
    }

    /// What nobody else has is not given up without being told to.
    fn refuse_hole(&mut self) -> Result<(), OpenError> {
        let Some(hole) = self.hole.take().filter(|_| self.alone) else { return Ok(()) };
        let last = self.state.log.last().index;
        if hole.last.is_none() && self.state.manifest.clean && last <= self.state.manifest.checkpoint_at.index {
            // A clean shutdown left nothing behind what its checkpoint covers.
            return Ok(());
        }
        let first = last + 1;
        let last = hole.last.unwrap_or(first);
        if self.skip_up_to(last) {
            return Ok(());
        }
        Err(OpenError::Lost { file: hole.file, position: hole.position, first, last })
    }

    fn doubt(&mut self) {
        self.recovered.in_doubt = true;
    }

    fn on_frame(&mut self, id: FileId, found: Found) {
        if found.head.kind == Kind::Vote {
            if found.head.index >= self.state.vote_number {
                self.state.vote_number = found.head.index;
                self.state.vote = Some(Bytes::from(found.meta));
            }
            return;
        }
        self.committed = self.committed.max(found.head.committed);
        self.state.committed = self.state.committed.max(found.head.committed);
        let index = found.head.index;
        if !found.head.kind.is_entry() {
            return;
        }
        if let Some(aside) = &mut self.aside {
            let first = !std::mem::replace(&mut aside.judged, true);
            // A leader never replaces its own entries: then nothing that was lost replaced these.
            if first && aside.slots.back().is_some_and(|slot| slot.term == found.head.term) {
                self.restore_uncommitted();
            }
        }
        if self.reopened.get(&id.sequence).is_some_and(|file| index < file.first_index) {
            return;
        }
        let (own, floor) = (self.state.manifest.journal, self.state.floor.index);
        let is_final = |file: &Arc<Finished>| {
            // A file that came with a snapshot may reach above it. Its pieces can be read, but of the
            // Raft log above the floor there is only what was written here.
            index <= file.table.last_index && (file.id.journal == own || index <= floor)
        };
        if self.state.finished.iter().any(is_final) {
            // What a finished file has is final: this is the same, written again after an error.
            return;
        }
        let below = self.state.log.is_empty() || index < self.state.log.first_index();
        if below && index <= self.state.floor.index {
            // Raft does not read it any more, but the pieces in it have no other index until its
            // file is finished. The first frame is not the lowest when it was replaced later.
            self.state.log = EntryLog::new(LogPosition { term: 0, index: index - 1 });
        }
        let last = self.state.log.last().index;
        if index > last + 1 {
            // Entries between are older than an installed snapshot, or were lost with a damaged frame.
            // If the checkpoint has what they did, only their records are missing; else what follows
            // cannot be used until the gap is written again, or skipped.
            let covered = self.state.manifest.checkpoint_at.index;
            if self.holed && (self.alone || index - 1 <= covered) {
                self.lose_up_to(covered.min(index - 1));
            } else if index - 1 <= floor {
                // That they are lost was found out before, and noted.
                self.push_lost(index - 1);
            }
            if !self.skip_up_to(index - 1) {
                self.recovered.entries_cut += u64::from(self.holed);
                if let Some(hole) = &mut self.hole {
                    hole.last.get_or_insert(index - 1);
                }
                return;
            }
        }
        self.hole = None;
        if index <= last {
            if self.headless && self.state.log.get(index).is_some_and(|slot| slot.term == found.head.term) {
                // What the file repeats, if it is a copy, is here, and what followed it must stay.
                return;
            }
            self.state.log.truncate_after(index - 1);
        }
        let place = Place { sequence: id.sequence, position: found.position };
        let (meta, body) = (found.head.meta_bytes, found.head.body_bytes);
        self.push(index, found.head.term, found.head.kind, meta, body, place);
        let ticket = self.state.next_ticket - 1;
        self.state.on_written(std::iter::once((index, ticket, place)));
    }

    /// Indexes the pieces of entries that the checkpoint covers and that lie in unfinished files;
    /// the others follow as they are applied again.
    fn index_applied(&mut self) -> io::Result<()> {
        let applied = self.state.manifest.checkpoint_at.index;
        // The pieces of entries that came with a snapshot's files are in their tables.
        let finished = self.state.finished.iter().map(|file| file.table.last_index).max().unwrap_or(0);
        let mut indexes = Vec::new();
        for file in self.state.open_files.values() {
            if let Some((first, last)) = file.entries {
                indexes.extend(first.max(finished + 1)..=last.min(applied));
            }
        }
        for index in indexes {
            let Some((kind, meta)) = self.read_meta(index)? else { continue };
            if kind != Kind::Entry {
                continue;
            }
            for (nth, piece) in model::entry::descriptions(&meta).unwrap_or_default().iter().enumerate() {
                if !self.state.refused.contains(&(index, nth as u32)) {
                    self.state.active.push(index, piece);
                }
            }
        }
        Ok(())
    }

    fn read_meta(&self, index: u64) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let Some(slot) = self.state.log.get(index) else { return Ok(None) };
        let Some(place) = slot.place else { return Ok(None) };
        let Some(file) = self.state.open_files.get(&place.sequence) else { return Ok(None) };
        let mut meta = vec![0; slot.meta_bytes as usize];
        file.file.read_at(place.position + crate::frame::HEAD_BYTES as u64, &mut meta)?;
        Ok(Some((slot.kind, meta)))
    }
}
