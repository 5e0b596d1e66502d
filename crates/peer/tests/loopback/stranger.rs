//! Programs that speak the protocol by hand, and wrongly where it pleases them.

use crate::node::CLUSTER;
use bytes::Bytes;
use model::NodeId;
use model::checksum::crc32c;
use peer::Lane;
use peer::codec::answer::Answer;
use peer::codec::decoder::Decoder;
use peer::codec::frame::{Frame, FrameKind, Header};
use peer::codec::greeting::{GREETING_BYTES, Versions};
use peer::codec::hello::Hello;
use peer::limit::FRAME_BYTES_MAX;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Stranger {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
}

pub(crate) fn hello(lane: Lane) -> Hello {
    Hello {
        versions: Versions::OURS,
        lane: lane.tag(),
        cluster: CLUSTER,
        from: NodeId(9),
        to: NodeId(2),
        nonce: [0; 32],
    }
}

pub(crate) fn request(id: u64, payload: &[u8]) -> Vec<u8> {
    frame(FrameKind::Request, id, payload)
}

pub(crate) fn frame(kind: FrameKind, id: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header { length: payload.len() as u32, kind, id, channel: 0, checksum: crc32c(payload) };
    [&header.encode()[..], payload].concat()
}

impl Stranger {
    fn new(stream: TcpStream) -> Self {
        Stranger { stream, decoder: Decoder::new(FRAME_BYTES_MAX) }
    }

    /// Connects without a word.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Stranger::new(TcpStream::connect(to).await.unwrap())
    }

    /// Connects and says hello.
    pub(crate) async fn dial(to: SocketAddr, hello: Hello) -> (Self, Answer) {
        let mut stranger = Stranger::connect(to).await;
        stranger.send(&hello.encode()).await;
        let mut answer = [0; GREETING_BYTES];
        stranger.stream.read_exact(&mut answer).await.unwrap();
        (stranger, Answer::decode(&answer).unwrap())
    }

    /// Waits for a node to dial, and answers as node 2 would.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let mut stranger = Stranger::new(listener.accept().await.unwrap().0);
        let mut message = [0; GREETING_BYTES];
        stranger.stream.read_exact(&mut message).await.unwrap();
        assert!(Hello::decode(&message).is_ok());
        let answer = Answer::open(Versions::OURS, Ok(1), CLUSTER, NodeId(2));
        stranger.send(&answer.encode()).await;
        stranger
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` when the node has closed.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            // A node that closes with our bytes unread resets the connection: that is a close, too.
            if !matches!(self.stream.read_buf(self.decoder.space()).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next response's id and payload, pings aside.
    pub(crate) async fn response(&mut self) -> (u64, Bytes) {
        let frame = self.receive().await.unwrap();
        assert_eq!(frame.kind, FrameKind::Response);
        (frame.id, frame.payload)
    }

    /// Waits until the node closes.
    pub(crate) async fn closed(&mut self) {
        while self.receive().await.is_some() {}
    }
}
