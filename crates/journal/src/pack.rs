//! Rewriting the live pieces of log files as packed files, sorted by stream.
//!
//! The one mechanism behind reclaim, sequential cold reads and, later, compaction and tiering. A
//! piece's bytes are copied as they are, after their checksum was verified; bytes that several
//! streams share stay shared. Streams whose records expire alike go into a file of their own.

use crate::compact::{Compactor, Kept};
use crate::file::{FileHeader, FileId, FileKind, HEADER_BYTES, name};
use crate::frame::{ALIGNMENT, FrameHead, HEAD_BYTES, Kind};
use crate::journal::Journal;
use crate::reclaim::{LiveExtent, ONE_BY_ONE, PackGroup, ReclaimError};
use crate::state::Finished;
use crate::table::{Extent, Table, TableHead};
use bytes::Bytes;
use model::checksum::crc32c;
use model::{EntryBuilder, Hlc, Offset, PieceDesc, PieceHead, StreamId, Timestamp, limit};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Several pieces of a stream share one extent up to so many bytes: what one look-up reads.
const RUN_BYTES_MAX: u32 = 64 << 10;

/// Bytes to copy and every place in a stream that they have.
struct Body {
    class: u8,
    source: usize,
    position: u64,
    length: u32,
    extents: Vec<LiveExtent>,
}

impl Journal {
    /// Writes the live pieces of `group` into packed files, which do not count yet.
    pub(crate) fn pack(
        &self,
        group: &PackGroup,
        compactor: Option<&dyn Compactor>,
    ) -> Result<Vec<Arc<Finished>>, ReclaimError> {
        let mut packed = Vec::new();
        self.counters.packs.fetch_add(1, Relaxed);
        self.counters.packing.fetch_add(1, Relaxed);
        let result = self.pack_into(group, compactor, &mut packed);
        self.counters.packing.fetch_sub(1, Relaxed);
        if result.is_err() {
            packed.iter().for_each(|file: &Arc<Finished>| self.remove_output(file.id));
        }
        result.map(|()| packed)
    }

    fn pack_into(
        &self,
        group: &PackGroup,
        compactor: Option<&dyn Compactor>,
        packed: &mut Vec<Arc<Finished>>,
    ) -> Result<(), ReclaimError> {
        let ranks = group.sources.iter().map(|source| (source.table.first_index, source.table.last_index));
        let rank = ranks.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((1, 0));
        let mut bodies = bodies(group, compactor).into_iter().peekable();
        while let Some(class) = bodies.peek().map(|body| body.class) {
            let mut output = Output::create(self, rank)?;
            let id = output.id;
            let mut bytes = 0;
            let mut fill = || {
                while let Some(body) =
                    bodies.next_if(|body| body.class == class && bytes < limit::PACKED_FILE_BYTES_MAX / 2)
                {
                    bytes += u64::from(body.length);
                    self.counters.pack_read_bytes.fetch_add(u64::from(body.length), Relaxed);
                    output.add(group, &body, compactor).inspect_err(|error| self.note_bad_body(group, &body, error))?;
                }
                output.finish(self)
            };
            packed.push(fill().inspect_err(|_| self.remove_output(id))?);
        }
        Ok(())
    }

    fn note_bad_body(&self, group: &PackGroup, body: &Body, error: &ReclaimError) {
        if let ReclaimError::Damaged { .. } = error {
            let source = &group.sources[body.source];
            body.extents.iter().for_each(|live| self.note_bad_extent(&live.extent, None, Some(source)));
        }
    }

    /// Removes a file that does not count.
    pub(crate) fn remove_output(&self, id: FileId) {
        // What went wrong before is what matters; a file left over is removed at the next start.
        let _ = self.disk.remove(&name(id, FileKind::Packed));
    }

