//! The receiving half of a connection.

use crate::codec::decoder::Decoder;
use crate::codec::frame::Frame;
use crate::counters::Counter;
use crate::end::End;
use crate::lane::Lane;
use crate::stream::ReadHalf;
use tokio::io::AsyncReadExt;

pub(crate) struct Input {
    reader: ReadHalf,
    decoder: Decoder,
    received: u64,
}

impl Input {
    pub(crate) fn new(reader: ReadHalf, lane: Lane) -> Self {
        Input { reader, decoder: Decoder::new(lane.frame_bytes_max()), received: 0 }
    }

    /// The next frame. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self, counter: &Counter) -> Result<Frame, End> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            let count = self.reader.read_buf(self.decoder.space()).await?;
            if count == 0 {
                return Err(End::Closed);
            }
            self.received += count as u64;
            counter.add(count as u64);
        }
    }

    /// The next frame, if it has arrived.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, End> {
        Ok(self.decoder.next_frame()?)
    }

    /// Bytes received so far. Grows while a long frame is under way, too.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}
