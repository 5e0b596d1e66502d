//! Frames: what travels after the handshake.

use bytes::Bytes;
use model::checksum::crc32c;

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 28;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A call.
    Request,
    /// The answer to a request, by its id.
    Response,
    /// A rejection of a request, by its id.
    Error,
    /// Asks for a pong.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Requests with a greater id than this frame's were not and will not be started.
    GoAway,
}

const KINDS: [(FrameKind, u8); 6] = [
    (FrameKind::Request, 1),
    (FrameKind::Response, 2),
    (FrameKind::Error, 3),
    (FrameKind::Ping, 4),
    (FrameKind::Pong, 5),
    (FrameKind::GoAway, 6),
];

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header is damaged, or is none.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// A kind that the version does not have.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Bytes that have to be zero are not.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// More than the lane allows.
    #[error("a payload of {length} bytes is above the {max} that the lane allows")]
    TooLong {
        /// What the header claims.
        length: usize,
        /// The lane's maximum.
        max: usize,
    },
    /// The payload is damaged.
    #[error("the payload's checksum does not match")]
    PayloadChecksum,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow.
    pub length: u32,
    /// What the frame is for.
    pub kind: FrameKind,
    /// The request's id, given by the dialling side; 0 where the kind needs none.
    pub id: u64,
    /// The request's channel; 0 except in requests.
    pub channel: u32,
    /// CRC32C of the payload.
    pub checksum: u32,
}

impl Header {
    /// The header of a frame without payload.
    #[must_use]
    pub fn bare(kind: FrameKind, id: u64) -> Header {
        Header { length: 0, kind, id, channel: 0, checksum: 0 }
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(0, |(_, tag)| *tag);
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&self.length.to_le_bytes());
        out[4] = kind;
        out[8..16].copy_from_slice(&self.id.to_le_bytes());
        out[16..20].copy_from_slice(&self.channel.to_le_bytes());
        out[20..24].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32c(&out[..24]);
        out[24..28].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header. Its own checksum is looked at first, so that a damaged length is never
    /// believed.
    ///
    /// # Errors
    /// When it is none, or claims more than `length_max` bytes of payload.
    pub fn decode(bytes: &[u8; HEADER_BYTES], length_max: usize) -> Result<Header, FrameError> {
        let [l0, l1, l2, l3, kind, r0, r1, r2, rest @ ..] = *bytes;
        let [i0, i1, i2, i3, i4, i5, i6, i7, c0, c1, c2, c3, p0, p1, p2, p3, h0, h1, h2, h3] = rest;
        if crc32c(&bytes[..24]) != u32::from_le_bytes([h0, h1, h2, h3]) {
            return Err(FrameError::HeaderChecksum);
        }
        if [r0, r1, r2] != [0; 3] {
            return Err(FrameError::Reserved);
        }
        let kind = KINDS.iter().find(|(_, tag)| *tag == kind).ok_or(FrameError::Kind(kind))?.0;
        let header = Header {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            id: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            channel: u32::from_le_bytes([c0, c1, c2, c3]),
            checksum: u32::from_le_bytes([p0, p1, p2, p3]),
        };
        match header.length as usize {
            length if length > length_max => Err(FrameError::TooLong { length, max: length_max }),
            _ => Ok(header),
        }
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the frame is for.
    pub kind: FrameKind,
    /// See [`Header::id`].
    pub id: u64,
    /// See [`Header::channel`].
    pub channel: u32,
    /// What the callers say to each other.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of version 1. If this test has to change, so has the version.
    #[test]
    fn the_header_is_as_drawn() {
        let header = Header { length: 3, kind: FrameKind::Request, id: 0x0102, channel: 7, checksum: crc32c(b"abc") };
        let hex: Vec<String> = header
            .encode()
            .chunks(4)
            .map(|four| format!("{:08x}", four.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))))
            .collect();
        assert_eq!(hex, ["03000000", "01000000", "02010000", "00000000", "07000000", "b73f4b36", "35b4a7ec"]);
    }

    #[test]
    fn a_header_says_what_is_wrong_with_it() {
        let good = Header::bare(FrameKind::Ping, 0).encode();
        let sealed = |change: fn(&mut [u8; HEADER_BYTES])| {
            let mut bytes = good;
            change(&mut bytes);
            let checksum = crc32c(&bytes[..24]).to_le_bytes();
            bytes[24..].copy_from_slice(&checksum);
            Header::decode(&bytes, 100)
        };
        assert_eq!(sealed(|_| ()), Ok(Header::bare(FrameKind::Ping, 0)));
        assert_eq!(sealed(|bytes| bytes[4] = 7), Err(FrameError::Kind(7)));
        assert_eq!(sealed(|bytes| bytes[6] = 1), Err(FrameError::Reserved));
        assert_eq!(sealed(|bytes| bytes[0] = 101), Err(FrameError::TooLong { length: 101, max: 100 }));
        for at in 0..HEADER_BYTES {
            let mut bytes = good;
            bytes[at] ^= 0x10;
            assert_eq!(Header::decode(&bytes, 100), Err(FrameError::HeaderChecksum), "byte {at}");
        }
    }
}
