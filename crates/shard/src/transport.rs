//! How replicas reach one another: a face that TCP connections and the simulated network share.

use bytes::Bytes;
use futures::future::BoxFuture;
use model::{NodeId, ShardId};

/// Messages of one lane follow one another; lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes and questions: small and urgent.
    Control,
    /// The log.
    Append,
    /// Files of snapshots.
    Bulk,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It did not reach the other node.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have reached the other node.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Calls to the replicas of a shard on other nodes.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request, as the concatenation of its parts, and waits for the answer. Requests of a
    /// lane to a node are sent in the order of calls, before the future is polled, and their
    /// handling starts in that order; they may be lost.
    fn call(
        &self,
        to: NodeId,
        shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// A transport for a node that is alone.
#[derive(Debug)]
pub struct Alone;

impl Transport for Alone {
    fn call(
        &self,
        to: NodeId,
        _shard: ShardId,
        _lane: Lane,
        _request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(async move { Err(TransportError::NotSent(format!("{to} is not known here"))) })
    }
}