    /// Writes records that came from another replica into a packed file, which does not count yet.
    /// `rank` is the range of the entries they were lost with.
    pub(crate) fn pack_copies(
        &self,
        rank: (u64, u64),
        pieces: &[(Extent, Bytes)],
    ) -> Result<Arc<Finished>, ReclaimError> {
        let mut output = Output::create(self, rank)?;
        let id = output.id;
        let mut fill = || {
            pieces.iter().try_for_each(|(extent, bytes)| output.hold(bytes.clone(), vec![*extent], false, false))?;
            output.finish(self)
        };
        fill().inspect_err(|_| self.remove_output(id))
    }
}

/// The bytes to copy, ascending by class, stream and offset of their first place. What is compacted shares
/// its bytes with no other stream any more: a record could not go from one alone, and what removed it could.
fn bodies(group: &PackGroup, compactor: Option<&dyn Compactor>) -> Vec<Body> {
    let mut by_place: BTreeMap<(usize, u64, Option<StreamId>), Body> = BTreeMap::new();
    for live in &group.extents {
        let (position, length) = (live.extent.position, live.extent.length);
        let stream = live.extent.stream;
        let own = compactor.and_then(|compactor| compactor.limit(stream)).map(|_| stream);
        let body = by_place.entry((live.source, position, own)).or_insert_with(|| Body {
            class: live.class,
            source: live.source,
            position,
            length,
            extents: Vec::new(),
        });
        // Shared bytes live as long as the longest of their streams.
        body.class = body.class.max(live.class);
        body.extents.push(live.clone());
    }
    let mut bodies: Vec<Body> = by_place.into_values().collect();
    for body in &mut bodies {
        body.extents.sort_by_key(|live| (live.extent.stream, live.extent.base));
    }
    bodies.sort_by_key(|body| (body.class, body.extents[0].extent.stream, body.extents[0].extent.base));
    bodies
}

/// A piece with its places.
struct Held {
    bytes: Bytes,
    extents: Vec<Extent>,
    may_run: bool,
    /// It stands for pieces behind it that are gone.
    has_gap: bool,
}

/// A place of a piece of the frame being built.
struct Pending {
    nth: u32,
    extent: Extent,
    may_run: bool,
    has_gap: bool,
}

/// A packed file being written.
pub(crate) struct Output {
    id: FileId,
    file: Arc<dyn crate::disk::DiskFile>,
    shard: model::ShardId,
    position: u64,
    builder: EntryBuilder,
    /// The last piece, which may yet have to stand for others behind it.
    held: Option<Held>,
    /// Extents of the frame being built, and whether each may be part of a run: positions are those
    /// in the entry until it is written.
    pending: Vec<Pending>,
    /// Whether the table's last extent may be part of a run.
    run_open: bool,
    table: Table,
}

impl Output {
    /// A file whose content came from these Raft indexes.
    pub(crate) fn create(journal: &Journal, (first_index, last_index): (u64, u64)) -> io::Result<Self> {
        let sequence = journal.take_sequence();
        let id = FileId { journal: journal.id(), sequence };
        let file = journal.disk.create(&name(id, FileKind::Packed), 0)?;
        let shard = journal.options.shard;
        let header = FileHeader { id, kind: FileKind::Packed, shard, previous: None, copy: false };
        file.write_at(0, &[IoSlice::new(&header.encode())]).inspect_err(|_| journal.remove_output(id))?;
        let table = Table { first_index, last_index, ..Table::default() };
        let (position, builder) = (HEADER_BYTES as u64, EntryBuilder::new());
        Ok(Output { id, file, shard, position, builder, held: None, pending: Vec::new(), run_open: false, table })
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.position
    }

