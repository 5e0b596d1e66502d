//! The socket loop: one task per connection.

use crate::counters::Counters;
use crate::session::{Output, RequestId, Session};
use broker::{Broker, FileRange, Reply};
use bytes::{Buf, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The least and the most room that input gets at once. It grows while the client fills it: much
/// room moves large requests seldom from one buffer to the next, and of little room little is held
/// by a small request that waits.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// Slices of one write: what the system takes at once.
const WRITE_SLICES_MAX: usize = 1024;
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
    let stream = Arc::new(stream);
    let pending = FuturesUnordered::new();
    let (input, room) = (BytesMut::new(), READ_BYTES_MIN);
    let mut connection = Connection {
        stream,
        broker,
        pending,
        input,
        room,
        output: VecDeque::new(),
        taken: Vec::new(),
        origin,
        counters,
    };
    match connection.run(&mut *session).await {
        Ok(()) => tracing::debug!(listener, %peer, "closed"),
        Err(End::Socket(error)) => tracing::debug!(listener, %peer, %error, "closed"),
        Err(End::Violation(reason)) => {
            counters.violations.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, reason, "closed for a protocol violation");
        }
        Err(End::Idle) => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, why = "idle", "closed");
        }
        Err(End::SlowReader) => {
            counters.timeouts.fetch_add(1, Relaxed);
            counters.slow_readers.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, why = "the client does not read its answers", "closed");
        }
    }
}

/// Why a connection ends, other than that the client left.
enum End {
    Socket(io::Error),
    Violation(String),
    /// The client was idle for too long.
    Idle,
    /// The client does not read its answers.
    SlowReader,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Socket(error)
    }
}

type PendingReply = BoxFuture<'static, (RequestId, Reply)>;

struct Connection<'a> {
    stream: Arc<TcpStream>,
    broker: Broker,
    pending: FuturesUnordered<PendingReply>,
    input: BytesMut,
    /// How much room the input gets next.
    room: usize,
    output: VecDeque<Output>,
    /// On its way from the session to the output.
    taken: Vec<Output>,
    origin: Origin,
    counters: &'a Counters,
}

impl Connection<'_> {
    async fn run(&mut self, session: &mut dyn Session) -> Result<(), End> {
        let mut violation = None;
        loop {
            session.take_output(&mut self.taken);
            self.output.extend(self.taken.drain(..).filter(|output| !output.is_empty()));
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
                Some((id, reply)) = self.pending.next(), if !self.pending.is_empty() => {
                    session.on_reply(id, reply, Instant::now());
                }
                readable = self.stream.readable(), if may_read => {
                    readable?;
                    if !self.read()? {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(IDLE), if self.pending.is_empty() => return Err(End::Idle),
            }
        }
    }

    /// Takes what has come, making room for it first. Returns whether the client may send more.
    fn read(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let read = match self.stream.try_read_buf(&mut self.input) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.counters.bytes_in.fetch_add(read as u64, Relaxed);
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
                && let Err(violated) = session.receive(&mut self.input, Instant::now())
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
        while let Some(first) = self.output.front() {
            if let Output::File(range) = first {
                send_file(&self.stream, range.clone(), self.counters).await?;
                self.output.pop_front();
                continue;
            }
            let bytes = self.output.iter().map_while(|output| match output {
                Output::Bytes(bytes) => Some(IoSlice::new(bytes)),
                Output::File(_) => None,
            });
            let slices: Vec<IoSlice<'_>> = bytes.take(WRITE_SLICES_MAX).collect();
            let written = patiently(&self.stream, || self.stream.try_write_vectored(&slices)).await?;
            if written == 0 {
                return Err(End::Socket(io::ErrorKind::WriteZero.into()));
            }
            self.sent(written);
        }
        Ok(())
    }

    /// So many bytes of the output are gone.
    fn sent(&mut self, mut count: usize) {
        self.counters.bytes_out.fetch_add(count as u64, Relaxed);
        while let Some(Output::Bytes(bytes)) = self.output.front_mut() {
            if count < bytes.len() {
                bytes.advance(count);
                return;
            }
            count -= bytes.len();
            self.output.pop_front();
        }
    }
}

/// Writes as soon as the socket takes something, which it has to do at times.
async fn patiently<T>(stream: &TcpStream, mut write: impl FnMut() -> io::Result<T>) -> Result<T, End> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Ok(written?),
        }
        let writable = tokio::time::timeout(WRITE_STALL, stream.writable());
        writable.await.map_err(|_| End::SlowReader)??;
    }
}

/// Sends a part of a file. The disk may let us wait, so this is done where nobody else waits with us.
async fn send_file(stream: &Arc<TcpStream>, range: FileRange, counters: &Counters) -> Result<(), End> {
    let mut sent = 0;
    while sent < range.len() {
        let writable = tokio::time::timeout(WRITE_STALL, stream.writable());
        writable.await.map_err(|_| End::SlowReader)??;
        let (socket, part) = (stream.clone(), range.clone());
        let work = move || {
            let mut now = sent;
            while now < part.len() {
                match socket.try_io(Interest::WRITABLE, || part.send(&*socket, now)) {
                    Ok(count) => now += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(now)
        };
        let now = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
        counters.bytes_out.fetch_add((now - sent) as u64, Relaxed);
        sent = now;
    }
    Ok(())
}
