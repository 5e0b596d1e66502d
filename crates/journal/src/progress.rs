//! How much of a part of a snapshot is here: what lies beside the part's file. Drawn in
//! docs/formats/journal.md.
//!
//! It is only added to, and never synced: a record is written when what it speaks of is on stable
//! storage. One that is torn or lost leaves the one before it, which is as true.

use crate::disk::DiskFile;
use model::checksum::crc32c;
use model::limit;
use model::wire::Wire;
use std::io;

const MAGIC: [u8; 8] = *b"MSPULLS1";
/// Bytes of a record, and of the head.
pub const RECORD_BYTES: usize = 20;

/// A record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// So many of the part's first bytes are on stable storage.
    pub position: u64,
    /// Their checksum.
    pub crc: u32,
    /// They are all of it, and what they should be.
    pub whole: bool,
}

/// What such a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How long the part will be.
    pub length: u64,
    /// How much of it is here.
    pub progress: Progress,
    /// Records that can be read; the next goes behind them.
    pub records: u64,
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    crc32c(&bytes).put(&mut bytes);
    bytes
}

fn opened(bytes: &[u8]) -> Option<&[u8]> {
    let (content, stored) = bytes.split_at_checked(RECORD_BYTES - 4)?;
    (crc32c(content).to_le_bytes() == stored).then_some(content)
}

/// What such a file begins with.
pub(crate) fn head(length: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    length.put(&mut bytes);
    sealed(bytes)
}

impl Progress {
    /// Its bytes.
    pub(crate) fn record(self) -> Vec<u8> {
        let mut bytes = self.position.to_wire();
        self.crc.put(&mut bytes);
        u32::from(self.whole).put(&mut bytes);
        sealed(bytes)
    }
}

/// Where record `nth` goes; `None` when there are as many as there may be.
pub(crate) fn place(nth: u64) -> Option<u64> {
    let position = (nth + 1) * RECORD_BYTES as u64;
    (position + RECORD_BYTES as u64 <= limit::PULL_PROGRESS_BYTES_MAX).then_some(position)
}

/// Reads such a file. `None` when it does not even say how long the part will be.
///
/// # Errors
/// As the disk says.
pub fn read(file: &dyn DiskFile) -> io::Result<Option<Found>> {
    let mut bytes = vec![0; file.length()?.min(limit::PULL_PROGRESS_BYTES_MAX) as usize];
    file.read_at(0, &mut bytes)?;
    let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
    let mut records = records.iter().map(|record| opened(record));
    let Some(Some(head)) = records.next() else { return Ok(None) };
    let Some(Ok(length)) = head.strip_prefix(&MAGIC).map(u64::from_wire) else { return Ok(None) };
    let mut found = Found { length, progress: Progress::default(), records: 0 };
    for record in records.map_while(|record| record) {
        let Ok((position, crc, whole)) = <(u64, u32, u32)>::from_wire(record) else { break };
        if position > length || whole > 1 {
            break;
        }
        found.progress = Progress { position, crc, whole: whole == 1 };
        found.records += 1;
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Folder};
    use std::io::IoSlice;

    #[test]
    fn the_last_record_that_can_be_read_counts() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let file = disk.create("p", 0).unwrap();
        assert_eq!(read(&*file).unwrap(), None);
        file.write_at(0, &[IoSlice::new(&head(100))]).unwrap();
        let none = Progress { position: 0, crc: 0, whole: false };
        assert_eq!(read(&*file).unwrap(), Some(Found { length: 100, progress: none, records: 0 }));
        let (first, second) =
            (Progress { position: 40, crc: 7, whole: false }, Progress { position: 100, crc: 8, whole: true });
        file.write_at(place(0).unwrap(), &[IoSlice::new(&first.record())]).unwrap();
        file.write_at(place(1).unwrap(), &[IoSlice::new(&second.record())]).unwrap();
        assert_eq!(read(&*file).unwrap(), Some(Found { length: 100, progress: second, records: 2 }));
        // Torn, then gone.
        file.write_at(place(1).unwrap() + 8, &[IoSlice::new(&[9])]).unwrap();
        assert_eq!(read(&*file).unwrap(), Some(Found { length: 100, progress: first, records: 1 }));
        file.truncate(place(1).unwrap() + 3).unwrap();
        assert_eq!(read(&*file).unwrap(), Some(Found { length: 100, progress: first, records: 1 }));
        // More than there is of the part is no progress.
        let beyond = Progress { position: 101, crc: 7, whole: false };
        file.write_at(place(1).unwrap(), &[IoSlice::new(&beyond.record())]).unwrap();
        assert_eq!(read(&*file).unwrap().map(|found| found.records), Some(1));
        file.write_at(10, &[IoSlice::new(&[1])]).unwrap();
        assert_eq!(read(&*file).unwrap(), None);
    }
}
