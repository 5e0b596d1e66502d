//! The table at the end of a finished file: where its Raft entries and its pieces are. Drawn in
//! docs/formats/journal.md.
//!
//! Everything in it can be derived by scanning the frames, so a damaged table is rebuilt, never a
//! loss. Pages of extents are read when asked for; only the first key of each page stays in memory.
//!
//! ```text
//! entries   32 bytes each: position u64, term u64, meta u32, body u32, kind u8, zero
//! pages     4,096 bytes each: extents u32, CRC32C u32 of the rest, 48 bytes an extent, zero
//! fences    16 bytes each: stream u64, base offset u64 of the page's first extent
//! trailer   128 bytes
//! ```

use crate::disk::DiskFile;
use crate::file::FileId;
use crate::frame::Kind;
use model::checksum::{crc32c, crc32c_of};
use model::wire::{Input, Wire, WireError};
use model::{LeaderEpoch, Offset, PieceHead, StreamId, Timestamp, limit, piece};
use std::io;
use std::ops::Range;

/// Bytes of an extent in a page.
pub const EXTENT_BYTES: usize = 48;
/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
const PAGE_HEAD_BYTES: usize = 8;
const ROW_BYTES: usize = 32;
const FENCE_BYTES: usize = 16;
/// Bytes of the trailer, the last of the file.
pub const TRAILER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"MSTABLE1";

const _: () = assert!(PAGE_HEAD_BYTES + limit::TABLE_PAGE_EXTENTS * EXTENT_BYTES <= PAGE_BYTES);

/// A run of consecutive records of one stream that lies in one piece of the file.
///
/// It is one piece, or, in packed files, several pieces back to back whose own heads tell them
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The stream.
    pub stream: StreamId,
    /// Offset of the first record.
    pub base: Offset,
    /// Greatest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// Where the bytes start in the file.
    pub position: u64,
    /// How many bytes.
    pub length: u32,
    /// Offsets taken, those of records included that compaction removed behind the last piece.
    pub count: u32,
    /// Leader epoch of the first piece.
    pub epoch: LeaderEpoch,
    /// How many pieces.
    pub pieces: u32,
}

impl Extent {
    /// One past the last offset.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }

    /// Makes sure that `bytes`, as read, are its pieces, and tells them apart; `None` when they are
    /// not what was written.
    ///
    /// What a leader writes lies outside a piece's checksum: of a piece alone the table, which has
    /// one, is believed instead; the pieces of a run have to follow one another.
    #[must_use]
    pub fn check(&self, bytes: &mut [u8]) -> Option<Vec<(PieceHead, Range<usize>)>> {
        if bytes.len() < piece::PREFIX_BYTES {
            return None;
        }
        if self.pieces == 1 {
            // Of bytes that streams share, this is what is right here.
            piece::assign(bytes, self.base, self.epoch);
        }
        let mut next = self.base;
        let mut pieces = Vec::with_capacity(self.pieces.min(1024) as usize);
        for found in piece::walk(bytes) {
            let (head, range) = found.ok()?;
            piece::verify(&bytes[range.clone()]).ok()?;
            if head.base != next {
                return None;
            }
            next = head.end();
            pieces.push((head, range));
        }
        // Where compaction removed the pieces that followed, the last one stands for their offsets too.
        (pieces.len() == self.pieces as usize && next <= self.end()).then_some(pieces)
    }
}

impl Wire for Extent {
    fn put(&self, out: &mut Vec<u8>) {
        self.stream.put(out);
        self.base.put(out);
        self.max_timestamp.put(out);
        self.position.put(out);
        self.length.put(out);
        self.count.put(out);
        self.epoch.put(out);
        self.pieces.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(Extent {
            stream: Wire::take(input)?,
            base: Wire::take(input)?,
            max_timestamp: Wire::take(input)?,
            position: Wire::take(input)?,
            length: Wire::take(input)?,
            count: Wire::take(input)?,
            epoch: Wire::take(input)?,
            pieces: Wire::take(input)?,
        })
    }
}

/// Where a Raft entry's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Where its frame starts.
    pub position: u64,
    /// Its term.
    pub term: u64,
    /// Bytes of meta.
    pub meta_bytes: u32,
    /// Bytes of body.
    pub body_bytes: u32,
    /// What it is.
    pub kind: Kind,
}

impl EntryRow {
    /// Stands for an entry below the Raft log's floor that damage took.
    pub const LOST: EntryRow = EntryRow { position: 0, term: 0, meta_bytes: 0, body_bytes: 0, kind: Kind::Blank };

