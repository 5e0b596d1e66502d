//! How connections end.

use crate::codec::frame::{FrameError, FrameKind};
use std::io;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the other side")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("protocol error: {0}")]
    Violation(#[from] Violation),
    #[error("nothing moved for too long")]
    Silent,
    #[error("the other side went away")]
    GoneAway,
    #[error("another connection of the same node took its place")]
    Replaced,
    #[error("stopped")]
    Stopped,
}

/// What the other side did that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("a frame of kind {0:?} from this side")]
    Unexpected(FrameKind),
    #[error("an answer to request {0}, which is not waiting for one")]
    UnknownRequest(u64),
    #[error("a rejection that cannot be read")]
    Rejection,
    #[error("request {id} after request {last}")]
    Order { id: u64, last: u64 },
    #[error("more requests or bytes in flight than allowed")]
    Flood,
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        End::Violation(error.into())
    }
}
