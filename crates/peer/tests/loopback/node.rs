//! Nodes as the tests need them.

use bytes::Bytes;
use futures::future::BoxFuture;
use model::NodeId;
use peer::{Handler, Lane, Options, Peers, Rejection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CLUSTER: u128 = 0xc1;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Answer = Result<Vec<Bytes>, Rejection>;

struct Answering<F>(F);

impl<F> Handler for Answering<F>
where
    F: Fn(u32, Lane, Bytes) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    fn handle(&self, _from: NodeId, channel: u32, lane: Lane, request: Bytes) -> BoxFuture<'static, Answer> {
        self.0(channel, lane, request)
    }
}

/// A handler that is a function.
pub(crate) fn answering<F>(answer: F) -> Arc<dyn Handler>
where
    F: Fn(u32, Lane, Bytes) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    Arc::new(Answering(answer))
}

/// Answers with the request.
pub(crate) fn echo() -> Arc<dyn Handler> {
    answering(|_, _, request| Box::pin(async move { Ok(vec![request]) }))
}

/// Never answers.
pub(crate) fn deaf() -> Arc<dyn Handler> {
    answering(|_, _, _| Box::pin(std::future::pending()))
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn node(id: u64, handler: Arc<dyn Handler>) -> Peers {
    node_with(id, handler, Options::default()).await
}

pub(crate) async fn node_with(id: u64, handler: Arc<dyn Handler>, options: Options) -> Peers {
    Peers::start(NodeId(id), CLUSTER, any_port(), handler, options).await.unwrap()
}

/// Node 1, and node 2 with the handler, which know each other.
pub(crate) async fn pair(handler: Arc<dyn Handler>, options: Options) -> (Peers, Peers) {
    let one = node_with(1, echo(), options.clone()).await;
    let two = node_with(2, handler, options).await;
    one.set_address(NodeId(2), two.address());
    two.set_address(NodeId(1), one.address());
    (one, two)
}

pub(crate) fn part(bytes: impl Into<Vec<u8>>) -> Vec<Bytes> {
    vec![Bytes::from(bytes.into())]
}

/// Fails a test that hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}
