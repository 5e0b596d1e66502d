//! The sending half of a connection.

use crate::codec::frame::{HEADER_BYTES, Header};
use crate::counters::Counter;
use crate::limit::OUTPUT_BYTES_TARGET;
use crate::stream::WriteHalf;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::AsyncWriteExt;

/// Slices handed to the operating system at once.
const SLICES_MAX: usize = 64;

/// Frames on their way out. Payloads are written from where they lie.
pub(crate) struct Output {
    writer: WriteHalf,
    slices: VecDeque<Slice>,
    /// Bytes of the first slice that are written already.
    offset: usize,
    queued: u64,
    written: u64,
    /// The writer may keep some of what was written to it.
    unflushed: bool,
}

enum Slice {
    Header([u8; HEADER_BYTES]),
    Part(Bytes),
}

impl Slice {
    fn bytes(&self) -> &[u8] {
        match self {
            Slice::Header(header) => header,
            Slice::Part(part) => part,
        }
    }
}

impl Output {
    pub(crate) fn new(writer: WriteHalf) -> Self {
        Output { writer, slices: VecDeque::new(), offset: 0, queued: 0, written: 0, unflushed: false }
    }

    pub(crate) fn push(&mut self, header: &Header, parts: impl IntoIterator<Item = Bytes>) {
        self.slices.push_back(Slice::Header(header.encode()));
        self.queued += HEADER_BYTES as u64;
        for part in parts {
            if !part.is_empty() {
                self.queued += part.len() as u64;
                self.slices.push_back(Slice::Part(part));
            }
        }
    }

    /// Whether nothing is left to do for [`Output::write`].
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty() && !self.unflushed
    }

    /// Whether more should be pushed now.
    pub(crate) fn has_room(&self) -> bool {
        self.queued - self.written < OUTPUT_BYTES_TARGET as u64
    }

    /// Bytes ever pushed.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    /// Bytes ever written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes some of what waits. Nothing is lost or repeated when the future is dropped.
    pub(crate) async fn write(&mut self, counter: &Counter) -> io::Result<()> {
        if self.slices.is_empty() {
            self.writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.offset;
        for (slot, slice) in slices.iter_mut().zip(&self.slices) {
            *slot = IoSlice::new(&slice.bytes()[skip..]);
            skip = 0;
        }
        let count = self.slices.len().min(SLICES_MAX);
        let written = self.writer.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = matches!(self.writer, WriteHalf::Tls(_));
        counter.add(written as u64);
        self.written += written as u64;
        self.offset += written;
        while let Some(first) = self.slices.front()
            && self.offset >= first.bytes().len()
        {
            self.offset -= first.bytes().len();
            self.slices.pop_front();
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }
}
