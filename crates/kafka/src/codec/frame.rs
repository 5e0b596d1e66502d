//! Frames: every request and every response is preceded by its length, a big-endian i32 that does not
//! count itself.

use super::writer::Writer;
use bytes::{Buf, Bytes, BytesMut};

/// Bytes that the length takes.
pub const PREFIX: usize = 4;

/// A frame that cannot be. The stream it came from cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length below zero.
    #[error("a frame of {0} bytes")]
    Negative(i32),
    /// A length above the maximum.
    #[error("a frame of {length} bytes, more than {max}")]
    TooLarge {
        /// Bytes of the frame, without its length.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// Takes the first frame off `received`, without its length and without copying it. None if it has not
/// arrived in full; no room is made for the rest, for the sender has only claimed that there is any.
///
/// # Errors
/// [`FrameError`], which leaves `received` as it was.
pub fn split(received: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = received.first_chunk::<PREFIX>() else { return Ok(None) };
    let claimed = i32::from_be_bytes(*prefix);
    let length = usize::try_from(claimed).map_err(|_| FrameError::Negative(claimed))?;
    if length > max {
        return Err(FrameError::TooLarge { length, max });
    }
    if received.len() - PREFIX < length {
        return Ok(None);
    }
    received.advance(PREFIX);
    Ok(Some(received.split_to(length).freeze()))
}

/// Appends a frame that holds what `content` writes.
///
/// # Errors
/// [`FrameError::TooLarge`] if that is more than an i32 counts; `out` is as before then.
pub fn write(out: &mut BytesMut, content: impl FnOnce(&mut Writer<'_>)) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    content(&mut Writer::new(out));
    let length = out.len() - start - PREFIX;
    let Ok(counted) = i32::try_from(length) else {
        out.truncate(start);
        return Err(FrameError::TooLarge { length, max: i32::MAX as usize });
    };
    out[start..start + PREFIX].copy_from_slice(&counted.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_frames_as_they_arrive() {
        let mut received = BytesMut::new();
        for &byte in b"\0\0\0\x02a" {
            received.extend_from_slice(&[byte]);
            assert_eq!(split(&mut received, 2), Ok(None));
        }
        received.extend_from_slice(b"b\0\0\0\0\0");
        assert_eq!(split(&mut received, 2), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(split(&mut received, 2), Ok(Some(Bytes::new())));
        assert_eq!(split(&mut received, 2), Ok(None));
        assert_eq!(&received[..], b"\0");
    }

    #[test]
    fn refuses_impossible_lengths() {
        let mut received = BytesMut::from(b"\xff\xff\xff\xff".as_slice());
        assert_eq!(split(&mut received, 2), Err(FrameError::Negative(-1)));
        let mut received = BytesMut::from(b"\0\0\0\x03".as_slice());
        assert_eq!(split(&mut received, 2), Err(FrameError::TooLarge { length: 3, max: 2 }));
    }
}
