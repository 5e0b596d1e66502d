//! Bytes received, cut into frames.

use super::frame::{Frame, FrameError, HEADER_BYTES, Header};
use crate::limit::READ_STEP_BYTES;
use bytes::{Buf, Bytes, BytesMut};
use model::checksum::crc32c;
use model::limit::PIN_BYTES_MIN;

/// A read into less room than this is not worth its system call.
const READ_BYTES_MIN: usize = 4096;

/// Bytes received, cut into frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    length_max: usize,
}

impl Decoder {
    /// A decoder that refuses payloads of more than `length_max` bytes.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Decoder { buffer: BytesMut::new(), length_max }
    }

    /// Where to put more bytes. It has room; how much depends on what has arrived, and not on what the
    /// frame at the front claims: whoever wants us to hold a large buffer has to fill it.
    pub fn space(&mut self) -> &mut BytesMut {
        let missing = self.missing().clamp(READ_BYTES_MIN, READ_STEP_BYTES.max(self.buffer.len()));
        if self.buffer.capacity() - self.buffer.len() < missing {
            self.buffer.reserve(missing.max(READ_STEP_BYTES));
        }
        &mut self.buffer
    }

    /// Bytes that the frame at the front still needs, as far as is known.
    fn missing(&self) -> usize {
        let length = self.buffer.first_chunk().and_then(|header| Header::decode(header, self.length_max).ok());
        (HEADER_BYTES + length.map_or(0, |header| header.length as usize)).saturating_sub(self.buffer.len())
    }

    /// The next frame, when it is whole.
    ///
    /// # Errors
    /// When the bytes are no frame. There is no way on from there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.first_chunk() else { return Ok(None) };
        let Header { length, kind, id, channel, checksum } = Header::decode(header, self.length_max)?;
        let length = length as usize;
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        // What is small is copied: a payload that somebody keeps must not keep the whole buffer.
        let payload = if length < PIN_BYTES_MIN {
            let payload = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            payload
        } else {
            self.buffer.split_to(length).freeze()
        };
        if crc32c(&payload) != checksum {
            return Err(FrameError::PayloadChecksum);
        }
        Ok(Some(Frame { kind, id, channel, payload }))
    }

    /// Bytes of memory held for what is not yet a frame.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }
}
