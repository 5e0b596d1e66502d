//! This node's connections to the others, as what its shards send through and what receives for them.
//!
//! `shard` calls replicas and knows no connection, `peer` carries calls and knows no shard; here the two
//! meet. A call names a channel: a shard's number, or [`CALLS`] for what nodes ask each other as nodes.
//!
//! Shards rely on an order: what they send in a lane is queued when they call, in that order, whatever
//! becomes of the future. `peer` takes a place in its queue only when there is one, which a caller has to
//! wait for. So every node and lane has a [`Line`] in between: bounded, filled by the call itself, emptied
//! by one task that takes the places one after the other.

mod dispatcher;
mod line;
#[cfg(test)]
mod tests;

use crate::cluster::call::NodeCall;
use bytes::Bytes;
use dispatcher::Dispatcher;
use futures::future::BoxFuture;
use line::Line;
use model::{NodeId, ShardId, limit};
use parking_lot::{Mutex, RwLock};
use peer::{Options, PeerError, Peers, Rejection};
use shard::{Lane, Shard, Transport, TransportError};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// The channel of calls that are for a node and not for one of its shards.
pub(crate) const CALLS: u32 = u32::MAX;

const _: () = assert!(CALLS > limit::SHARDS_MAX, "no shard has this number");

/// Who receives what other nodes send.
pub(crate) trait Desk: Send + Sync + 'static {
    /// This node's replica of a shard; `None` when it has none. Asked for every call to the shard.
    fn shard(&self, shard: ShardId) -> Option<Shard>;

    /// Answers what another node asks of this one. `from` is what that node says it is.
    ///
    /// All such futures of a connection share its task, and are dropped with it: neither this nor the
    /// future may block or compute for long, and what has to go on belongs into a task of its own.
    fn call(&self, from: NodeId, call: Bytes) -> BoxFuture<'static, Result<Bytes, Rejection>>;
}

/// See the module's documentation.
pub(crate) struct Links {
    peers: Arc<Peers>,
    runtime: Handle,
    nodes: RwLock<HashMap<NodeId, Lines>>,
    /// What empties the lines; none once stopped.
    pumps: Mutex<Option<JoinSet<()>>>,
}

/// The lines to one node.
struct Lines {
    control: Line,
    append: Line,
    bulk: Line,
}

impl Links {
    /// Hears the other nodes of a cluster through `listener`; `desk` receives what they send.
    ///
    /// # Errors
    /// When the listener does not say where it listens.
    pub(crate) fn start(
        me: NodeId,
        cluster: u128,
        listener: TcpListener,
        desk: Arc<dyn Desk>,
        options: Options,
    ) -> io::Result<Arc<Links>> {
        Ok(Links::over(Peers::serve(me, cluster, listener, Arc::new(Dispatcher::new(desk)), options)?))
    }

    /// The same with another handler.
    #[cfg(test)]
    async fn answering(
        me: NodeId,
        cluster: u128,
        listen: SocketAddr,
        handler: Arc<dyn peer::Handler>,
        options: Options,
    ) -> io::Result<Arc<Links>> {
        Ok(Links::over(Peers::start(me, cluster, listen, handler, options).await?))
    }

    fn over(peers: Peers) -> Arc<Links> {
        let pumps = Mutex::new(Some(JoinSet::new()));
        Arc::new(Links { peers: Arc::new(peers), runtime: Handle::current(), nodes: RwLock::default(), pumps })
    }

    /// Where this node listens, with the port the operating system chose if none was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.peers.address()
    }

    /// What the connections have seen so far.
    pub(crate) fn counts(&self) -> peer::Counts {
        self.peers.counts()
    }

    /// Says where a node is. A connection that stands is kept.
    pub(crate) fn set_address(&self, node: NodeId, address: SocketAddr) {
        let mut nodes = self.nodes.write();
        self.peers.set_address(node, address);
        if nodes.contains_key(&node) {
            return;
        }
        let mut pumps = self.pumps.lock();
        let Some(pumps) = pumps.as_mut() else { return };
        // Those of nodes that were forgotten.
        while pumps.try_join_next().is_some() {}
        let mut line = |lane| {
            let (line, pump) = Line::new(Arc::clone(&self.peers), node, lane);
            pumps.spawn_on(pump, &self.runtime);
            line
        };
        let lines = Lines {
            control: line(peer::Lane::Control),
            append: line(peer::Lane::Append),
            bulk: line(peer::Lane::Bulk),
        };
        nodes.insert(node, lines);
    }

    /// Forgets a node that has left the cluster. Calls under way to it fail.
    pub(crate) fn forget(&self, node: NodeId) {
        let mut nodes = self.nodes.write();
        nodes.remove(&node);
        self.peers.forget(node);
    }

    /// Asks a node, as a node, and waits for the answer for no longer than `patience` in all.
    ///
    /// # Errors
    /// [`TransportError::NotSent`] when the other certainly did nothing.
    pub(crate) async fn ask(&self, node: NodeId, call: Bytes, patience: Duration) -> Result<Bytes, TransportError> {
        let lane = match NodeCall::lane_of(&call) {
            Lane::Control => peer::Lane::Control,
            Lane::Append => peer::Lane::Append,
            Lane::Bulk => peer::Lane::Bulk,
        };
        self.peers.call(node, CALLS, lane, vec![call], patience).await.map_err(failed)
    }

    /// Ends all connections: our calls fail, and what was started for others may end within
    /// [`Options::drain_timeout`].
    pub(crate) async fn stop(&self) {
        let pumps = self.pumps.lock().take();
        self.nodes.write().clear();
        self.peers.stop().await;
        // With nobody to fill them and no connection, the lines are empty at once.
        if let Some(mut pumps) = pumps {
            while pumps.join_next().await.is_some() {}
        }
    }
}

impl Transport for Links {
    fn call(
        &self,
        to: NodeId,
        shard: ShardId,
        lane: Lane,
        request: Vec<Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let queued = match self.nodes.read().get(&to) {
            Some(lines) => lines.of(lane).push(shard.0, request),
            None => Err("nobody has said where it is"),
        };
        Box::pin(async move {
            let turn = queued.map_err(|why| TransportError::NotSent(format!("to {to}: {why}")))?;
            let sent = turn.await.map_err(|_| TransportError::NotSent(format!("to {to}: stopped")))?;
            sent.map_err(failed)?.await.map_err(failed)
        })
    }
}

impl Lines {
    fn of(&self, lane: Lane) -> &Line {
        match lane {
            Lane::Control => &self.control,
            Lane::Append => &self.append,
            Lane::Bulk => &self.bulk,
        }
    }
}

fn failed(error: PeerError) -> TransportError {
    let said = error.to_string();
    if error.may_have_happened() { TransportError::Lost(said) } else { TransportError::NotSent(said) }
}
