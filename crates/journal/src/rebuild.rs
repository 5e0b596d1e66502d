//! Deriving a finished file's table from its frames, which describe themselves.

use crate::disk::{Disk, DiskFile};
use crate::file::{FileHeader, FileKind, HEADER_BYTES, name};
use crate::frame::{HEAD_BYTES, Kind};
use crate::manifest::Listed;
use crate::scan::{End, Scanner};
use crate::state::Finished;
use crate::table::{EntryRow, Extent, Table, TableError, TableHead};
use model::{PieceDesc, ShardId};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Opens a listed file; its table is rebuilt when it is damaged.
pub(crate) fn open_finished(disk: &dyn Disk, shard: ShardId, listed: &Listed) -> Result<Arc<Finished>, TableError> {
    let file = disk.open(&name(listed.id, listed.kind))?;
    match read_whole(&*file, listed) {
        Ok(table) => Ok(finished(file, listed, table)),
        Err(TableError::Io(error)) => Err(error.into()),
        Err(damaged) => {
            tracing::warn!(file = %listed.id, error = %damaged, "rebuilding a table");
            rebuild(file, shard, listed)
        }
    }
}

fn finished(file: Arc<dyn DiskFile>, listed: &Listed, table: TableHead) -> Arc<Finished> {
    let refused = listed.refused.clone();
    Arc::new(Finished { id: listed.id, kind: listed.kind, file, length: listed.length, table, refused })
}

/// Whether the file's header and its table, the table's pages aside, are as they were written.
pub(crate) fn check(file: &Finished) -> Result<(), TableError> {
    if read_header(&*file.file)?.is_none() {
        return Err(TableError::Damaged("the file's header"));
    }
    read_whole(&*file.file, &file.listed()).map(|_| ())
}

/// Whether a file that was copied is all of what is listed: its header, every frame, its table.
pub(crate) fn verify(file: &dyn DiskFile, listed: &Listed) -> Result<(), TableError> {
    let table = read_whole(file, listed)?;
    for page in 0..table.pages() {
        table.page(file, page)?;
    }
    let opened = Scanner::open(file, listed.frames_end, 0, listed.frames_end)?;
    let (header, mut scanner) = opened.ok_or(TableError::Damaged("the header"))?;
    if (header.id, header.kind) != (listed.id, listed.kind) {
        return Err(TableError::Damaged("the header is another file's"));
    }
    loop {
        match scanner.next_frame()? {
            Ok(found) if found.body_ok == Some(true) => {}
            Err(End::Limit) => return Ok(()),
            Ok(_) | Err(End::Zeros | End::Torn | End::Damaged { .. }) => return Err(TableError::Damaged("a frame")),
        }
    }
}

/// Whether a file that was copied can be opened as it is, whatever its frames are.
pub(crate) fn opens(file: &dyn DiskFile, listed: &Listed) -> bool {
    let header = read_header(file).ok().flatten();
    header.is_some_and(|header| header.id == listed.id) && read_whole(file, listed).is_ok()
}

fn read_header(file: &dyn DiskFile) -> io::Result<Option<FileHeader>> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes)?;
    Ok(FileHeader::decode(&bytes))
}

/// The parts of a table that opening a file rests on.
fn read_whole(file: &dyn DiskFile, listed: &Listed) -> Result<TableHead, TableError> {
    if file.length()? < listed.length {
        return Err(TableError::Absent);
    }
    let table = TableHead::read(file, listed.length, listed.id)?;
    let found = (table.frames_end, table.first_index, table.last_index);
    if found != (listed.frames_end, listed.first_index, listed.last_index) {
        return Err(TableError::Damaged("not the table that is listed"));
    }
    table.entries(file)?;
    Ok(table)
}

/// Writes the table that the file's frames give, which may be longer than the one before: the file's
/// new length counts when it is listed, and until then this is done again. On stable storage on
/// return.
///
/// # Errors
/// When a frame cannot be read either, or as the disk says.
pub(crate) fn rebuild(file: Arc<dyn DiskFile>, shard: ShardId, listed: &Listed) -> Result<Arc<Finished>, TableError> {
    write_header(&*file, shard, listed)?;
    let bytes = derive(&*file, listed)?.encode(listed.id);
    file.write_at(listed.frames_end, &[IoSlice::new(&bytes)])?;
    file.sync()?;
    let listed = Listed { length: listed.frames_end + bytes.len() as u64, ..listed.clone() };
    let table = read_whole(&*file, &listed)?;
    Ok(finished(file, &listed, table))
}

