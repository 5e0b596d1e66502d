//! Giving space back.
//!
//! The promise, once what died has been looked for: the bytes of finished files are at most
//! [`FACTOR`] times what is alive in them, plus files that the Raft log still needs, plus
//! [`REWRITE_BYTES`]. A piece that is alive counts its bytes once, and [`PLACE_BYTES`] for each of its
//! places in a stream; it lives as a whole.
//!
//! It holds because every finished file below the Raft floor is checked against what is alive and
//! removed when nothing in it is. Neighbours of which three sevenths are dead are rewritten together
//! (see [`crate::pack`]); that leaves each large file that stays enough slack for the heads and
//! half-empty pages of the small ones beside it, and small ones are merged before there are many.
//! It ends because rewriting is done only when it pays: what it makes is known before.
//!
//! What is alive is the machine's to say. A verdict may rest on an entry that is applied and not yet
//! on stable storage; power loss could take the entry back, never the bytes. So checking makes a
//! [`Plan`], and a plan is carried out only when everything applied by then is flushed.

use crate::canary::Fault;
use crate::damage::Damage;
use crate::file::{FileId, FileKind, name};
use crate::journal::Journal;
use crate::state::{Finished, State};
use crate::table::{Extent, TableError};
use model::{Offset, StreamId, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Finished files take at most so many times the bytes of what is alive in them.
pub const FACTOR: u64 = 2;
/// What a place of a piece in a stream costs in a packed file beside the piece's bytes: its
/// description in the frame and its extent in the table, with its part of the page.
pub const PLACE_BYTES: u64 = 90;
/// What finished files may take beyond the factor: the files being written while the ones they
/// replace are still there, and the heads and pages of small files.
pub const REWRITE_BYTES: u64 = limit::PACKED_FILE_BYTES_MAX;
/// Expiry class of streams whose records die one by one.
pub const ONE_BY_ONE: u8 = 0;

/// Files are rewritten when they take more than so many fourths of what is alive in them.
const WASTE_FOURTHS: u64 = 7;
/// What a packed file takes beside its pieces: header, a frame's head, a page, trailer.
const FILE_BYTES: u64 = 4608;
/// A smaller file is rewritten with its neighbours when many become few.
const SMALL_FILE_BYTES: u64 = limit::MIB as u64;
/// So many small files for each that becomes of them.
const MERGE_FILES: usize = 4;

/// What the machine says about pieces.
pub trait Liveness {
    /// The offsets from `from` up to `to`, exclusive, of `stream` that somebody may yet read, as
    /// ascending ranges.
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>>;

    /// When the stream's records tend to expire: those of a class are packed together, so that they
    /// die together. Ascending with the time they live; [`ONE_BY_ONE`] when it is not their place
    /// that says.
    fn expiry_class(&self, stream: StreamId) -> u8;
}

/// What checking the files found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of live pieces in finished files, shared ones once, and [`PLACE_BYTES`] for each place.
    pub live_bytes: u64,
    /// Bytes of finished files, tables included.
    pub file_bytes: u64,
    /// Of these, bytes of files that the Raft log still needs.
    pub needed_by_log: u64,
}

impl Usage {
    /// The bytes that finished files may take by the promise.
    #[must_use]
    pub fn bound(&self) -> u64 {
        FACTOR * self.live_bytes + self.needed_by_log + REWRITE_BYTES
    }
}

/// What can be given back, and what has to be rewritten for it.
#[derive(Debug)]
pub struct Plan {
    /// Everything applied up to here has to be on stable storage first.
    pub at: u64,
    /// What the check found.
    pub usage: Usage,
    /// Files without a live piece.
    pub(crate) dead: Vec<Arc<Finished>>,
    /// Neighbours in rank that are rewritten together, with their live pieces.
    pub(crate) pack: Vec<PackGroup>,
}

/// Files that are rewritten together.
#[derive(Debug, Default)]
pub(crate) struct PackGroup {
    pub(crate) sources: Vec<Arc<Finished>>,
    /// Their live extents.
    pub(crate) extents: Vec<LiveExtent>,
    /// What these cost.
    live_bytes: u64,
}