    /// Whether damage took the entry.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.position == 0
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.position.put(out);
        self.term.put(out);
        self.meta_bytes.put(out);
        self.body_bytes.put(out);
        let kind: u8 = match self.kind {
            Kind::Entry => 1,
            Kind::Blank => 2,
            Kind::Membership => 3,
            Kind::Vote | Kind::Packed => unreachable!("only entries have rows"),
        };
        out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let (position, term, meta_bytes, body_bytes) = Wire::take(input)?;
        let [kind, ..] = input.array::<8>()?;
        let kind = match kind {
            1 => Kind::Entry,
            2 => Kind::Blank,
            3 => Kind::Membership,
            tag => return Err(WireError::Tag { what: "entry row", tag: tag.into() }),
        };
        Ok(EntryRow { position, term, meta_bytes, body_bytes, kind })
    }
}

/// A table, whole: what is written when a file is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Where the frames end.
    pub frames_end: u64,
    /// Raft indexes the file's content came from, inclusive: its rank among files. Of a log file,
    /// also the indexes that `entries` are for.
    pub first_index: u64,
    /// See `first_index`. Less than it when there is none.
    pub last_index: u64,
    /// Of a log file: a row for each index of the range.
    pub entries: Vec<EntryRow>,
    /// Ascending by stream and base offset.
    pub extents: Vec<Extent>,
}

impl Table {
    /// The bytes that follow the frames, trailer included.
    #[must_use]
    pub fn encode(&self, file: FileId) -> Vec<u8> {
        let mut out = Vec::new();
        self.entries.iter().for_each(|row| row.put(&mut out));
        let entries_crc = crc32c(&out);
        let mut fences = Vec::new();
        let mut pages = 0u32;
        for chunk in self.extents.chunks(limit::TABLE_PAGE_EXTENTS) {
            let mut page = vec![0; PAGE_HEAD_BYTES];
            chunk.iter().for_each(|extent| extent.put(&mut page));
            page.resize(PAGE_BYTES, 0);
            page[0..4].copy_from_slice(&(chunk.len() as u32).to_le_bytes());
            let crc = page_crc(file, pages, &page);
            page[4..8].copy_from_slice(&crc.to_le_bytes());
            out.extend_from_slice(&page);
            (chunk[0].stream, chunk[0].base).put(&mut fences);
            pages += 1;
        }
        out.extend_from_slice(&fences);
        let mut trailer = MAGIC.to_vec();
        self.frames_end.put(&mut trailer);
        self.first_index.put(&mut trailer);
        self.last_index.put(&mut trailer);
        (self.entries.len() as u32).put(&mut trailer);
        entries_crc.put(&mut trailer);
        pages.put(&mut trailer);
        (self.extents.len() as u32).put(&mut trailer);
        crc32c(&fences).put(&mut trailer);
        trailer.resize(TRAILER_BYTES - 4, 0);
        crc32c_of(&[&file.number().to_le_bytes(), &trailer]).put(&mut trailer);
        out.extend_from_slice(&trailer);
        out
    }
}

