//! A call from the caller's queue to its answer.

use crate::codec::frame::{FrameKind, Header};
use crate::error::{NotSent, PeerError};
use bytes::Bytes;
use model::checksum::{crc32c, crc32c_of};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A call that waits to be sent.
pub(crate) struct Call {
    channel: u32,
    checksum: u32,
    length: u32,
    parts: Vec<Bytes>,
    ticket: Ticket,
}

impl Call {
    /// Computes the checksum, so that it is done by the many callers and not by the one connection.
    pub(crate) fn new(channel: u32, parts: Vec<Bytes>, length: u32, ticket: Ticket) -> Call {
        Call { channel, checksum: checksum_of(&parts), length, parts, ticket }
    }

    /// Decides that the call is sent now. `false` if its caller has given it up; it is not sent then.
    pub(crate) fn claim(&self) -> bool {
        !self.ticket.answer.is_closed() && !self.ticket.claimed.swap(true, Ordering::AcqRel)
    }

    /// Answers without having sent anything.
    pub(crate) fn fail(self, error: impl Into<PeerError>) {
        self.ticket.end(Err(error.into()));
    }

    /// The call as a frame, and where its answer goes.
    pub(crate) fn into_frame(self, id: u64) -> (Header, Vec<Bytes>, Ticket) {
        let Call { channel, checksum, length, parts, ticket } = self;
        (Header { length, kind: FrameKind::Request, id, channel, checksum }, parts, ticket)
    }
}

/// CRC32C of a payload in parts.
pub(crate) fn checksum_of(parts: &[Bytes]) -> u32 {
    match parts {
        [one] => crc32c(one),
        parts => crc32c_of(&parts.iter().map(|part| &part[..]).collect::<Vec<_>>()),
    }
}

/// A call's place among those in flight, and where its answer goes. To drop it says that the
/// connection broke.
pub(crate) struct Ticket {
    // Dropped first, so that whoever gets the answer finds the room.
    room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    claimed: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Bytes, PeerError>>,
}

impl Ticket {
    pub(crate) fn new(room: (OwnedSemaphorePermit, OwnedSemaphorePermit)) -> (Ticket, Reply) {
        let (answer, receiver) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        (Ticket { room, claimed: Arc::clone(&claimed), answer }, Reply { receiver, claimed })
    }

    /// Gives the place back and answers.
    pub(crate) fn end(self, answer: Result<Bytes, PeerError>) {
        drop(self.room);
        // A caller that has given up is no error.
        let _ = self.answer.send(answer);
    }
}

/// The answer to come of a call that has its place in the queue. Dropping it gives the call up: it is
/// not sent if it has not been.
#[derive(Debug)]
#[must_use = "dropping it gives the call up"]
pub struct Reply {
    receiver: oneshot::Receiver<Result<Bytes, PeerError>>,
    /// Whether it is decided if the call is sent: set by the connection before it sends, or by the
    /// caller when it gives up, whoever comes first.
    claimed: Arc<AtomicBool>,
}

impl Reply {
    /// Gives the call up and says whether it had been sent: [`PeerError::TimedOut`] if so, else
    /// [`NotSent::TimedOut`].
    #[must_use]
    pub fn give_up(self) -> PeerError {
        if self.claimed.swap(true, Ordering::AcqRel) { PeerError::TimedOut } else { NotSent::TimedOut.into() }
    }
}

impl Future for Reply {
    type Output = Result<Bytes, PeerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.receiver).poll(context)).unwrap_or(Err(PeerError::Disconnected)))
    }
}
