//! The way to other nodes.

use super::address::resolve;
use crate::links::Links;
use bytes::Bytes;
use futures::future::BoxFuture;
use machine::catalog::Endpoint;
use model::{NodeId, ShardId};
use shard::{Lane, Transport, TransportError};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Names are looked up again after this: a node may have moved.
const LOOKED_UP_FOR: Duration = Duration::from_secs(10);

/// The way to other nodes: to their replicas, and to the nodes themselves.
pub trait Network: Transport {
    /// Asks a node and waits for no longer than `patience` in all.
    fn ask(&self, node: NodeId, call: Bytes, patience: Duration) -> BoxFuture<'static, Result<Bytes, TransportError>>;
    /// Says where all other nodes are; those that are not named have left.
    fn follow(&self, nodes: BTreeMap<NodeId, Endpoint>) -> BoxFuture<'_, ()>;
    /// Where other nodes reach this one.
    fn advertised(&self) -> Endpoint;
    /// What the connections have seen so far; nothing where nobody counts.
    fn counts(&self) -> Option<peer::Counts> {
        None
    }
    /// Cuts all connections.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// Connections over TCP.
pub(crate) struct Tcp {
    links: Arc<Links>,
    advertised: Endpoint,
    /// Where the nodes were when last looked up. Held by whoever looks.
    known: Mutex<BTreeMap<NodeId, (Endpoint, Instant)>>,
}

impl Tcp {
    pub(crate) fn new(links: Arc<Links>, advertised: Endpoint) -> Self {
        Tcp { links, advertised, known: Mutex::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.links.address()
    }
}

impl Transport for Tcp {
    fn call(
        &self,
        to: NodeId,
        shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.links.call(to, shard, lane, request)
    }
}

impl Network for Tcp {
    fn ask(&self, node: NodeId, call: Bytes, patience: Duration) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let links = self.links.clone();
        Box::pin(async move { links.ask(node, call, patience).await })
    }

    fn follow(&self, nodes: BTreeMap<NodeId, Endpoint>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut known = self.known.lock().await;
            for gone in known.keys().filter(|node| !nodes.contains_key(node)) {
                self.links.forget(*gone);
            }
            known.retain(|node, _| nodes.contains_key(node));
            for (node, endpoint) in nodes {
                let fresh = known
                    .get(&node)
                    .is_some_and(|(known, looked_up)| *known == endpoint && looked_up.elapsed() < LOOKED_UP_FOR);
                if fresh {
                    continue;
                }
                match resolve(&String::from_utf8_lossy(&endpoint.host), endpoint.port).await {
                    Ok(address) => {
                        self.links.set_address(node, address);
                        known.insert(node, (endpoint, Instant::now()));
                    }
                    Err(error) => tracing::warn!(%node, ?endpoint, %error, "cannot find out where a node is"),
                }
            }
        })
    }

    fn advertised(&self) -> Endpoint {
        self.advertised.clone()
    }

    fn counts(&self) -> Option<peer::Counts> {
        Some(self.links.counts())
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.links.stop())
    }
}
