//! The one place that knows what a connection is made of. Encryption goes in here.

use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What bytes are read from.
pub(crate) type ReadHalf = OwnedReadHalf;
/// What bytes are written to.
pub(crate) type WriteHalf = OwnedWriteHalf;

/// Connects to a node.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<(ReadHalf, WriteHalf)> {
    accepted(TcpStream::connect(address).await?)
}

/// Takes what a listener accepted.
pub(crate) fn accepted(stream: TcpStream) -> io::Result<(ReadHalf, WriteHalf)> {
    // Frames are written whole; waiting for more would only delay them.
    stream.set_nodelay(true)?;
    Ok(stream.into_split())
}