impl PackGroup {
    /// Everything in a file, dead or alive.
    pub(crate) fn whole(file: Arc<Finished>, extents: Vec<Extent>) -> Self {
        let live = |extent: Extent| LiveExtent {
            extent,
            ranges: std::iter::once(extent.base.0..extent.end().0).collect(),
            source: 0,
            class: ONE_BY_ONE,
        };
        PackGroup { sources: vec![file], extents: extents.into_iter().map(live).collect(), live_bytes: 0 }
    }

    fn add(&mut self, file: Arc<Finished>, extents: Vec<LiveExtent>, live_bytes: u64) {
        let source = self.sources.len();
        self.extents.extend(extents.into_iter().map(|extent| LiveExtent { source, ..extent }));
        self.sources.push(file);
        self.live_bytes += live_bytes;
    }

    /// Adds a file with what is alive in it.
    pub(crate) fn add_live(&mut self, file: Arc<Finished>, extents: Vec<LiveExtent>) {
        let live_bytes = cost(&extents);
        self.add(file, extents, live_bytes);
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The streams that have something in it.
    pub(crate) fn streams(&self) -> BTreeSet<StreamId> {
        self.extents.iter().map(|live| live.extent.stream).collect()
    }

    /// Whether the files are better for being rewritten: smaller by far, sorted for the first time,
    /// or few instead of many. Never true of what was just made of them, or they would be rewritten
    /// for ever.
    fn pays(&self) -> bool {
        let classes: BTreeSet<u8> = self.extents.iter().map(|live| live.class).collect();
        let length: u64 = self.sources.iter().map(|file| file.length).sum();
        let made = self.live_bytes + classes.len() as u64 * FILE_BYTES;
        is_wasteful(length, made)
            || self.sources.iter().any(|file| is_scattered(file))
            || self.sources.len() >= MERGE_FILES * classes.len()
    }
}

/// An extent with something alive in it.
#[derive(Clone, Debug)]
pub(crate) struct LiveExtent {
    pub(crate) extent: Extent,
    /// What of it is alive.
    pub(crate) ranges: Vec<Range<u64>>,
    /// Number of the file among its group's sources.
    pub(crate) source: usize,
    /// Expiry class of its stream.
    pub(crate) class: u8,
}

impl LiveExtent {
    /// How much of `whole` is alive. A piece lives as a whole; of a run of pieces, as much as
    /// offsets are alive, and the piece that the first of them cuts.
    fn part_of(&self, whole: u32) -> u64 {
        let (count, pieces) = (u64::from(self.extent.count.max(1)), u64::from(self.extent.pieces.max(1)));
        let alive: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        if pieces == 1 || alive >= count {
            return u64::from(whole);
        }
        let cut = count / pieces - 1;
        (u64::from(whole) * (alive + cut).min(count)).div_ceil(count)
    }

