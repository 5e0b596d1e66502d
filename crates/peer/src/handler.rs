//! Who answers the calls of other nodes.

use crate::{Lane, Rejection};
use bytes::Bytes;
use futures::future::BoxFuture;
use model::NodeId;

/// Answers the calls of other nodes.
pub trait Handler: Send + Sync + 'static {
    /// Starts one request; the future is its answer, whose parts are sent one after the other.
    ///
    /// The requests of one connection are started in the order they were sent: this is called, and
    /// the future polled once, before the next request is looked at. They may end in any order. All
    /// futures of a connection share one task, so this must neither block nor compute for long; and
    /// they are dropped where they are when the connection ends, so what has to go on belongs into a
    /// task of its own.
    ///
    /// `from` is what the other side claims. Until connections are encrypted and authenticated, only
    /// the network protects it.
    fn handle(
        &self,
        from: NodeId,
        channel: u32,
        lane: Lane,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Rejection>>;
}
