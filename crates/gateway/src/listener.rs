//! Accepting connections.

use crate::connection;
use crate::session::{Ends, SessionFactory};
use broker::Broker;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections one listener serves at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// How long to leave the socket alone when the process has no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound address and the protocol spoken there.
pub struct Listener {
    listener: TcpListener,
    sessions: Arc<SessionFactory>,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn bind(address: SocketAddr, sessions: Arc<SessionFactory>) -> io::Result<Self> {
        Ok(Listener { listener: TcpListener::bind(address).await?, sessions })
    }

    /// The address, with the port the operating system chose if none was asked for.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves connections until `stop` turns true, then drops them.
    pub async fn serve(self, broker: Broker, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = async {
                    let permit = room.clone().acquire_owned().await;
                    (permit, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(permit), Ok((stream, peer))) => {
                    let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
                    let session = match local {
                        Ok(local) => (self.sessions)(Ends { local, peer }),
                        Err(error) => {
                            tracing::debug!(%peer, %error, "closed at once");
                            continue;
                        }
                    };
                    let broker = broker.clone();
                    connections.spawn(async move {
                        connection::run(stream, peer, session, broker).await;
                        drop(permit);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
                (Err(_), _) => break,
            }
        }
        connections.shutdown().await;
    }
}
