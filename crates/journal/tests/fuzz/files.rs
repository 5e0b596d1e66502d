//! A file of a journal, read as every sort there is, and as the name of one. The first byte says whether the outermost
//! checksums are made to match, which a fuzzer would not find the way past otherwise.

use journal::checkpoint::read_chain;
use journal::disk::{Disk, DiskFile};
use journal::file::{FileId, name, parse_name};
use journal::manifest::{CheckpointFile, Manifest};
use journal::progress::{self, RECORD_BYTES};
use journal::scan::Scanner;
use journal::table::TableHead;
use journal::{compacted, skips};
use model::checksum::{crc32c, crc32c_of};
use model::{Offset, StreamId};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

const ID: FileId = FileId { journal: 1, sequence: 2 };

/// A disk whose every file has these bytes.
struct Memory(Arc<Vec<u8>>);

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create(&self, _name: &str, _length: u64) -> io::Result<Arc<dyn DiskFile>> {
        Err(ErrorKind::Unsupported.into())
    }
    fn open(&self, _name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Memory(self.0.clone())))
    }
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
    fn boot_id(&self) -> u128 {
        0
    }
}

impl DiskFile for Memory {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(position).ok().and_then(|from| self.0.get(from..)).unwrap_or_default();
        let found = rest.get(..buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
    fn write_at(&self, _position: u64, _parts: &[IoSlice<'_>]) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&self, _length: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some((&mend, data)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(data)
        && let Some((id, kind)) = parse_name(text)
    {
        assert_eq!(name(id, kind), text, "each file has one name");
    }
    let mut bytes = data.to_vec();
    let end = bytes.len();
    if mend & 1 == 1 && end >= 64 {
        let sum = crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&sum);
    }
    if mend & 2 == 2 && end >= 128 {
        let sum = crc32c_of(&[&ID.number().to_le_bytes(), &bytes[end - 128..end - 4]]).to_le_bytes();
        bytes[end - 4..].copy_from_slice(&sum);
    } else if mend & 4 == 4 && end >= 12 {
        let sum = crc32c(&bytes[..end - 4]).to_le_bytes();
        bytes[end - 4..].copy_from_slice(&sum);
    }
    if mend & 8 == 8 {
        for record in bytes.as_chunks_mut::<RECORD_BYTES>().0 {
            let sum = crc32c(&record[..RECORD_BYTES - 4]).to_le_bytes();
            record[RECORD_BYTES - 4..].copy_from_slice(&sum);
        }
    }
    let disk = Memory(Arc::new(bytes));
    let _ = Manifest::read(&disk);
    let _ = skips::read(&disk);
    let _ = compacted::read(&disk);
    if let Ok(Some(found)) = progress::read(&disk) {
        assert!(found.progress.position <= found.length && found.records * RECORD_BYTES as u64 <= end as u64);
    }
    let number = disk.0.get(16..24).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    let _ = read_chain(&disk, &[CheckpointFile { number, length: end as u64 }]);
    if let Ok(table) = TableHead::read(&disk, end as u64, ID) {
        let _ = table.entries(&disk);
        assert!(table.all_extents(&disk).count() <= end);
        let _ = table.extents_from(&disk, StreamId(1), Offset(1)).count();
    }
    if let Ok(Some((_, mut scanner))) = Scanner::open(&disk, end as u64, 0, 0) {
        while let Ok(Ok(_)) = scanner.next_frame() {}
    }
}