    /// Whether anything of a piece with these offsets is alive.
    pub(crate) fn holds(&self, from: Offset, to: Offset) -> bool {
        self.ranges.iter().any(|range| range.start < to.0 && from.0 < range.end)
    }
}

impl Plan {
    /// Ends a group of neighbours, and plans to rewrite it if that pays.
    fn close(&mut self, group: &mut PackGroup) {
        let group = std::mem::take(group);
        if !group.sources.is_empty() && group.pays() {
            self.pack.push(group);
        }
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.pack.is_empty()
    }
}

/// Why space was not given back. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReclaimError {
    /// Entries that the plan rests on are not on stable storage yet.
    #[error("the plan rests on entry {at}, and only {flushed} is on stable storage")]
    NotFlushed {
        /// What the plan rests on.
        at: u64,
        /// What is on stable storage.
        flushed: u64,
    },
    /// A piece that would have to be copied is damaged: its file stays until it is repaired.
    #[error("{file}: a piece of {stream} at byte {position} is damaged")]
    Damaged {
        /// The file.
        file: FileId,
        /// The stream.
        stream: StreamId,
        /// Where.
        position: u64,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Journal {
    /// Checks every finished file against `live`. Reads their tables.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn plan_reclaim(&self, live: &dyn Liveness) -> Result<Plan, ReclaimError> {
        let (files, floor, pinned, unpackable) = {
            let state = self.state.lock();
            (state.finished.clone(), state.floor.index, state.pinned(), state.unpackable.clone())
        };
        let mut plan = Plan { at: 0, usage: Usage::default(), dead: Vec::new(), pack: Vec::new() };
        let mut group = PackGroup::default();
        for file in files.iter() {
            let extents = match self.live_extents(file, live) {
                Err(ReclaimError::Table(error @ TableError::Damaged(_))) => {
                    // Nobody knows what is in it until its table is rebuilt: it stays.
                    tracing::warn!(file = %file.id, %error, "not checked for what is alive");
                    self.note_damage(Damage::Table { file: file.id });
                    plan.usage.file_bytes += file.length;
                    plan.usage.needed_by_log += file.length;
                    plan.close(&mut group);
                    continue;
                }
                other => other?,
            };
            let live_bytes = cost(&extents);
            plan.usage.live_bytes += live_bytes;
            plan.usage.file_bytes += file.length;
            let stays = pinned.contains(&file.id) || unpackable.contains(&file.id);
            if self.faulty(Fault::ReclaimNothing) || file.table.last_index > floor || stays {
                plan.usage.needed_by_log += file.length;
                plan.close(&mut group);
                continue;
            }
            if extents.is_empty() {
                plan.dead.push(file.clone());
                continue;
            }
            if !is_wasteful(file.length, live_bytes) && !is_scattered(file) && file.length >= SMALL_FILE_BYTES {
                plan.close(&mut group);
                continue;
            }
            if group.live_bytes + live_bytes > limit::PACKED_FILE_BYTES_MAX / 2 {
                plan.close(&mut group);
            }
            group.add(file.clone(), extents, live_bytes);
        }
        plan.close(&mut group);
        // Verdicts may rest on anything applied until now.
        plan.at = self.applied();
        self.state.lock().usage = plan.usage;
        Ok(plan)
    }

    pub(crate) fn live_extents(&self, file: &Finished, live: &dyn Liveness) -> Result<Vec<LiveExtent>, ReclaimError> {
        let mut kept = Vec::new();
        for extent in file.table.all_extents(&*file.file) {
            let extent = extent?;
            let mut ranges = live.live(extent.stream, extent.base, extent.end());
            if self.faulty(Fault::ReclaimLive) {
                // Forgets that the last record of a run may still be wanted.
                ranges.retain(|range| range.start == extent.base.0);
            }
            if !ranges.is_empty() {
                let class = live.expiry_class(extent.stream);
                kept.push(LiveExtent { extent, ranges, source: 0, class });
            }
        }
        Ok(kept)
    }

    /// Removes the plan's dead files and rewrites its mostly dead ones. Writes and syncs new files
    /// first. Returns bytes given back.
    ///
    /// # Errors
    /// See [`ReclaimError`]; whatever was not done stays as it was.
    pub fn reclaim(&self, plan: Plan) -> Result<u64, ReclaimError> {
        let flushed = self.flushed();
        if flushed < plan.at {
            return Err(ReclaimError::NotFlushed { at: plan.at, flushed });
        }
        let (pinned, files) = {
            let state = self.state.lock();
            (state.pinned(), state.finished.iter().map(|file| file.id).collect::<BTreeSet<_>>())
        };
        // What was written anew since the plan was made is in another file now, and must not be twice.
        let is_free = |file: &Arc<Finished>| files.contains(&file.id) && !pinned.contains(&file.id);
        let dead: Vec<_> = plan.dead.into_iter().filter(is_free).collect();
        let mut freed = self.replace_files(&dead, Vec::new())?;
        for group in plan.pack.into_iter().filter(|group| group.sources.iter().all(is_free)) {
            match self.pack(&group, None) {
                Ok(packed) => freed += self.replace_files(&group.sources, packed)?,
                // These files stay until the damage is repaired; others need not.
                Err(ReclaimError::Damaged { file, .. }) => drop(self.state.lock().unpackable.insert(file)),
                Err(error) => return Err(error),
            }
        }
        let mut state = self.state.lock();
        let file_bytes = state.finished.iter().map(|file| file.length).sum();
        state.usage = Usage { file_bytes, ..plan.usage };
        Ok(freed)
    }

    /// What the last check found, and what finished files took after space was given back.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state.lock().usage
    }

