//! The socket loop: one task per connection.

use crate::session::{RequestId, Session};
use broker::{Broker, Reply};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// A client that takes nothing for so long while output waits is dropped.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// Runs a connection until either side is done.
pub(crate) async fn run(stream: TcpStream, peer: SocketAddr, mut session: Box<dyn Session>, broker: Broker) {
    let (reader, writer) = stream.into_split();
    let mut connection = Connection { reader, writer, broker, pending: FuturesUnordered::new(), output: Vec::new() };
    match connection.run(&mut *session).await {
        Ok(()) => tracing::debug!(%peer, "closed"),
        Err(error) => tracing::debug!(%peer, %error, "closed"),
    }
}

type PendingReply = BoxFuture<'static, (RequestId, Reply)>;

struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    broker: Broker,
    pending: FuturesUnordered<PendingReply>,
    output: Vec<Bytes>,
}

impl Connection {
    async fn run(&mut self, session: &mut dyn Session) -> io::Result<()> {
        let mut input = BytesMut::new();
        let mut violated = false;
        loop {
            // Requests are handed on in order, and no further bytes are read until the broker has
            // room for them: that is the back-pressure a client feels.
            while let Some((id, request)) = session.next_request() {
                let reply = self.broker.call(request).await;
                self.pending.push(Box::pin(async move { (id, reply.await) }));
            }
            session.take_output(&mut self.output);
            if !self.output.is_empty() {
                self.send().await?;
            }
            if (violated || session.is_over()) && self.pending.is_empty() {
                return Ok(());
            }
            let may_read = !violated && !session.is_over() && session.wants_input();
            input.reserve(READ_BYTES);
            tokio::select! {
                Some((id, reply)) = self.pending.next(), if !self.pending.is_empty() => session.on_reply(id, reply),
                read = self.reader.read_buf(&mut input), if may_read => {
                    if read? == 0 {
                        return Ok(());
                    }
                    if let Err(violation) = session.receive(&mut input) {
                        tracing::info!(reason = violation.reason, "protocol violation");
                        violated = true;
                    }
                }
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        let stalled = |_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
        let slices: Vec<IoSlice<'_>> = self.output.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut slices = slices;
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let write = self.writer.write_vectored(rest);
            let written = tokio::time::timeout(WRITE_STALL, write).await.map_err(stalled)??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut rest, written);
        }
        self.output.clear();
        Ok(())
    }
}
