//! Walking the frames of a log or packed file, and telling a torn tail from damage.

use crate::disk::DiskFile;
use crate::file::{FileHeader, FileId, HEADER_BYTES};
use crate::frame::{ALIGNMENT, FrameHead, HEAD_BYTES};
use std::io;

/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A frame whose head and meta are what was written.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it starts.
    pub position: u64,
    /// Its head.
    pub head: FrameHead,
    /// Its meta.
    pub meta: Vec<u8>,
    /// Whether its body is what was written; `None` when that was not looked at.
    pub body_ok: Option<bool>,
}

/// What follows the last frame found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The bytes asked for are used up.
    Limit,
    /// Nothing but zeros: where writing stopped.
    Zeros,
    /// Bytes that are no frame, and after them nothing that shows they were once on stable storage:
    /// a write that power loss cut short, or damage that looks like one.
    Torn,
    /// Bytes that are no frame though they were on stable storage: a frame at the second position
    /// or the caller's own knowledge shows that.
    Damaged {
        /// Where the next frame that can be read starts.
        resumes_at: Option<u64>,
    },
}

/// Reads a file through a window.
struct Window<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// `count` bytes from `position`, or `None` where the file ends before them.
    fn get(&mut self, position: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if position + count as u64 > self.length {
            return Ok(None);
        }
        let inside = position >= self.at && position + count as u64 <= self.at + self.bytes.len() as u64;
        if !inside {
            let want = (count.max(WINDOW_BYTES) as u64).min(self.length - position);
            self.bytes.resize(want as usize, 0);
            self.at = position;
            if let Err(error) = self.file.read_at(position, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = (position - self.at) as usize;
        Ok(Some(&self.bytes[from..from + count]))
    }
}

/// Walks one file.
pub struct Scanner<'a> {
    window: Window<'a>,
    file_number: u128,
    /// Frames at or beyond this do not count.
    limit: u64,
    /// Bodies at or beyond this are verified.
    verify_from: u64,
    position: u64,
    /// The greatest `flushed` that a frame of this file has shown.
    flushed: u64,
}

impl<'a> Scanner<'a> {
    /// Opens `file` for a walk over the frames that start below `limit`; bodies are verified from
    /// `verify_from` on, and everything below `flushed` is known to have been on stable storage.
    /// Returns the file's header too, unless that is damaged.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn open(
        file: &'a dyn DiskFile,
        limit: u64,
        verify_from: u64,
        flushed: u64,
    ) -> io::Result<Option<(FileHeader, Self)>> {
        let mut window = Window { file, length: file.length()?, at: 0, bytes: Vec::new() };
        let header = window.get(0, HEADER_BYTES)?.and_then(|bytes| FileHeader::decode(bytes.try_into().ok()?));
        Ok(header.map(|header| (header, Scanner::begin(window, header.id, limit, verify_from, flushed))))
    }

    /// The same for a file whose id is known from elsewhere, whatever its header says.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn over(file: &'a dyn DiskFile, id: FileId, limit: u64, verify_from: u64, flushed: u64) -> io::Result<Self> {
        let window = Window { file, length: file.length()?, at: 0, bytes: Vec::new() };
        Ok(Scanner::begin(window, id, limit, verify_from, flushed))
    }

    fn begin(window: Window<'a>, id: FileId, limit: u64, verify_from: u64, flushed: u64) -> Self {
        let (file_number, limit) = (id.number(), limit.min(window.length));
        Scanner { window, file_number, limit, verify_from, position: HEADER_BYTES as u64, flushed }
    }

    /// Where the next frame would start.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that are known to be on stable storage, from what was seen so far.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Continues at `position`, past damage.
    pub fn resume_at(&mut self, position: u64) {
        self.position = position;
    }

    /// The next frame, or what there is instead.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn next_frame(&mut self) -> io::Result<Result<Found, End>> {
        if self.position >= self.limit {
            return Ok(Err(End::Limit));
        }
        match self.frame_at(self.position, self.verify_from)? {
            Some(found) if found.body_ok != Some(false) || found.position < self.flushed => {
                self.flushed = self.flushed.max(found.head.flushed);
                self.position += found.head.frame_bytes();
                Ok(Ok(found))
            }
            _ => Ok(Err(self.classify()?)),
        }
    }

    fn frame_at(&mut self, position: u64, verify_from: u64) -> io::Result<Option<Found>> {
        let Some(bytes) = self.window.get(position, HEAD_BYTES)? else {
            return Ok(None);
        };
        let Ok(head_bytes) = <[u8; HEAD_BYTES]>::try_from(bytes) else {
            return Ok(None);
        };
        let Some(head) = FrameHead::decode(&head_bytes) else {
            return Ok(None);
        };
        let meta_at = position + HEAD_BYTES as u64;
        let Some(meta) = self.window.get(meta_at, head.meta_bytes as usize)? else {
            return Ok(None);
        };
        if !head.verify_meta(&head_bytes, self.file_number, position, meta) {
            return Ok(None);
        }
        let meta = meta.to_vec();
        let body_at = meta_at + u64::from(head.meta_bytes);
        let mut body_ok = None;
        if body_at + u64::from(head.body_bytes) > self.limit {
            body_ok = Some(false);
        } else if position >= verify_from {
            let body = self.window.get(body_at, head.body_bytes as usize)?;
            body_ok = Some(body.is_some_and(|body| head.verify_body(body)));
        }
        Ok(Some(Found { position, head, meta, body_ok }))
    }

    /// What the bytes at the current position, which are no frame, mean.
    fn classify(&mut self) -> io::Result<End> {
        let stopped_at = self.position;
        let mut only_zeros = true;
        let mut resumes_at = None;
        let mut position = stopped_at;
        while position + ALIGNMENT as u64 <= self.limit {
            let Some(word) = self.window.get(position, ALIGNMENT)? else {
                break;
            };
            if word.iter().any(|byte| *byte != 0) {
                only_zeros = false;
                if position > stopped_at
                    && let Some(found) = self.frame_at(position, u64::MAX)?
                {
                    resumes_at.get_or_insert(position);
                    self.flushed = self.flushed.max(found.head.flushed);
                    position += found.head.frame_bytes();
                    continue;
                }
            }
            position += ALIGNMENT as u64;
        }
        Ok(if stopped_at < self.flushed {
            End::Damaged { resumes_at }
        } else if only_zeros {
            End::Zeros
        } else {
            End::Torn
        })
    }
}
