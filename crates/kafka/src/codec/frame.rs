//! Frames: every request and every response is preceded by its length, a big-endian i32 that does not
//! count itself.

use super::writer::Writer;
use bytes::{Buf, Bytes, BytesMut};
use gateway::Output;
use model::limit;

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

/// Bytes of the first frame of `received`, its length included; none while that has not arrived.
///
/// # Errors
/// [`FrameError`].
pub fn length(received: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = received.first_chunk::<PREFIX>() else { return Ok(None) };
    let claimed = i32::from_be_bytes(*prefix);
    let length = usize::try_from(claimed).map_err(|_| FrameError::Negative(claimed))?;
    if length > max { Err(FrameError::TooLarge { length, max }) } else { Ok(Some(PREFIX + length)) }
}

/// Takes the first frame off `received`, without its length. None if it has not arrived in full; no room is
/// made for the rest, for the sender has only claimed that there is any. A small one is copied, so that it
/// does not keep all that arrived with it; of a large one the memory is shared.
///
/// # Errors
/// [`FrameError`], which leaves `received` as it was.
pub fn split(received: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = length(received, max)?.filter(|length| *length <= received.len()) else { return Ok(None) };
    if length <= limit::INPUT_BYTES_FREE {
        let frame = Bytes::copy_from_slice(&received[PREFIX..length]);
        received.advance(length);
        return Ok(Some(frame));
    }
    received.advance(PREFIX);
    Ok(Some(received.split_to(length - PREFIX).freeze()))
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

/// A frame that holds what `content` writes, in the parts in which it is to be sent.
///
/// # Errors
/// [`FrameError::TooLarge`] if that is more than an i32 counts.
pub fn in_parts(content: impl FnOnce(&mut Writer<'_>)) -> Result<Vec<Output>, FrameError> {
    let (mut out, mut parts) = (BytesMut::zeroed(PREFIX), Vec::new());
    content(&mut Writer::in_parts(&mut out, &mut parts));
    let length = out.len() - PREFIX + parts.iter().map(|(_, part)| part.len()).sum::<usize>();
    let counted = i32::try_from(length).map_err(|_| FrameError::TooLarge { length, max: i32::MAX as usize })?;
    out[..PREFIX].copy_from_slice(&counted.to_be_bytes());
    let mut out = out.freeze();
    let mut sent = 0;
    let mut outputs = Vec::with_capacity(2 * parts.len() + 1);
    for (at, part) in parts {
        outputs.push(Output::Bytes(out.split_to(at - sent)));
        outputs.push(part);
        sent = at;
    }
    outputs.push(Output::Bytes(out));
    Ok(outputs)
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
    fn parts_are_one_frame() {
        let large = Bytes::from(vec![7; 70_000]);
        let outputs = in_parts(|writer| {
            writer.i8(1);
            writer.part(&Output::Bytes(large.clone()));
            writer.part(&Output::Bytes(Bytes::from_static(b"small")));
            writer.part(&Output::Bytes(large.clone()));
        });
        let outputs = outputs.unwrap();
        assert_eq!(outputs.iter().map(Output::len).collect::<Vec<_>>(), [5, 70_000, 5, 70_000, 0]);
        let bytes = |output: &Output| if let Output::Bytes(bytes) = output { bytes.to_vec() } else { Vec::new() };
        let mut whole = BytesMut::from(&outputs.iter().flat_map(bytes).collect::<Vec<_>>()[..]);
        let content = split(&mut whole, 1 << 20).unwrap().unwrap();
        assert!(whole.is_empty());
        assert_eq!(content, [&[1][..], &large, b"small", &large].concat());
    }

    #[test]
    fn refuses_impossible_lengths() {
        let mut received = BytesMut::from(b"\xff\xff\xff\xff".as_slice());
        assert_eq!(split(&mut received, 2), Err(FrameError::Negative(-1)));
        let mut received = BytesMut::from(b"\0\0\0\x03".as_slice());
        assert_eq!(split(&mut received, 2), Err(FrameError::TooLarge { length: 3, max: 2 }));
    }
}
