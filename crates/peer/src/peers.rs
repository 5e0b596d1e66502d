//! A node's connections to all others.

use crate::call::Reply;
use crate::counters::{Counters, Counts};
use crate::error::{NotSent, PeerError};
use crate::handler::Handler;
use crate::lane::Lane;
use crate::link::Link;
use crate::listener::Listener;
use crate::node::Node;
use crate::options::Options;
use bytes::Bytes;
use model::NodeId;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// A node's connections to all others: one per process. Dropping it cuts them; [`Peers::stop`] ends
/// them in order.
pub struct Peers {
    node: Arc<Node>,
    address: SocketAddr,
    routes: RwLock<HashMap<NodeId, Route>>,
    /// The listener and the links; none once stopped.
    tasks: Mutex<Option<JoinSet<()>>>,
    stop: watch::Sender<bool>,
}

/// Where a node is, and the links to it that have been used.
struct Route {
    address: watch::Sender<SocketAddr>,
    links: [Option<Link>; Lane::ALL.len()],
}

impl Peers {
    /// Listens for other nodes of `cluster`, whose calls `handler` answers.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        me: NodeId,
        cluster: u128,
        listen: SocketAddr,
        handler: Arc<dyn Handler>,
        options: Options,
    ) -> io::Result<Peers> {
        Peers::serve(me, cluster, TcpListener::bind(listen).await?, handler, options)
    }

    /// The same with a listener that is bound already.
    ///
    /// # Errors
    /// When it does not say where it listens.
    pub fn serve(
        me: NodeId,
        cluster: u128,
        listener: TcpListener,
        handler: Arc<dyn Handler>,
        options: Options,
    ) -> io::Result<Peers> {
        let address = listener.local_addr()?;
        let node = Arc::new(Node { me, cluster, options, counters: Counters::default() });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Listener::new(Arc::clone(&node), handler, stopped).run(listener));
        Ok(Peers { node, address, routes: RwLock::default(), tasks: Mutex::new(Some(tasks)), stop })
    }

    /// Where this node listens, with the port the operating system chose if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says where a node is. A connection that stands is kept: who answers there has proved to be that
    /// node. The next one is made to the new address, at once if one is being made.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        let mut routes = self.routes.write();
        let route = routes
            .entry(node)
            .or_insert_with(|| Route { address: watch::Sender::new(address), links: [const { None }; 3] });
        route.address.send_if_modified(|known| std::mem::replace(known, address) != address);
    }

    /// Forgets a node that has left the cluster. Calls under way to it fail.
    pub fn forget(&self, node: NodeId) {
        self.routes.write().remove(&node);
    }

    /// Calls a node and waits for the answer, for no longer than `patience` in all.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call(
        &self,
        to: NodeId,
        channel: u32,
        lane: Lane,
        request: Vec<Bytes>,
        patience: Duration,
    ) -> Result<Bytes, PeerError> {
        let deadline = Instant::now() + patience;
        let send = timeout_at(deadline, self.send(to, channel, lane, request));
        let mut reply = send.await.map_err(|_| NotSent::TimedOut)??;
        match timeout_at(deadline, &mut reply).await {
            Ok(answer) => answer,
            Err(_) => Err(reply.give_up()),
        }
    }

    /// Takes a place in the queue to a node and returns the answer to come. Waits for a place where
    /// there is none, except in the control lane; that wait is the back-pressure.
    ///
    /// Calls of a lane are sent in the order in which they took their places: who needs an order
    /// awaits this before sending the next, and may await the answers whenever it likes. After an
    /// error, calls sent later may still arrive.
    ///
    /// # Errors
    /// When the call cannot be queued. Nothing was sent then.
    pub async fn send(&self, to: NodeId, channel: u32, lane: Lane, request: Vec<Bytes>) -> Result<Reply, PeerError> {
        self.link(to, lane)?.send(channel, request).await
    }

    /// What the connections have seen so far.
    pub fn counts(&self) -> Counts {
        self.node.counters.read()
    }

    /// Ends all connections. Our calls under way fail; those of others are told that no more are
    /// taken, and what was started for them may end within [`Options::drain_timeout`].
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            while tasks.join_next().await.is_some() {}
        }
    }

    fn link(&self, to: NodeId, lane: Lane) -> Result<Link, PeerError> {
        let known = |routes: &HashMap<NodeId, Route>| match routes.get(&to) {
            None => Err(PeerError::UnknownNode(to)),
            Some(route) => Ok(route.links[lane.index()].clone()),
        };
        if let Some(link) = known(&self.routes.read())? {
            return Ok(link);
        }
        let mut routes = self.routes.write();
        if let Some(link) = known(&routes)? {
            return Ok(link);
        }
        let route = routes.get_mut(&to).ok_or(PeerError::UnknownNode(to))?;
        let mut tasks = self.tasks.lock();
        let tasks = tasks.as_mut().ok_or(NotSent::Stopped)?;
        // Those of nodes that were forgotten.
        while tasks.try_join_next().is_some() {}
        let address = route.address.subscribe();
        let (link, dialler) = Link::new(Arc::clone(&self.node), to, lane, address, self.stop.subscribe());
        tasks.spawn(dialler.run());
        route.links[lane.index()] = Some(link.clone());
        Ok(link)
    }
}
