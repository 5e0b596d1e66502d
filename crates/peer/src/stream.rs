//! The one place that knows what a connection is made of.

use crate::error::NotSent;
use crate::mistrust::Mistrust;
use crate::tls::Tls;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsStream;

/// What bytes are read from.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

/// What bytes are written to. What was written may wait in it until it is flushed.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
}

/// Connects to a node.
pub(crate) async fn connect(address: SocketAddr, tls: Option<&Tls>) -> Result<(ReadHalf, WriteHalf), NotSent> {
    let unreachable = |error: io::Error| NotSent::Unreachable(error.kind());
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    hurry(&stream).map_err(unreachable)?;
    let Some(tls) = tls else { return Ok(plain(stream)) };
    let encrypted = tls.connect(stream).await.map_err(|error| match (Mistrust::of(&error), error.kind()) {
        (Some(why), _) => NotSent::Insecure(why),
        // So a node ends that reads something else than what it speaks.
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            NotSent::Insecure(Mistrust::NoTls)
        }
        (None, kind) => NotSent::Unreachable(kind),
    })?;
    Ok(split(encrypted))
}

/// Takes what a listener accepted.
pub(crate) async fn accepted(stream: TcpStream, tls: Option<&Tls>) -> io::Result<(ReadHalf, WriteHalf)> {
    hurry(&stream)?;
    Ok(match tls {
        Some(tls) => split(tls.accept(stream).await?),
        None => plain(stream),
    })
}

/// Lets nothing wait in the kernel for longer than it has to.
fn hurry(stream: &TcpStream) -> io::Result<()> {
    // A heartbeat that is lost more than once is sent again after the same time, not after twice as long each time.
    // Not every system has that, and nothing depends on it.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_thin_linear_timeouts(stream, true);
    // Frames are written whole; waiting for more would only delay them.
    stream.set_nodelay(true)
}

fn plain(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (reader, writer) = stream.into_split();
    (ReadHalf::Plain(reader), WriteHalf::Plain(writer))
}

fn split(stream: TlsStream<TcpStream>) -> (ReadHalf, WriteHalf) {
    let (reader, writer) = tokio::io::split(stream);
    (ReadHalf::Tls(reader), WriteHalf::Tls(writer))
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Plain(reader) => Pin::new(reader).poll_read(context, into),
            ReadHalf::Tls(reader) => Pin::new(reader).poll_read(context, into),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            WriteHalf::Plain(writer) => Pin::new(writer).poll_write(context, bytes),
            WriteHalf::Tls(writer) => Pin::new(writer).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            WriteHalf::Plain(writer) => Pin::new(writer).poll_write_vectored(context, slices),
            WriteHalf::Tls(writer) => Pin::new(writer).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            WriteHalf::Plain(writer) => writer.is_write_vectored(),
            WriteHalf::Tls(writer) => writer.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Plain(writer) => Pin::new(writer).poll_flush(context),
            WriteHalf::Tls(writer) => Pin::new(writer).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Plain(writer) => Pin::new(writer).poll_shutdown(context),
            WriteHalf::Tls(writer) => Pin::new(writer).poll_shutdown(context),
        }
    }
}
