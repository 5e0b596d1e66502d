//! Accepting connections.

use crate::connection;
use crate::counters::Counters;
use crate::seats::{Refusals, Seats};
use crate::session::{Ends, SessionFactory};
use crate::timeouts::Timeouts;
use broker::Broker;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long to leave the socket alone when the system has no file descriptors or memory left. Whoever
/// waits to be accepted waits in the kernel meanwhile.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted, if the system allows as many. Every client of a node that
/// starts comes at once, and those that find no room are reset after they believed to be connected.
/// Tokio's own choice is 128.
const BACKLOG: u32 = 4096;

/// A bound address. Clients may come from then on; they are served when [`Listener::serve`] is.
pub struct Listener {
    name: &'static str,
    listener: TcpListener,
    counters: Arc<Counters>,
}

impl Listener {
    /// Binds `address`. The name is for people: logs and metrics.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn bind(name: &'static str, address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // What `TcpListener::bind` does, but for the backlog: so that a restart can bind at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Listener { name, listener, counters: Arc::default() })
    }

    /// The address, with the port the operating system chose if none was asked for.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves connections, each by a session of its own, until `stop` turns true, then drops them. A client that
    /// does nothing for too long is dropped before.
    pub async fn serve(
        self,
        sessions: Arc<SessionFactory>,
        broker: Broker,
        seats: Seats,
        timeouts: Timeouts,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut connections = JoinSet::new();
        let mut refusals = Refusals::default();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accept(&self.listener, self.name, &self.counters) => accepted,
            };
            let Some((stream, peer)) = accepted else { continue };
            let Some(seat) = seats.take() else {
                self.counters.refused.fetch_add(1, Relaxed);
                if let Some(count) = refusals.note(Instant::now()) {
                    let (listener, seats) = (self.name, seats.count());
                    tracing::warn!(listener, %peer, count, seats, "connections refused: all seats are taken");
                }
                continue;
            };
            let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
            let session = match local {
                Ok(local) => sessions(Ends { local, peer }),
                Err(error) => {
                    tracing::debug!(listener = self.name, %peer, %error, "closed at once");
                    continue;
                }
            };
            let (name, broker, counters) = (self.name, broker.clone(), self.counters.clone());
            connections.spawn(async move {
                let origin = connection::Origin { listener: name, peer };
                connection::run(stream, origin, session, broker, timeouts, &counters).await;
                drop(seat);
            });
        }
        connections.shutdown().await;
    }
}

/// Accepts a connection. When that fails, says so, counts it, and returns after a while if trying again
/// at once would only fail again.
pub async fn accept(
    listener: &TcpListener,
    name: &'static str,
    counters: &Counters,
) -> Option<(TcpStream, SocketAddr)> {
    let error = match listener.accept().await {
        Ok(accepted) => return Some(accepted),
        Err(error) => error,
    };
    counters.accept_errors.fetch_add(1, Relaxed);
    // The client went away before it was served: there may be others.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::debug!(listener = name, %error, "cannot accept a connection");
        return None;
    }
    tracing::warn!(listener = name, %error, "cannot accept connections");
    tokio::time::sleep(ACCEPT_RETRY).await;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as Client;

    #[tokio::test]
    async fn a_burst_of_clients_finds_room_before_anybody_is_accepted() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind("test", address).await.unwrap();
        let address = listener.address().unwrap();
        let connect = || Client::connect_timeout(&address, Duration::from_secs(5));
        let clients: Vec<_> = (0..400).map(|_| connect().unwrap()).collect();
        assert_eq!(clients.len(), 400);
    }
}
