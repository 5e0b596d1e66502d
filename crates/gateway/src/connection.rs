//! The socket loop: one task per connection.

use crate::counters::Counters;
use crate::session::{RequestId, Session};
use broker::{Broker, Reply};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The least and the most room that input gets at once. It grows while the client fills it: much
/// room moves large requests seldom from one buffer to the next, and of little room little is held
/// by a small request that waits.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// A client that takes nothing for so long while output waits is dropped.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// A client that waits for nothing and sends nothing for so long is dropped: Kafka's
/// `connections.max.idle.ms`. Its machine may be gone without a word, and its seat is wanted.
const IDLE: Duration = Duration::from_secs(600);

/// Where a connection comes from, for the log.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) listener: &'static str,
    pub(crate) peer: SocketAddr,
}

/// Runs a connection until either side is done.
pub(crate) async fn run(
    stream: TcpStream,
    origin: Origin,
    mut session: Box<dyn Session>,
    broker: Broker,
    counters: &Counters,
) {
    let _open = counters.open();
    let Origin { listener, peer } = origin;
    let (reader, writer) = stream.into_split();
    let pending = FuturesUnordered::new();
    let (input, room) = (BytesMut::new(), READ_BYTES_MIN);
    let mut connection =
        Connection { reader, writer, broker, pending, input, room, output: Vec::new(), origin, counters };
    match connection.run(&mut *session).await {
        Ok(()) => tracing::debug!(listener, %peer, "closed"),
        Err(End::Socket(error)) => tracing::debug!(listener, %peer, %error, "closed"),
        Err(End::Violation(reason)) => {
            counters.violations.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, reason, "closed for a protocol violation");
        }
        Err(End::Timeout(why)) => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, why, "closed");
        }
    }
}

/// Why a connection ends, other than that the client left.
enum End {
    Socket(io::Error),
    Violation(String),
    Timeout(&'static str),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Socket(error)
    }
}

type PendingReply = BoxFuture<'static, (RequestId, Reply)>;

struct Connection<'a> {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    broker: Broker,
    pending: FuturesUnordered<PendingReply>,
    input: BytesMut,
    /// How much room the input gets next.
    room: usize,
    output: Vec<Bytes>,
    origin: Origin,
    counters: &'a Counters,
}

impl Connection<'_> {
    async fn run(&mut self, session: &mut dyn Session) -> Result<(), End> {
        let mut violation = None;
        loop {
            session.take_output(&mut self.output);
            if !self.output.is_empty() {
                self.send().await?;
            }
            // What was sent made room: bytes that came earlier may be taken now, and nothing else
            // would make us look at them again.
            if self.work(session, &mut violation).await {
                continue;
            }
            if session.is_over() || (violation.is_some() && self.pending.is_empty()) {
                return violation.map_or(Ok(()), |reason| Err(End::Violation(reason)));
            }
            let may_read = violation.is_none() && !session.is_over() && session.wants_input();
            if self.input.is_empty() && self.pending.is_empty() {
                // An idle connection holds no buffer.
                self.input = BytesMut::new();
            }
            tokio::select! {
                Some((id, reply)) = self.pending.next(), if !self.pending.is_empty() => session.on_reply(id, reply),
                readable = self.reader.readable(), if may_read => {
                    readable?;
                    if !self.read()? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(IDLE), if self.pending.is_empty() => return Err(End::Timeout("idle")),
            }
        }
    }

    /// Takes what has come, making room for it first. Returns whether the client may send more.
    fn read(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let read = match self.reader.try_read_buf(&mut self.input) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        if self.input.len() == self.input.capacity() {
            self.room = (self.room * 2).min(READ_BYTES_MAX);
        } else if read < self.room / 8 {
            self.room = (self.room / 2).max(READ_BYTES_MIN);
        }
        Ok(read > 0)
    }

    /// Takes requests off the input and hands them on, for as long as the session lets us. Returns
    /// whether there were any.
    ///
    /// They are handed on in order, and no further bytes are read until the broker has room for them:
    /// that is the back-pressure a client feels.
    async fn work(&mut self, session: &mut dyn Session, violation: &mut Option<String>) -> bool {
        let mut any = false;
        loop {
            let waiting = self.input.len();
            if violation.is_none()
                && let Err(violated) = session.receive(&mut self.input)
            {
                *violation = Some(violated.reason);
                any = true;
            }
            if let Some((count, last)) = session.take_rejections() {
                self.note_rejections(count, &last);
            }
            let mut progress = self.input.len() < waiting;
            while let Some((id, request)) = session.next_request() {
                let reply = self.broker.call(request).await;
                self.pending.push(Box::pin(async move { (id, reply.await) }));
                progress = true;
            }
            if !progress {
                return any;
            }
            any = true;
        }
    }

    fn note_rejections(&mut self, count: u64, last: &str) {
        self.counters.rejections.fetch_add(count, Relaxed);
        if let Some(times) = self.counters.rejections_said.lock().note(Instant::now()) {
            let Origin { listener, peer } = self.origin;
            tracing::warn!(listener, %peer, times, last, "refused what a client sent");
        }
    }

    async fn send(&mut self) -> Result<(), End> {
        let mut slices: Vec<IoSlice<'_>> = self.output.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let write = tokio::time::timeout(WRITE_STALL, self.writer.write_vectored(rest));
            let written = write.await.map_err(|_| End::Timeout("the client does not read its answers"))??;
            if written == 0 {
                return Err(End::Socket(io::ErrorKind::WriteZero.into()));
            }
            IoSlice::advance_slices(&mut rest, written);
        }
        self.output.clear();
        Ok(())
    }
}