/// Writes a finished file's header again if it is damaged.
fn write_header(file: &dyn DiskFile, shard: ShardId, listed: &Listed) -> io::Result<()> {
    if read_header(file)?.is_none() {
        // What it says of the file before mattered only until this one was finished.
        let header = FileHeader { id: listed.id, kind: listed.kind, shard, previous: None, copy: false };
        file.write_at(0, &[IoSlice::new(&header.encode())])?;
    }
    Ok(())
}

/// Where the pieces of a file are, by its frames. Its header is mended.
///
/// # Errors
/// When a frame cannot be read, or as the disk says.
pub(crate) fn extents(file: &dyn DiskFile, shard: ShardId, listed: &Listed) -> Result<Vec<Extent>, TableError> {
    write_header(file, shard, listed)?;
    Ok(derive(file, listed)?.extents)
}

fn derive(file: &dyn DiskFile, listed: &Listed) -> Result<Table, TableError> {
    let opened = Scanner::open(file, listed.frames_end, u64::MAX, listed.frames_end)?;
    let (_, mut scanner) = opened.ok_or(TableError::Damaged("the header"))?;
    let mut table = Table {
        frames_end: listed.frames_end,
        first_index: listed.first_index,
        last_index: listed.last_index,
        ..Table::default()
    };
    // A later frame replaces everything from its index on.
    let mut entries = BTreeMap::new();
    loop {
        let found = match scanner.next_frame()? {
            Ok(found) => found,
            Err(End::Limit) => break,
            Err(End::Zeros | End::Torn | End::Damaged { .. }) => {
                return Err(TableError::Damaged("a frame is, too"));
            }
        };
        match found.head.kind {
            Kind::Vote => {}
            Kind::Packed => {
                let content = found.head.meta_bytes as usize + found.head.body_bytes as usize;
                let mut bytes = vec![0; content];
                file.read_at(found.position + HEAD_BYTES as u64, &mut bytes)?;
                let entry = model::Entry::parse(bytes.into()).map_err(|_| TableError::Damaged("a frame is, too"))?;
                let pieces: Vec<_> = entry.pieces().collect();
                table.extents.extend(pieces.iter().map(|piece| placed(piece, found.position)));
            }
            Kind::Entry | Kind::Blank | Kind::Membership => {
                entries.split_off(&found.head.index);
                entries.insert(found.head.index, found);
            }
        }
    }
    if listed.kind == FileKind::Log {
        for index in listed.first_index..=listed.last_index {
            let Some(found) = entries.remove(&index) else {
                table.entries.push(EntryRow::LOST);
                continue;
            };
            table.entries.push(EntryRow {
                position: found.position,
                term: found.head.term,
                meta_bytes: found.head.meta_bytes,
                body_bytes: found.head.body_bytes,
                kind: found.head.kind,
            });
            if found.head.kind != Kind::Entry {
                continue;
            }
            let pieces = model::entry::descriptions(&found.meta);
            let pieces = pieces.map_err(|_| TableError::Damaged("a frame's meta is no meta"))?;
            let refused = |nth: usize| listed.refused.contains(&(index, nth as u32));
            let accepted = pieces.iter().enumerate().filter(|(nth, _)| !refused(*nth));
            table.extents.extend(accepted.map(|(_, piece)| placed(piece, found.position)));
        }
    }
    table.extents.sort_by_key(|extent| (extent.stream, extent.base));
    Ok(table)
}

/// A piece of the frame at `frame` as an extent. Runs of pieces in packed files are not put together
/// again: that takes knowing what was alive then.
fn placed(piece: &PieceDesc, frame: u64) -> Extent {
    Extent {
        stream: piece.stream,
        base: piece.base,
        max_timestamp: piece.max_timestamp,
        position: frame + HEAD_BYTES as u64 + u64::from(piece.position),
        length: piece.length,
        count: piece.count,
        epoch: piece.epoch,
        pieces: 1,
    }
}

impl From<TableError> for io::Error {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}