    /// Copies a body: the pieces of it, if it is a run of several; of these, what the compactor keeps.
    fn add(&mut self, group: &PackGroup, body: &Body, compactor: Option<&dyn Compactor>) -> Result<(), ReclaimError> {
        let source = &group.sources[body.source];
        let mut bytes = vec![0; body.length as usize];
        source.file.read_at(body.position, &mut bytes)?;
        let first = body.extents[0].extent;
        let damaged = || ReclaimError::Damaged { file: source.id, stream: first.stream, position: body.position };
        let pieces = first.check(&mut bytes).ok_or_else(damaged)?;
        // Bytes that streams share are nobody's to change.
        let alone = body.extents.len() == 1;
        let compactor = compactor.filter(|_| alone);
        let limit = compactor.and_then(|compactor| compactor.limit(first.stream));
        let (bytes, count) = (Bytes::from(bytes), pieces.len());
        for (nth, (head, range)) in pieces.into_iter().enumerate() {
            let piece = bytes.slice(range);
            let (mut extents, mut may_run): (Vec<Extent>, bool);
            if first.pieces > 1 {
                // A run is never shared, and its pieces say themselves where they belong. The last one
                // may stand for others that are gone.
                let end = if nth + 1 == count { first.end() } else { head.end() };
                if !body.extents[0].holds(head.base, end) {
                    continue;
                }
                let extent = Extent { base: head.base, count: end.since(head.base) as u32, epoch: head.epoch, ..first };
                extents = vec![Extent { max_timestamp: head.max_timestamp, pieces: 1, ..extent }];
                may_run = body.may_run(head.base, end);
            } else {
                extents = body.extents.iter().map(|live| live.extent).collect();
                may_run = head.base == first.base && body.may_run(first.base, first.end());
            }
            let has_gap = extents[0].count != head.count;
            let kept = match compactor.filter(|_| limit.is_some_and(|limit| extents[0].end() <= limit)) {
                Some(compactor) => compactor.keep(first.stream, &piece),
                None => Kept::Whole,
            };
            let piece = match kept {
                Kept::Whole => piece,
                Kept::Part(part) => {
                    let head = PieceHead::parse(&part).map_err(|_| damaged())?;
                    extents[0].max_timestamp = head.max_timestamp;
                    part
                }
                Kept::Nothing => {
                    if self.stand_for(&extents[0]) {
                        continue;
                    }
                    may_run = false;
                    extents[0].max_timestamp = Timestamp(-1);
                    let Extent { base, count, epoch, .. } = extents[0];
                    Bytes::from(model::piece::empty(base, count, epoch))
                }
            };
            self.hold(piece, extents, may_run, has_gap)?;
        }
        Ok(())
    }

    /// Lets the piece before, if there is one, stand for one that is gone.
    fn stand_for(&mut self, gone: &Extent) -> bool {
        let Some(held) = &mut self.held else { return false };
        let [last] = &mut held.extents[..] else { return false };
        let follows = last.stream == gone.stream && last.end() == gone.base;
        // As many as an empty batch could stand for.
        let count = last.count.checked_add(gone.count).filter(|count| follows && *count <= i32::MAX as u32);
        let Some(count) = count else { return false };
        last.count = count;
        held.has_gap = true;
        true
    }

    /// Takes a piece for its places; `may_run` says whether it may be part of a run, `has_gap` whether it
    /// stands for others that are gone.
    pub(crate) fn hold(&mut self, bytes: Bytes, extents: Vec<Extent>, may_run: bool, has_gap: bool) -> io::Result<()> {
        let before = self.held.replace(Held { bytes, extents, may_run, has_gap });
        before.map_or(Ok(()), |held| self.keep(&held))
    }

    fn keep(&mut self, held: &Held) -> io::Result<()> {
        let Held { bytes: piece, extents, may_run, has_gap } = held;
        let full = self.builder.bytes() + piece.len() > limit::PACKED_FRAME_BYTES_TARGET
            || self.builder.piece_count() as usize + extents.len() > limit::ENTRY_PIECES_MAX;
        if full && self.builder.piece_count() > 0 {
            self.write_frame()?;
        }
        let mut kept = None;
        for extent in extents {
            let desc = PieceDesc {
                stream: extent.stream,
                base: extent.base,
                max_timestamp: extent.max_timestamp,
                epoch: extent.epoch,
                count: extent.count,
                position: 0,
                length: 0,
            };
            let nth = match kept {
                None => self.builder.keep_piece(desc, piece.clone()),
                Some(first) => self.builder.keep_shared(first, desc),
            };
            kept.get_or_insert(nth);
            self.pending.push(Pending { nth, extent: *extent, may_run: *may_run, has_gap: *has_gap });
        }
        Ok(())
    }

