//! Calls that wait for their turn in one lane to one node.

use bytes::Bytes;
use model::{NodeId, limit};
use peer::{Lane, PeerError, Peers, Reply};
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// The end that calls are pushed into. They are sent in that order.
///
/// It is full at a number of calls and of bytes, and then takes none: whoever sends bulk faster than the
/// other node takes it sees that, and nobody waits where the order of calls is decided.
pub(super) struct Line {
    calls: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
}

/// What became of a call's turn: whoever drops the reply, or does not wait for it, gives the call up.
pub(super) type Turn = oneshot::Receiver<Result<Reply, PeerError>>;

struct Call {
    channel: u32,
    request: Vec<Bytes>,
    room: OwnedSemaphorePermit,
    turn: oneshot::Sender<Result<Reply, PeerError>>,
}

impl Line {
    /// A line, and the task that empties it, yet to be run. It ends when the line is dropped and empty.
    pub(super) fn new(peers: Arc<Peers>, to: NodeId, lane: Lane) -> (Line, impl Future<Output = ()> + Send) {
        let (calls, waiting) = mpsc::channel(limit::LANE_CALLS_WAITING_MAX);
        let room = Arc::new(Semaphore::new(limit::LANE_BYTES_WAITING_MAX));
        (Line { calls, room }, pump(peers, to, lane, waiting))
    }

    /// Queues a call, here and now.
    pub(super) fn push(&self, channel: u32, request: Vec<Bytes>) -> Result<Turn, &'static str> {
        const FULL: &str = "too much waits to be sent there";
        let bytes: usize = request.iter().map(Bytes::len).sum();
        let bytes = u32::try_from(bytes).map_err(|_| FULL)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| FULL)?;
        let (turn, wait) = oneshot::channel();
        self.calls.try_send(Call { channel, request, room, turn }).map_err(|error| match error {
            TrySendError::Full(_) => FULL,
            TrySendError::Closed(_) => "stopped",
        })?;
        Ok(wait)
    }
}

/// Takes a place with the connection for each call, in order. Answers are waited for elsewhere.
async fn pump(peers: Arc<Peers>, to: NodeId, lane: Lane, mut waiting: mpsc::Receiver<Call>) {
    while let Some(Call { channel, request, room, mut turn }) = waiting.recv().await {
        let sent = tokio::select! {
            biased;
            () = turn.closed() => continue,
            sent = peers.send(to, channel, lane, request) => sent,
        };
        drop(room);
        // To whoever has given up meanwhile goes nothing, and the reply that is dropped gives the call up.
        let _ = turn.send(sent);
    }
}
