//! The face every protocol shows: a state machine without I/O.

use broker::memory::Pool;
use broker::{FileRange, Reply, Request};
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Instant;

/// Names a request of a session until it is answered.
pub type RequestId = u64;

/// The client did what the protocol does not allow. What the protocol has to say about it is in the
/// session's output; the connection is closed after that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What happened, for the log.
    pub reason: String,
}

/// Something to be sent.
#[derive(Clone, Debug)]
pub enum Output {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file, which need not pass through memory of ours.
    File(FileRange),
}

impl Output {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Output::Bytes(bytes) => bytes.len(),
            Output::File(range) => range.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One connection's protocol state.
///
/// The connection calls [`Session::receive`] when bytes came, hands every request on in order, gives
/// each reply back with its id in any order, and sends the output. The session counts what it holds in
/// requests and answers in the node's [`broker::Memory`], the connection what arrives.
pub trait Session: Send {
    /// How many bytes the frame at the front of `input` has in all; 0 while that cannot be told, and when
    /// there cannot be such a frame.
    fn frame_bytes(&self, input: &[u8]) -> usize;

    /// Consumes whole frames from the front of `input`, which came by `now`; leaves what is not whole, and what
    /// waits for memory.
    ///
    /// # Errors
    /// When the client broke the protocol: nothing more is received then.
    fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Result<(), Violation>;

    /// The next request for the broker.
    fn next_request(&mut self) -> Option<(RequestId, Request)>;

    /// The broker's answer to a request, which came at `now`.
    fn on_reply(&mut self, id: RequestId, reply: Reply, now: Instant);

    /// The pool that has to have room before what came can be received. It is received again then.
    fn waits_for(&self) -> Option<&Pool> {
        None
    }

    /// Bytes of answers that it holds in memory, with those that are being sent.
    fn answer_bytes(&self) -> usize;

    /// Moves what is to be sent to `output`, in order. What was moved before has been sent then, and is not
    /// held any longer.
    fn take_output(&mut self, output: &mut Vec<Output>);

    /// Whether more may be received now; `false` while too much waits for the broker.
    fn wants_input(&self) -> bool;

    /// What was refused since the last call because of what it held, while the connection goes on: how
    /// often, and what was wrong the last time. It is counted and logged.
    fn take_rejections(&mut self) -> Option<(u64, String)> {
        None
    }

    /// Whether the session has said its last word: the connection is closed once it is sent.
    fn is_over(&self) -> bool {
        false
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The address by which the client reached us.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Makes the session of a new connection.
pub type SessionFactory = dyn Fn(Ends) -> Box<dyn Session> + Send + Sync;