    fn write_frame(&mut self) -> io::Result<()> {
        let entry = model::Entry::parse(self.builder.finish(Hlc::default())).map_err(io::Error::other)?;
        let (meta, body) = entry.bytes().split_at(entry.meta_bytes());
        let head = FrameHead {
            kind: Kind::Packed,
            shard: self.shard,
            term: 0,
            index: 0,
            committed: 0,
            flushed: 0,
            meta_bytes: meta.len() as u32,
            body_bytes: body.len() as u32,
            body_crc: crc32c(body),
        };
        let bytes = head.encode(self.id.number(), self.position, meta);
        let used = HEAD_BYTES + entry.bytes().len();
        let padding = vec![0; used.next_multiple_of(ALIGNMENT) - used];
        let parts = [IoSlice::new(&bytes), IoSlice::new(entry.bytes()), IoSlice::new(&padding)];
        self.file.write_at(self.position, &parts)?;
        for Pending { nth, extent, may_run, has_gap } in std::mem::take(&mut self.pending) {
            let Some(desc) = entry.piece(nth) else { continue };
            let position = self.position + HEAD_BYTES as u64 + u64::from(desc.position);
            let extent = Extent { position, length: desc.length, pieces: 1, ..extent };
            match self.table.extents.last_mut() {
                Some(last) if self.run_open && may_run && joins(last, &extent) => {
                    last.length += extent.length;
                    last.count += extent.count;
                    last.pieces += 1;
                    last.max_timestamp = last.max_timestamp.max(extent.max_timestamp);
                }
                _ => self.table.extents.push(extent),
            }
            // In a run each piece follows the one before: that is how they are checked.
            self.run_open = may_run && !has_gap;
        }
        self.position += head.frame_bytes();
        Ok(())
    }

    /// Ends the file. On stable storage on return.
    pub(crate) fn finish(&mut self, journal: &Journal) -> Result<Arc<Finished>, ReclaimError> {
        if let Some(held) = self.held.take() {
            self.keep(&held)?;
        }
        if self.builder.piece_count() > 0 {
            self.write_frame()?;
        }
        self.table.frames_end = self.position;
        self.table.extents.sort_by_key(|extent| (extent.stream, extent.base));
        let bytes = self.table.encode(self.id);
        self.file.write_at(self.position, &[IoSlice::new(&bytes)])?;
        self.file.sync()?;
        let length = self.position + bytes.len() as u64;
        journal.counters.packed_bytes.fetch_add(length, Relaxed);
        let table = TableHead::read(&*self.file, length, self.id)?;
        Ok(Arc::new(Finished {
            id: self.id,
            kind: FileKind::Packed,
            file: self.file.clone(),
            length,
            table,
            refused: Vec::new(),
        }))
    }
}

impl Body {
    /// Whether a piece of it, with these offsets, may share an extent with its neighbours: nobody
    /// else has its bytes, so that they say themselves where they belong, and all of it is alive and
    /// dies in order, so that what is left of the run can be told without reading it.
    fn may_run(&self, from: Offset, to: Offset) -> bool {
        let alone = self.extents.len() == 1;
        let whole = self.extents[0].ranges.iter().any(|range| range.start <= from.0 && to.0 <= range.end);
        self.class != ONE_BY_ONE && alone && whole
    }
}

/// Whether `next` continues `last`, in the stream and in the file.
fn joins(last: &Extent, next: &Extent) -> bool {
    last.stream == next.stream
        && last.end() == next.base
        && last.position + u64::from(last.length) == next.position
        && last.length + next.length <= RUN_BYTES_MAX
}