    /// Makes `new` count instead of `old`, at one instant, then removes `old`. Returns bytes freed.
    pub(crate) fn replace_files(&self, old: &[Arc<Finished>], new: Vec<Arc<Finished>>) -> io::Result<u64> {
        if old.is_empty() && new.is_empty() {
            return Ok(0);
        }
        let gone: BTreeSet<FileId> = old.iter().map(|file| file.id).collect();
        let added: u64 = new.iter().map(|file| file.length).sum();
        self.disk.sync_names()?;
        let made: Vec<FileId> = new.iter().map(|file| file.id).collect();
        let mut taken = false;
        self.write_manifest(|state| {
            // Since they were looked at, somebody may have begun to copy them, or replaced them.
            let here = |id: &FileId| state.finished.iter().any(|file| file.id == *id && !state.is_pinned(file));
            taken = gone.iter().all(here);
            if !taken {
                return;
            }
            let mut files: Vec<_> = state.finished.iter().filter(|file| !gone.contains(&file.id)).cloned().collect();
            files.extend(new);
            State::sort_files(&mut files);
            state.finished = Arc::new(files);
            state.leftovers.extend(old.iter().map(|file| name(file.id, file.kind)));
        })?;
        if !taken {
            made.into_iter().for_each(|id| self.remove_output(id));
            return Ok(0);
        }
        self.counters.files_removed.fetch_add(old.len() as u64, Relaxed);
        let freed: u64 = old.iter().map(|file| file.length).sum();
        self.counters.reclaimed_bytes.fetch_add(freed, Relaxed);
        Ok(freed.saturating_sub(added))
    }

    /// Keeps finished files from being removed until they are unpinned as often.
    pub fn pin(&self, files: impl IntoIterator<Item = FileId>) {
        let mut state = self.state.lock();
        for file in files {
            *state.pins.entry(file).or_default() += 1;
        }
    }

    /// Undoes one [`Journal::pin`] of these files.
    pub fn unpin(&self, files: impl IntoIterator<Item = FileId>) {
        let mut state = self.state.lock();
        for file in files {
            if let Some(pins) = state.pins.get_mut(&file) {
                *pins -= 1;
                if *pins == 0 {
                    state.pins.remove(&file);
                }
            }
        }
    }

    /// How many finished files have to stay for a while, whatever is alive in them.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.state.lock().pinned().len()
    }
}

/// What live extents cost in a packed file: the bytes of their pieces, those that several streams
/// share once, and every place.
fn cost(extents: &[LiveExtent]) -> u64 {
    let part = |live: &LiveExtent| (live.extent.position, live.part_of(live.extent.length));
    let bodies: BTreeMap<u64, u64> = extents.iter().map(part).collect();
    let places: u64 = extents.iter().map(|live| live.part_of(live.extent.pieces)).sum();
    bodies.values().sum::<u64>() + PLACE_BYTES * places
}

/// Whether files of `length` bytes hold too little for their size.
fn is_wasteful(length: u64, live_bytes: u64) -> bool {
    length * 4 > live_bytes * WASTE_FOURTHS
}

/// Whether a log file is mostly small pieces of many streams: reading one of them back would touch
/// every file there is, so such files are sorted by stream once.
fn is_scattered(file: &Finished) -> bool {
    let pieces = u64::from(file.table.extents.max(1));
    file.kind == FileKind::Log && pieces >= 1024 && file.length / pieces < 16 << 10
}
