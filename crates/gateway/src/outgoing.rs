//! What is on its way to a client: parts in memory and parts of files, in order.

use crate::session::Output;
use bytes::Buf;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Slices of one write: what the system takes at once.
const SLICES_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Output>,
    /// How many of these are in files.
    files: usize,
}

impl Outgoing {
    pub(crate) fn push(&mut self, part: Output) {
        if !part.is_empty() {
            self.files += usize::from(matches!(part, Output::File(_)));
            self.parts.push_back(part);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether sending it may have to wait for the disk.
    pub(crate) fn has_files(&self) -> bool {
        self.files > 0
    }

    /// Sends as much as the socket takes, without waiting for it: how many bytes. An error that comes
    /// after some were sent comes again.
    pub(crate) fn send(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(first) = self.parts.front() {
            let taken = stream.try_io(Interest::WRITABLE, || match first {
                Output::Bytes(_) => self.send_bytes(stream),
                Output::File(range) => range.send(stream),
            });
            match taken {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    sent += bytes;
                    self.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// The bytes up to the next file. The system is told to wait for that: they make no packet of their own.
    fn send_bytes(&self, stream: &TcpStream) -> io::Result<usize> {
        let bytes = self.parts.iter().map_while(|part| match part {
            Output::Bytes(bytes) => Some(IoSlice::new(bytes)),
            Output::File(_) => None,
        });
        let slices: Vec<IoSlice<'_>> = bytes.take(SLICES_MAX).collect();
        let more = if slices.len() < self.parts.len() { SendFlags::MORE } else { SendFlags::empty() };
        Ok(sendmsg(stream, &slices, &mut SendAncillaryBuffer::default(), more | SendFlags::NOSIGNAL)?)
    }

    /// So many bytes are gone.
    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.parts.front_mut() {
            if count < first.len() {
                match first {
                    Output::Bytes(bytes) => bytes.advance(count),
                    Output::File(range) => range.advance(count),
                }
                return;
            }
            count -= first.len();
            self.files -= usize::from(matches!(first, Output::File(_)));
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::FileRange;
    use bytes::Bytes;
    use journal::disk::{Disk, Folder};
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn parts_arrive_whole_and_in_order_however_little_the_socket_takes() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let file = Folder::open(folder.path()).unwrap().create("a", content.len() as u64).unwrap();
        file.write_at(0, &[IoSlice::new(&content)]).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut client, _) = listener.accept().await.unwrap();

        let (mut outgoing, mut expected) = (Outgoing::default(), Vec::new());
        let mut push = |part: Output, bytes: &[u8]| {
            expected.extend_from_slice(bytes);
            outgoing.push(part);
        };
        for bytes in [&b"head"[..], b"", &content[..5_000_000]] {
            push(Output::Bytes(Bytes::copy_from_slice(bytes)), bytes);
        }
        for from in [7, 1_000_001] {
            push(Output::Bytes(Bytes::from_static(b"before a file")), b"before a file");
            let range = FileRange::new(Arc::clone(&file), from, 4_000_000);
            push(Output::File(range), &content[from as usize..][..4_000_000]);
        }
        push(Output::Bytes(Bytes::from_static(b"tail")), b"tail");

        let length = expected.len();
        let reader = tokio::spawn(async move {
            let mut arrived = vec![0; length];
            client.read_exact(&mut arrived).await.unwrap();
            arrived
        });
        let (mut sent, mut turns) = (0, 0);
        while !outgoing.is_empty() {
            stream.writable().await.unwrap();
            sent += outgoing.send(&stream).unwrap();
            turns += 1;
        }
        assert_eq!((sent, outgoing.has_files()), (length, false));
        assert!(turns > 1, "the socket took all at once");
        assert!(reader.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = Folder::open(folder.path()).unwrap().create("a", 10).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _client = listener.accept().await.unwrap();
        let mut outgoing = Outgoing::default();
        outgoing.push(Output::File(FileRange::new(file, 5, 10)));
        stream.writable().await.unwrap();
        assert_eq!(outgoing.send(&stream).unwrap(), 5);
        assert_eq!(outgoing.send(&stream).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
