//! A connection that is given up when its other end takes too little for some time: what waits to be sent
//! takes memory, and a place. While others wait for the memory, the time is short.

use broker::memory::Pool;
use gateway::Patience;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Writes to `S` fail with `TimedOut` once less was taken in so long than [`Patience`] asks for.
pub(crate) struct Patient<S> {
    stream: S,
    stall: Duration,
    /// Where others may wait for memory.
    pool: Pool,
    /// What was taken since something was not, and when to look again. Over when all is taken that there is.
    stalled: Option<(Patience, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, stall: Duration, pool: Pool) -> Self {
        Patient { stream, stall, pool, stalled: None }
    }

    fn written(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match (&poll, &mut self.stalled) {
            (Poll::Pending, _) => return self.wait(context).map(Err),
            (Poll::Ready(Ok(bytes)), Some((patience, _))) => patience.progress(*bytes),
            _ => {}
        }
        poll
    }

    /// Waits until something is taken, or for too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let start = || (Patience::start(), Box::pin(tokio::time::sleep(Duration::ZERO)));
        let (patience, sleep) = self.stalled.get_or_insert_with(start);
        while sleep.as_mut().poll(context).is_ready() {
            match patience.left(self.stall, self.pool.waiting() > 0) {
                Some(left) => sleep.as_mut().reset(Instant::now() + left),
                None => return Poll::Ready(io::ErrorKind::TimedOut.into()),
            }
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
        self.written(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever writes flushes when it has nothing more to write.
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        match poll {
            Poll::Ready(_) => {
                self.stalled = None;
                poll
            }
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const STEP: usize = 64 << 10;
    const STALL: Duration = Duration::from_millis(500);

    fn patient(buffer: usize) -> (Patient<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(buffer);
        (Patient::new(ours, STALL, broker::Memory::new(1 << 20).answers), theirs)
    }

    /// Takes so many bytes each 50 ms until the other end is gone, or that was enough times.
    async fn take(mut theirs: DuplexStream, bytes: usize, times: usize) {
        let mut taken = vec![0; bytes];
        for _ in 0..times {
            tokio::time::sleep(STALL / 10).await;
            if theirs.read_exact(&mut taken).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test]
    async fn whoever_takes_much_is_waited_for() {
        let (mut patient, theirs) = patient(STEP);
        let (written, ()) = tokio::join!(patient.write_all(&[7; 16 * STEP]), take(theirs, STEP, 16));
        written.unwrap();
    }

    #[tokio::test]
    async fn whoever_takes_a_trickle_is_not() {
        let (mut patient, theirs) = patient(STEP);
        let taking = tokio::spawn(take(theirs, 1, usize::MAX));
        let refused = patient.write_all(&[7; 3 * STEP]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        taking.abort();
    }

    #[tokio::test]
    async fn little_is_enough_when_it_is_all_there_is() {
        let (mut patient, theirs) = patient(10);
        let writing = async {
            for _ in 0..20 {
                patient.write_all(&[7; 11]).await?;
                patient.flush().await?;
            }
            io::Result::Ok(())
        };
        let (written, ()) = tokio::join!(writing, take(theirs, 10, 22));
        written.unwrap();
    }
}
