//! Nodes as the tests need them.

use super::super::Links;
use bytes::Bytes;
use futures::future::BoxFuture;
use model::NodeId;
use parking_lot::Mutex;
use peer::{Handler, Options, Rejection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

pub(super) const CLUSTER: u128 = 0xc1;
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Answer = BoxFuture<'static, Result<Vec<Bytes>, Rejection>>;

/// Notes what arrives, and answers with it once the gate is open.
pub(super) struct Gate {
    open: Semaphore,
    arrived: Mutex<Vec<Bytes>>,
    count: watch::Sender<usize>,
}

impl Gate {
    pub(super) fn new() -> Arc<Gate> {
        Arc::new(Gate { open: Semaphore::new(0), arrived: Mutex::default(), count: watch::Sender::new(0) })
    }

    pub(super) fn open(&self) {
        self.open.close();
    }

    pub(super) fn arrived(&self) -> Vec<Bytes> {
        self.arrived.lock().clone()
    }

    /// Waits until so many have arrived.
    pub(super) async fn has_seen(&self, count: usize) {
        self.count.subscribe().wait_for(|seen| *seen >= count).await.unwrap();
    }

    pub(super) fn pass(self: &Arc<Self>, request: Bytes) -> Answer {
        self.arrived.lock().push(request.clone());
        self.count.send_modify(|count| *count += 1);
        let gate = Arc::clone(self);
        Box::pin(async move {
            // An error says that it was opened.
            let _ = gate.open.acquire().await;
            Ok(vec![request])
        })
    }
}

/// A handler that is a gate.
pub(super) struct Gated(pub(super) Arc<Gate>);

impl Handler for Gated {
    fn handle(&self, _from: NodeId, _channel: u32, _lane: peer::Lane, request: Bytes) -> Answer {
        self.0.pass(request)
    }
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Node 1, and node 2 behind a gate, of which node 1 knows.
pub(super) async fn pair(gate: &Arc<Gate>, options: Options) -> (Arc<Links>, Arc<Links>) {
    let one = Links::answering(NodeId(1), CLUSTER, any_port(), Arc::new(Gated(Gate::new())), options.clone());
    let two = Links::answering(NodeId(2), CLUSTER, any_port(), Arc::new(Gated(Arc::clone(gate))), options);
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    one.set_address(NodeId(2), two.address());
    (one, two)
}

/// A request that says a number.
pub(super) fn number(number: usize) -> Vec<Bytes> {
    vec![Bytes::from(number.to_le_bytes().to_vec())]
}

/// Fails a test that hangs.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}
