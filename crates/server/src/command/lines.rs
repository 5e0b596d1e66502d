//! Lines from a file or a pipe, one at a time, without waiting longer than is wanted.

use super::failure::in_words;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::Duration;

const READ_BYTES: usize = 64 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing, for as long as was to be waited.
    Nothing,
    /// There are no more.
    End,
}

/// The lines of an input. Each has at most so many bytes.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    /// What was read; from `start` on it was not returned yet, and up to `searched` there is no line's end.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    bytes_max: usize,
    ended: bool,
    /// How many bytes were read.
    bytes: u64,
}

impl<R: Read + AsFd> Lines<R> {
    pub(crate) fn new(input: R, bytes_max: usize) -> Self {
        Lines { input, buffer: Vec::new(), start: 0, searched: 0, bytes_max, ended: false, bytes: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; waits for it, but no longer than `wait` if that is given.
    ///
    /// # Errors
    /// When a line is too long, or the input cannot be read.
    pub(crate) fn next(&mut self, wait: Option<Duration>) -> Result<Came, String> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Came::Line(line));
            }
            if self.ended {
                return Ok(Came::End);
            }
            if self.buffer.len() - self.start > self.bytes_max {
                return Err(format!("it is longer than {} bytes", self.bytes_max));
            }
            if !self.wait(wait)? {
                return Ok(Came::Nothing);
            }
            self.read()?;
        }
    }

    /// A line that is complete; at the end of the input what is left is one, too.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let end = unsearched.iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        let Some(end) = end else {
            self.searched = self.buffer.len();
            let rest = self.ended && self.start < self.buffer.len();
            return rest.then(|| self.take(self.buffer.len(), self.buffer.len()));
        };
        Some(self.take(end, end + 1))
    }

    fn take(&mut self, end: usize, next: usize) -> Vec<u8> {
        let line = self.buffer[self.start..end].to_vec();
        (self.start, self.searched) = (next, next);
        line
    }

    /// Whether there is something to be read.
    fn wait(&self, wait: Option<Duration>) -> Result<bool, String> {
        let Some(wait) = wait else { return Ok(true) };
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(format!("it cannot be read: {}", in_words(&error.into()))),
        }
    }

    fn read(&mut self) -> Result<(), String> {
        self.buffer.drain(..self.start);
        (self.searched, self.start) = (self.searched - self.start, 0);
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        let read = read.map_err(|error| format!("it cannot be read: {}", in_words(&error)))?;
        self.bytes += read as u64;
        self.ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Write, pipe};

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    fn all(text: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, String> {
        let mut lines = Lines::new(file(text), bytes_max);
        let mut all = Vec::new();
        loop {
            match lines.next(Some(Duration::ZERO))? {
                Came::Line(line) => all.push(line),
                Came::Nothing => panic!("a file is always ready"),
                Came::End => return Ok(all),
            }
        }
    }

    #[test]
    fn a_line_ends_with_a_line_break_or_with_the_input() {
        assert_eq!(all(b"", 10), Ok(vec![]));
        assert_eq!(all(b"\n", 10), Ok(vec![vec![]]));
        assert_eq!(all(b"a\n\nb\r\nc", 10), Ok(vec![b"a".to_vec(), vec![], b"b\r".to_vec(), b"c".to_vec()]));
    }

    #[test]
    fn lines_may_be_longer_than_what_is_read_at_once() {
        let long = vec![b'x'; 3 * READ_BYTES + 7];
        let text = [&long[..], b"\nshort\n", &long].concat();
        assert_eq!(all(&text, 4 * READ_BYTES), Ok(vec![long.clone(), b"short".to_vec(), long]));
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        assert_eq!(all(&vec![b'x'; 4 * READ_BYTES], READ_BYTES), Err(format!("it is longer than {READ_BYTES} bytes")));
    }

    #[test]
    fn who_does_not_want_to_wait_is_told_that_nothing_came() {
        let (reader, mut writer) = pipe().unwrap();
        let mut lines = Lines::new(reader, 100);
        let mut next = |wait| lines.next(wait);
        writer.write_all(b"one\nhalf").unwrap();
        assert_eq!(next(None), Ok(Came::Line(b"one".to_vec())));
        assert_eq!(next(Some(Duration::from_millis(1))), Ok(Came::Nothing));
        writer.write_all(b" and half\n").unwrap();
        assert_eq!(next(Some(Duration::from_secs(10))), Ok(Came::Line(b"half and half".to_vec())));
        drop(writer);
        assert_eq!(next(None), Ok(Came::End));
        assert_eq!(next(None), Ok(Came::End));
    }
}
