//! Why a call has no answer.

use crate::codec::answer::Verdict;
use crate::mistrust::Mistrust;
use crate::rejection::Rejection;
use model::NodeId;
use std::io;

/// Why a call has no answer. What matters to the caller is [`PeerError::may_have_happened`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The request is larger than its lane allows.
    #[error("a request of {bytes} bytes is above the {max} that the lane allows")]
    TooLarge {
        /// The request's size.
        bytes: usize,
        /// The lane's maximum.
        max: usize,
    },
    /// Nobody has said where the node is.
    #[error("no address is known for node {0}")]
    UnknownNode(NodeId),
    /// The control lane is full. Nothing was sent: what is urgent now will be stale after a wait.
    #[error("too much is under way in the control lane")]
    Busy,
    /// Not one byte of the call was sent.
    #[error("not sent: {0}")]
    NotSent(#[from] NotSent),
    /// The connection broke after the call was sent and before it was answered.
    #[error("disconnected before the answer")]
    Disconnected,
    /// The caller's time was up after the call was sent and before it was answered.
    #[error("no answer in time")]
    TimedOut,
    /// The other node's handler answered with a rejection.
    #[error("rejected: {0}")]
    Rejected(#[from] Rejection),
}

impl PeerError {
    /// Whether the other node may have carried the call out. If not, it can be repeated safely.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            PeerError::TooLarge { .. } | PeerError::UnknownNode(_) | PeerError::Busy | PeerError::NotSent(_) => false,
            PeerError::Disconnected | PeerError::TimedOut => true,
            PeerError::Rejected(rejection) => rejection.code.may_have_happened(),
        }
    }
}

/// Why a call was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// No connection could be made.
    #[error("unreachable ({0})")]
    Unreachable(io::ErrorKind),
    /// Something answered at the address that is no node.
    #[error("what answers there does not speak this protocol")]
    NoPeer,
    /// The two do not come to speak encrypted.
    #[error("{0}")]
    Insecure(#[from] Mistrust),
    /// The other node does not want the connection.
    #[error("refused: {0}")]
    Refused(Verdict),
    /// The connection broke while the call waited for its turn.
    #[error("the connection broke before its turn")]
    ConnectionLost,
    /// The other node is stopping and did not start the call.
    #[error("the other node is going away")]
    GoingAway,
    /// The caller's time was up before the call's turn came.
    #[error("its turn did not come in time")]
    TimedOut,
    /// This node is stopping, or has been told to forget the other.
    #[error("stopped")]
    Stopped,
}