fn page_crc(file: FileId, page: u32, bytes: &[u8]) -> u32 {
    crc32c_of(&[&file.number().to_le_bytes(), &page.to_le_bytes(), &bytes[0..4], &bytes[8..]])
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file does not end in one: it was never finished.
    #[error("the file has no table")]
    Absent,
    /// It does, and the bytes are not what was written. Rebuild it.
    #[error("damaged table: {0}")]
    Damaged(&'static str),
    /// The disk did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The part of a table that stays in memory: sizes and one key a page.
#[derive(Clone, Debug)]
pub struct TableHead {
    file: FileId,
    /// Where the frames end.
    pub frames_end: u64,
    /// See [`Table::first_index`].
    pub first_index: u64,
    /// See [`Table::last_index`].
    pub last_index: u64,
    /// Extents in all pages.
    pub extents: u32,
    entry_count: u32,
    entries_crc: u32,
    pages_at: u64,
    fences: Vec<(StreamId, Offset)>,
}

/// A checked page of extents. They are read one by one: a look-up needs few of them.
struct Page {
    bytes: Vec<u8>,
    count: usize,
}

impl Page {
    fn extent(&self, nth: usize) -> Result<Extent, TableError> {
        let at = PAGE_HEAD_BYTES + nth * EXTENT_BYTES;
        Extent::from_wire(&self.bytes[at..at + EXTENT_BYTES]).map_err(|_| TableError::Damaged("page"))
    }

    /// The first extent of `stream` that ends above `from`, or what follows where it would be.
    fn first_above(&self, stream: StreamId, from: Offset) -> Result<usize, TableError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let extent = self.extent(middle)?;
            if (extent.stream, extent.end()) <= (stream, from) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

impl TableHead {
    /// Reads the head of the table that ends `disk_file`, whose length is `length`.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn read(disk_file: &dyn DiskFile, length: u64, file: FileId) -> Result<Self, TableError> {
        let Some(trailer_at) = length.checked_sub(TRAILER_BYTES as u64) else {
            return Err(TableError::Absent);
        };
        let mut trailer = [0; TRAILER_BYTES];
        disk_file.read_at(trailer_at, &mut trailer)?;
        let (rest, stored) = trailer.split_at(TRAILER_BYTES - 4);
        if rest[0..8] != MAGIC {
            return Err(TableError::Absent);
        }
        if crc32c_of(&[&file.number().to_le_bytes(), rest]).to_le_bytes() != stored {
            return Err(TableError::Damaged("trailer"));
        }
        let mut input = Input::new(&rest[8..]);
        let mut fields = || -> Result<_, WireError> {
            let places: (u64, u64, u64) = Wire::take(&mut input)?;
            let entries: (u32, u32) = Wire::take(&mut input)?;
            let pages: (u32, u32, u32) = Wire::take(&mut input)?;
            Ok((places, entries, pages))
        };
        let ((frames_end, first_index, last_index), (entry_count, entries_crc), (pages, extents, fences_crc)) =
            fields().map_err(|_| TableError::Damaged("trailer"))?;
        let (row_bytes, page_bytes) = (u64::from(entry_count) * ROW_BYTES as u64, u64::from(pages) * PAGE_BYTES as u64);
        let fence_bytes = u64::from(pages) * FENCE_BYTES as u64;
        // The sizes of a table are what fits between the frames and the trailer, and nothing else.
        if frames_end.checked_add(row_bytes + page_bytes + fence_bytes) != Some(trailer_at) {
            return Err(TableError::Damaged("sizes"));
        }
        let pages_at = frames_end + row_bytes;
        let fences_at = pages_at + page_bytes;
        let mut bytes = vec![0; fence_bytes as usize];
        disk_file.read_at(fences_at, &mut bytes)?;
        if crc32c(&bytes) != fences_crc {
            return Err(TableError::Damaged("fences"));
        }
        let mut input = Input::new(&bytes);
        let fences = (0..pages).map(|_| Wire::take(&mut input)).collect::<Result<_, _>>();
        let fences = fences.map_err(|_| TableError::Damaged("fences"))?;
        Ok(TableHead { file, frames_end, first_index, last_index, extents, entry_count, entries_crc, pages_at, fences })
    }

    /// Pages of extents.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.fences.len() as u32
    }

    /// Bytes it takes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.fences.capacity() * size_of::<(StreamId, Offset)>()
    }

    /// The rows of a log file's entries.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn entries(&self, disk_file: &dyn DiskFile) -> Result<Vec<EntryRow>, TableError> {
        let mut bytes = vec![0; self.entry_count as usize * ROW_BYTES];
        disk_file.read_at(self.frames_end, &mut bytes)?;
        if crc32c(&bytes) != self.entries_crc {
            return Err(TableError::Damaged("entries"));
        }
        let mut input = Input::new(&bytes);
        let rows = (0..self.entry_count).map(|_| EntryRow::take(&mut input)).collect::<Result<_, _>>();
        rows.map_err(|_| TableError::Damaged("entries"))
    }

    /// The extents of page `page`.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn page(&self, disk_file: &dyn DiskFile, page: u32) -> Result<Vec<Extent>, TableError> {
        let page = self.read_page(disk_file, page)?;
        (0..page.count).map(|nth| page.extent(nth)).collect()
    }

    fn read_page(&self, disk_file: &dyn DiskFile, page: u32) -> Result<Page, TableError> {
        let mut bytes = vec![0; PAGE_BYTES];
        disk_file.read_at(self.pages_at + u64::from(page) * PAGE_BYTES as u64, &mut bytes)?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let count = u32_at(0) as usize;
        if u32_at(4) != page_crc(self.file, page, &bytes) || count > limit::TABLE_PAGE_EXTENTS {
            return Err(TableError::Damaged("page"));
        }
        Ok(Page { bytes, count })
    }

    /// The extents of `stream` that end above `from`, ascending, page by page.
    pub fn extents_from<'a>(
        &'a self,
        disk_file: &'a dyn DiskFile,
        stream: StreamId,
        from: Offset,
    ) -> impl Iterator<Item = Result<Extent, TableError>> + 'a {
        // The page before the first key above (stream, from) may hold the extent that covers it.
        let after = self.fences.partition_point(|fence| *fence <= (stream, from));
        let mut page = after.saturating_sub(1) as u32;
        let mut current: Option<(Page, usize)> = None;
        let mut failed = false;
        std::iter::from_fn(move || {
            while !failed {
                let next = match &mut current {
                    Some((content, nth)) if *nth < content.count => {
                        *nth += 1;
                        content.extent(*nth - 1)
                    }
                    _ if self.fences.get(page as usize).is_none_or(|fence| fence.0 > stream) => return None,
                    _ => match self.read_page(disk_file, page).and_then(|content| {
                        let first = content.first_above(stream, from)?;
                        Ok((content, first))
                    }) {
                        Ok(content) => {
                            current = Some(content);
                            page += 1;
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                };
                failed = next.is_err();
                return match next {
                    Ok(extent) if extent.stream > stream => None,
                    other => Some(other),
                };
            }
            None
        })
    }

    /// All extents, ascending, page by page.
    pub fn all_extents<'a>(
        &'a self,
        disk_file: &'a dyn DiskFile,
    ) -> impl Iterator<Item = Result<Extent, TableError>> + 'a {
        (0..self.pages()).flat_map(move |page| match self.page(disk_file, page) {
            Ok(extents) => extents.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Folder};
    use std::io::IoSlice;

    fn extent(stream: u64, base: u64, count: u32) -> Extent {
        Extent {
            stream: StreamId(stream),
            base: Offset(base),
            max_timestamp: Timestamp(1),
            position: base * 10,
            length: 10,
            count,
            epoch: LeaderEpoch(1),
            pieces: 1,
        }
    }

    fn file_with(table: &Table, id: FileId) -> (tempfile::TempDir, std::sync::Arc<dyn DiskFile>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let bytes = table.encode(id);
        let file = disk.create("f", 0).unwrap();
        file.write_at(table.frames_end, &[IoSlice::new(&bytes)]).unwrap();
        let length = table.frames_end + bytes.len() as u64;
        (folder, file, length)
    }

    #[test]
    fn look_ups_find_the_extent_that_covers_or_follows() {
        let id = FileId { journal: 1, sequence: 2 };
        let mut extents = Vec::new();
        for stream in [2, 4, 5] {
            for nth in 0..200 {
                extents.push(extent(stream, nth * 10, 5)); // a hole after each
            }
        }
        let row = EntryRow { position: 64, term: 3, meta_bytes: 1, body_bytes: 2, kind: Kind::Blank };
        let table = Table { frames_end: 4096, first_index: 9, last_index: 9, entries: vec![row], extents };
        let (_folder, file, length) = file_with(&table, id);
        let head = TableHead::read(&*file, length, id).unwrap();
        assert_eq!(head.entries(&*file).unwrap(), [row]);
        let find = |stream, from| {
            let found = head.extents_from(&*file, StreamId(stream), Offset(from)).next();
            found.map(|extent| extent.unwrap().base.0)
        };
        for stream in [2, 4, 5] {
            for nth in 0..200 {
                assert_eq!(find(stream, nth * 10), Some(nth * 10));
                assert_eq!(find(stream, nth * 10 + 4), Some(nth * 10));
                let next = (nth < 199).then_some(nth * 10 + 10);
                assert_eq!(find(stream, nth * 10 + 5), next, "stream {stream} nth {nth}");
            }
            assert_eq!(head.extents_from(&*file, StreamId(stream), Offset(0)).count(), 200);
        }
        for stream in [1, 3, 6] {
            assert_eq!(find(stream, 0), None);
        }
        assert_eq!(head.all_extents(&*file).map(Result::unwrap).collect::<Vec<_>>(), table.extents);
    }

    #[test]
    fn a_damaged_table_says_so() {
        let id = FileId { journal: 1, sequence: 2 };
        let extents = (0..500).map(|n| extent(1, n * 5, 5)).collect();
        let table = Table { frames_end: 64, first_index: 1, last_index: 0, entries: vec![], extents };
        let (_folder, file, length) = file_with(&table, id);
        file.write_at(64 + 4096 + 100, &[IoSlice::new(&[0xff])]).unwrap();
        let head = TableHead::read(&*file, length, id).unwrap();
        assert!(head.page(&*file, 0).is_ok());
        assert!(matches!(head.page(&*file, 1), Err(TableError::Damaged("page"))));
        file.write_at(length - 50, &[IoSlice::new(&[0xff])]).unwrap();
        assert!(matches!(TableHead::read(&*file, length, id), Err(TableError::Damaged("trailer"))));
        let other = FileId { journal: 1, sequence: 3 };
        assert!(matches!(TableHead::read(&*file, length, other), Err(TableError::Damaged("trailer"))));
        assert!(matches!(TableHead::read(&*file, length - 8, id), Err(TableError::Absent)));
    }

    #[test]
    fn an_empty_table_is_a_table() {
        let id = FileId { journal: 1, sequence: 2 };
        let table = Table { frames_end: 64, first_index: 1, ..Table::default() };
        let (_folder, file, length) = file_with(&table, id);
        let head = TableHead::read(&*file, length, id).unwrap();
        assert_eq!(head.extents_from(&*file, StreamId(1), Offset(0)).count(), 0);
    }
}
