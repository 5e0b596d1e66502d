//! Parts of files that go to a socket without passing through this process.

use crate::disk::DiskFile;
use rustix::fd::AsFd;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Has the system read what follows these ranges, which somebody reads in this order, before it is waited for.
pub(crate) fn expect_more<'a>(ranges: impl Iterator<Item = &'a FileRange>) {
    let told = |first: &FileRange, end| first.file.expect_reads(first.position, end);
    let mut run: Option<(&FileRange, u64)> = None;
    for range in ranges {
        match &mut run {
            Some((first, end)) if range.is_in(&first.file) => *end = range.end(),
            _ => {
                if let Some((first, end)) = run.replace((range, range.end())) {
                    told(first, end);
                }
            }
        }
    }
    if let Some((first, end)) = run {
        told(first, end);
    }
}

/// A part of a file, as it is. Whoever has it can read it, also after the file was removed.
#[derive(Clone)]
pub struct FileRange {
    file: Arc<dyn DiskFile>,
    position: u64,
    length: usize,
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({}..+{})", self.position, self.length)
    }
}

impl FileRange {
    /// So many bytes of `file` from `position` on, which are there and stay as they are.
    #[must_use]
    pub fn new(file: Arc<dyn DiskFile>, position: u64, length: usize) -> Self {
        FileRange { file, position, length }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn end(&self) -> u64 {
        self.position + self.length as u64
    }

    pub(crate) fn grow(&mut self, bytes: usize) {
        self.length += bytes;
    }

    /// Leaves out so many bytes at the front, or all there are.
    pub fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.length);
        self.position += bytes as u64;
        self.length -= bytes;
    }

    pub(crate) fn is_in(&self, file: &Arc<dyn DiskFile>) -> bool {
        Arc::ptr_eq(&self.file, file)
    }

    /// Sends bytes to a socket that does not block, as many as it takes. Waits for the disk.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes none, `UnexpectedEof` when the file has none, or as the operating
    /// system says.
    pub fn send(&self, socket: impl AsFd) -> io::Result<usize> {
        let file = self.file.descriptor().ok_or(io::ErrorKind::Unsupported)?;
        let mut position = self.position;
        let sent = rustix::fs::sendfile(socket, file, Some(&mut position), self.length)?;
        if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
    }

    /// The bytes themselves. Waits for the disk.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.file.read_at(self.position, &mut bytes)?;
        Ok(bytes)
    }
}
