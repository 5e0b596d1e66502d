//! A connection that is given up when its other end takes nothing for some time: what waits to be sent takes
//! memory, and a place. While others wait for the memory, the time is short.

use broker::memory::Pool;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The time while others wait for memory.
const WANTED: Duration = Duration::from_secs(2);
/// How often it is looked whether others wait.
const LOOK: Duration = Duration::from_secs(1);

/// Writes to `S` fail with `TimedOut` once nothing was taken for so long.
pub(crate) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Where others may wait for memory.
    pool: Pool,
    /// Since when nothing is taken, and when to look again.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, patience: Duration, pool: Pool) -> Self {
        Patient { stream, patience, pool, stalled: None }
    }

    fn bounded<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let look = LOOK.min(self.patience);
        let start = || (Instant::now(), Box::pin(tokio::time::sleep(look)));
        let (since, sleep) = self.stalled.get_or_insert_with(start);
        while sleep.as_mut().poll(context).is_ready() {
            let most = if self.pool.waiting() > 0 { self.patience.min(WANTED) } else { self.patience };
            if since.elapsed() >= most {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            sleep.as_mut().reset(Instant::now() + look);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn it_gives_up_when_nothing_is_taken_but_not_when_little_is() {
        let (ours, mut theirs) = duplex(10);
        let pool = broker::Memory::new(1 << 20).answers;
        let mut patient = Patient::new(ours, Duration::from_millis(200), pool);
        let slow = async {
            let mut taken = [0; 10];
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(patient.write_all(&[7; 60]), slow);
        written.unwrap();
        let refused = patient.write_all(&[7; 10]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    }
}
