//! Accepting other nodes.

use crate::end::End;
use crate::handler::Handler;
use crate::handshake::{Failure, receive_guest};
use crate::inbound::Inbound;
use crate::limit::HANDSHAKES_MAX;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::seats::Seats;
use crate::stream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// How long to leave the socket alone when the process has no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Lets other nodes in.
pub(crate) struct Listener {
    node: Arc<Node>,
    handler: Arc<dyn Handler>,
    seats: Arc<Seats>,
    stop: watch::Receiver<bool>,
}

impl Listener {
    pub(crate) fn new(node: Arc<Node>, handler: Arc<dyn Handler>, stop: watch::Receiver<bool>) -> Self {
        Listener { node, handler, seats: Seats::new(), stop }
    }

    /// Serves until told to stop and until all connections have ended, which they do by themselves.
    pub(crate) async fn run(mut self, listener: TcpListener) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = async {
                    // Strangers wait in the kernel's queue while too many have not introduced themselves.
                    let permit = Arc::clone(&handshakes).acquire_owned().await;
                    (permit, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(permit), Ok((stream, address))) => {
                    connections.spawn(self.connection(stream, address, permit));
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a node's connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
                (Err(_), _) => break,
            }
        }
        // From here on others are turned away, instead of waiting for an answer that never comes.
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    /// One connection, from its handshake to its end.
    fn connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let (node, handler) = (Arc::clone(&self.node), Arc::clone(&self.handler));
        let (seats, mut stop) = (Arc::clone(&self.seats), self.stop.clone());
        async move {
            let counters = &node.counters;
            let refused = |refusal, why: &dyn std::fmt::Display| {
                counters.refuse(refusal);
                tracing::warn!(%address, %why, "a connection was not let in");
            };
            let handshake = timeout(node.options.handshake_timeout, async {
                let (mut reader, mut writer) = stream::accepted(stream, node.options.tls.as_ref()).await?;
                let guest = receive_guest(&node, &seats, &mut reader, &mut writer).await?;
                Ok::<_, Failure>(guest.map(|guest| (guest, reader, writer)))
            });
            let (guest, reader, writer) = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                guest = handshake => match guest {
                    Ok(Ok(Some(guest))) => guest,
                    Ok(Ok(None)) => return,
                    Ok(Err(failure)) => return refused(Refusal::of(&failure), &failure),
                    Err(_) => return refused(Refusal::Slow, &"the handshake took too long"),
                }
            };
            drop(permit);
            counters.accepted.one();
            let (from, lane) = (guest.from, guest.lane);
            tracing::debug!(node = %from, %lane, %address, "let in");
            let end = Inbound::new(&node, &*handler, guest, reader, writer).run(&mut stop).await;
            match end {
                End::Violation(_) => {
                    counters.violations.one();
                    tracing::warn!(node = %from, %lane, %address, %end, "connection cut");
                }
                End::Silent => {
                    counters.silenced.one();
                    tracing::warn!(node = %from, %lane, %address, %end, "connection cut");
                }
                end => tracing::debug!(node = %from, %lane, %address, %end, "connection ended"),
            }
        }
    }
}

/// A handler that panics takes its connection along, and nothing else.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
