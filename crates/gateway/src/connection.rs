//! The socket loop: one task per connection.

use crate::counters::Counters;
use crate::input::Input;
use crate::outgoing::Outgoing;
use crate::patience::Patience;
use crate::session::{Output, RequestId, Session};
use crate::timeouts::Timeouts;
use broker::memory::Held;
use broker::{Broker, Memory, Reply};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use model::limit;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Where a connection comes from, for the log.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) listener: &'static str,
    pub(crate) peer: SocketAddr,
}

/// Runs a connection until either side is done, or the client does nothing for too long.
pub(crate) async fn run(
    stream: TcpStream,
    origin: Origin,
    mut session: Box<dyn Session>,
    broker: Broker,
    timeouts: Timeouts,
    counters: &Counters,
) {
    let _open = counters.open();
    let Origin { listener, peer } = origin;
    let stream = Arc::new(stream);
    let pending = FuturesUnordered::new();
    let memory = broker.memory().clone();
    let mut connection = Connection {
        stream,
        broker,
        pending,
        input: Input::new(memory.clone()),
        waiting: None,
        output: Outgoing::default(),
        taken: Vec::new(),
        memory,
        timeouts,
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
        Err(End::Timeout(why)) => {
            counters.timeouts.fetch_add(1, Relaxed);
            tracing::info!(listener, %peer, why, "closed");
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
    Timeout(&'static str),
    /// The client does not read its answers.
    SlowReader,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Socket(error)
    }
}

type PendingReply = BoxFuture<'static, (RequestId, Reply)>;

/// What the connection waits for before it reads on.
enum Wait {
    /// Memory for a request to arrive in.
    Arriving(BoxFuture<'static, Held>),
    /// That there is memory to work on a request that has arrived.
    Requests(BoxFuture<'static, Held>),
}

struct Connection<'a> {
    stream: Arc<TcpStream>,
    broker: Broker,
    pending: FuturesUnordered<PendingReply>,
    input: Input,
    waiting: Option<Wait>,
    output: Outgoing,
    /// On its way from the session to the output.
    taken: Vec<Output>,
    memory: Memory,
    timeouts: Timeouts,
    origin: Origin,
    counters: &'a Counters,
}

impl Connection<'_> {
    async fn run(&mut self, session: &mut dyn Session) -> Result<(), End> {
        let mut violation = None;
        loop {
            self.flush(session).await?;
            // What was sent made room: bytes that came earlier may be taken now, and nothing else
            // would make us look at them again.
            if self.work(session, &mut violation).await {
                continue;
            }
            if session.is_over() || (violation.is_some() && self.pending.is_empty()) {
                return violation.map_or(Ok(()), |reason| Err(End::Violation(reason)));
            }
            let open = violation.is_none() && !session.is_over();
            self.wait_for_memory(session, open);
            let may_read = open && self.waiting.is_none() && session.wants_input();
            self.input.rest(may_read, self.pending.is_empty());
            let patience = self.patience(may_read);
            tokio::select! {
                Some((id, reply)) = self.pending.next(), if !self.pending.is_empty() => {
                    session.on_reply(id, reply, Instant::now());
                }
                readable = self.stream.readable(), if may_read => {
                    readable?;
                    match self.input.read(&self.stream)? {
                        Some(0) => return Ok(()),
                        Some(read) => drop(self.counters.bytes_in.fetch_add(read as u64, Relaxed)),
                        None => {}
                    }
                }
                held = granted(&mut self.waiting), if self.waiting.is_some() => {
                    if let Some(Wait::Arriving(_)) = self.waiting.take() {
                        self.input.grant(held);
                    }
                }
                () = tokio::time::sleep(patience.0) => if let Some(why) = patience.1 {
                    return Err(End::Timeout(why));
                },
            }
        }
    }

    /// Sends what the session has to say, until it has no more.
    async fn flush(&mut self, session: &mut dyn Session) -> Result<(), End> {
        loop {
            session.take_output(&mut self.taken);
            self.taken.drain(..).for_each(|part| self.output.push(part));
            if self.output.is_empty() {
                return Ok(());
            }
            self.send(session.answer_bytes()).await?;
        }
    }

    /// Queues up for memory where it is needed to go on.
    fn wait_for_memory(&mut self, session: &dyn Session, open: bool) {
        if !open {
            self.waiting = None;
        }
        if !open || self.waiting.is_some() {
            return;
        }
        if let Some(pool) = session.waits_for() {
            self.waiting = Some(Wait::Requests(Box::pin(pool.room())));
        } else if let Some(bytes) = self.input.wanted(session.frame_bytes(self.input.bytes())) {
            self.waiting = Some(Wait::Arriving(Box::pin(self.memory.arriving(bytes).take(bytes))));
        }
    }

    /// How long to wait for something to happen, and why the connection ends if nothing does.
    fn patience(&self, may_read: bool) -> (Duration, Option<&'static str>) {
        let Timeouts { stall, idle } = self.timeouts;
        if self.waiting.is_some() {
            (stall, Some("there is no memory for its request"))
        } else if may_read && !self.input.is_empty() {
            self.input.patience(stall)
        } else if self.pending.is_empty() {
            (idle, Some("idle"))
        } else {
            (idle, None)
        }
    }

    /// Takes requests off the input and hands them on, for as long as the session lets us. Returns
    /// whether there were any.
    ///
    /// They are handed on in order, and no further bytes are read until the broker has room for them:
    /// that is the back-pressure a client feels.
    async fn work(&mut self, session: &mut dyn Session, violation: &mut Option<String>) -> bool {
        let mut any = false;
        loop {
            let mut progress = false;
            if violation.is_none() && self.waiting.is_none() {
                match self.input.hand_to(session, Instant::now()) {
                    Ok(taken) => progress = taken,
                    Err(violated) => {
                        *violation = Some(violated.reason);
                        any = true;
                    }
                }
            }
            if progress && self.memory.requests_large.used() > 0 {
                // Much work was done, here or by others: whoever wants to do as much sees that, and waits.
                tokio::task::yield_now().await;
            }
            if let Some((count, last)) = session.take_rejections() {
                self.note_rejections(count, &last);
            }
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
        if let Some(times) = self.counters.note_rejections(count) {
            let Origin { listener, peer } = self.origin;
            tracing::warn!(listener, %peer, times, last, "refused what a client sent");
        }
    }

    /// Sends all of the output, of a session that holds so many bytes of answers.
    async fn send(&mut self, held: usize) -> Result<(), End> {
        let mut patience = Patience::start();
        while !self.output.is_empty() {
            let sent = match self.output.has_files() {
                true => self.send_elsewhere().await?,
                false => self.output.send(&self.stream)?,
            };
            self.counters.bytes_out.fetch_add(sent as u64, Relaxed);
            patience.progress(sent);
            if !self.output.is_empty() {
                self.writable(held, &patience).await?;
            }
        }
        Ok(())
    }

    /// Sends what the socket takes where nobody else waits with us, for the disk may let us wait.
    async fn send_elsewhere(&mut self) -> Result<usize, End> {
        let (stream, mut output) = (self.stream.clone(), std::mem::take(&mut self.output));
        let work = move || (output.send(&stream), output);
        let (sent, rest) = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        self.output = rest;
        Ok(sent?)
    }

    /// Waits until the socket takes something, unless it has taken too little for too long.
    async fn writable(&mut self, held: usize, patience: &Patience) -> Result<(), End> {
        loop {
            let left = patience.left(self.timeouts.stall, is_wanted(held, &self.memory)).ok_or(End::SlowReader)?;
            if let Ok(writable) = tokio::time::timeout(left, self.stream.writable()).await {
                return Ok(writable?);
            }
        }
    }
}

/// Whether others wait for the memory of a connection that holds so many bytes of answers. What every
/// connection may hold is not taken from anybody.
fn is_wanted(held: usize, memory: &Memory) -> bool {
    held > limit::CONNECTION_BYTES_FREE && memory.answers.waiting() > 0
}

/// The memory that is waited for. Without waiting for any, nothing ever.
async fn granted(waiting: &mut Option<Wait>) -> Held {
    match waiting {
        Some(Wait::Arriving(held) | Wait::Requests(held)) => held.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn only_who_holds_what_others_wait_for_is_in_their_way() {
        let memory = Memory::new(limit::MEMORY_BYTES_MIN);
        let all = memory.answers.charge(memory.answers.limit() as usize);
        assert!(!is_wanted(usize::MAX, &memory), "nobody waits");
        let mut waits = Box::pin(memory.answers.take(1));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(is_wanted(limit::CONNECTION_BYTES_FREE + 1, &memory));
        assert!(!is_wanted(limit::CONNECTION_BYTES_FREE, &memory));
        drop(all);
        assert!(!is_wanted(usize::MAX, &memory));
    }
}
