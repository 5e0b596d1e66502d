//! Compression of the records of a batch. The server decompresses only to look inside; what it stores
//! and sends is what it got.

use super::record::RecordError;
use bytes::Bytes;
use std::io::Read;

/// How the records of a batch are compressed, all as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw, or in the chunks of the Java library (xerial), which is what most clients send.
    Snappy,
    /// The frame format (KIP-57).
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

impl Compression {
    /// The compression with this code in the attributes of a batch, if any has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// What the Java library puts before its chunks; its version and the oldest compatible one follow.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEAD: usize = 16;

/// The zstd window that every decoder has to have room for (RFC 8878, 3.1.1.1.2), as a power of two.
/// Decoders take memory for the window that a frame claims, whatever it holds.
const ZSTD_WINDOW: u32 = 23;

/// Bytes decompressed at a time.
const STEP: usize = 8 * 1024;

/// Decompresses into at most `limit` bytes. Besides them a decoder takes what its format has it hold
/// back: 32 KiB for gzip, up to 8 MiB for lz4 and zstd.
pub(crate) fn decompress(compression: Compression, bytes: Bytes, limit: usize) -> Result<Bytes, RecordError> {
    let decompressed = match compression {
        Compression::None => return Ok(bytes),
        Compression::Gzip => read_all(flate2::read::MultiGzDecoder::new(&bytes[..]), limit)?,
        Compression::Snappy => snappy(&bytes, limit)?,
        Compression::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(&bytes[..]), limit)?,
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&bytes[..]).map_err(|_| RecordError::Compressed)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|_| RecordError::Compressed)?;
            read_all(decoder, limit)?
        }
    };
    Ok(Bytes::from(decompressed))
}

/// As `read_to_end`, but with no more room than `limit`.
fn read_all(mut decoder: impl Read, limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut step = [0; STEP];
    let mut all = Vec::new();
    loop {
        let read = decoder.read(&mut step).map_err(|_| RecordError::Compressed)?;
        if read == 0 {
            return Ok(all);
        }
        let length = all.len() + read;
        if length > limit {
            return Err(RecordError::TooLarge { limit });
        }
        if length > all.capacity() {
            let room = (2 * all.capacity()).clamp(length, limit);
            all.reserve_exact(room - all.len());
        }
        all.extend_from_slice(&step[..read]);
    }
}

fn snappy(bytes: &[u8], limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut all = Vec::new();
    if !bytes.starts_with(XERIAL) {
        snappy_block(bytes, &mut all, limit)?;
        return Ok(all);
    }
    let mut rest = bytes.get(XERIAL_HEAD..).ok_or(RecordError::Compressed)?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or(RecordError::Compressed)?;
        snappy_block(block, &mut all, limit)?;
        rest = after;
    }
    if rest.is_empty() { Ok(all) } else { Err(RecordError::Compressed) }
}

/// Decompresses a block, which begins with the number of bytes in it, onto the end of `all`.
fn snappy_block(block: &[u8], all: &mut Vec<u8>, limit: usize) -> Result<(), RecordError> {
    let length = snap::raw::decompress_len(block).map_err(|_| RecordError::Compressed)?;
    let start = all.len();
    if length > limit - start {
        return Err(RecordError::TooLarge { limit });
    }
    all.resize(start + length, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut all[start..]).map_err(|_| RecordError::Compressed)?;
    all.truncate(start + written);
    Ok(())
}
