//! Compression of the records of a batch. The server decompresses to look inside; what it stores and
//! sends is what it got, unless the topic wants another compression.

use super::record::RecordError;
use bytes::Bytes;
use std::io::{self, BufRead, BufReader, Read, Write};

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

impl Compression {
    /// Its code in the attributes of a batch.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
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
    if compression == Compression::None {
        return Ok(bytes);
    }
    Ok(Bytes::from(read_all(open(compression, &bytes, limit)?, limit)?))
}

/// Decompresses as one reads. A block that can only be decompressed as a whole is, into at most `limit`
/// bytes; otherwise the reader counts.
pub(crate) fn open(compression: Compression, bytes: &[u8], limit: usize) -> Result<Box<dyn BufRead + '_>, RecordError> {
    fn buffered<'a>(decoder: impl Read + 'a) -> Box<dyn BufRead + 'a> {
        Box::new(BufReader::with_capacity(STEP, decoder))
    }
    Ok(match compression {
        Compression::None => Box::new(bytes),
        Compression::Gzip => buffered(flate2::read::MultiGzDecoder::new(bytes)),
        Compression::Snappy => Box::new(Snappy::open(bytes, limit)?),
        Compression::Lz4 => buffered(lz4_flex::frame::FrameDecoder::new(bytes)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(|_| RecordError::Compressed)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(|_| RecordError::Compressed)?;
            buffered(decoder)
        }
    })
}

/// What a decoder of [`open`] said.
pub(crate) fn error_of(error: &io::Error) -> RecordError {
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<RecordError>());
    ours.cloned().unwrap_or(RecordError::Compressed)
}

/// As `read_to_end`, but with no more room than `limit`.
fn read_all(mut decoder: impl BufRead, limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut all = Vec::new();
    loop {
        let step = decoder.fill_buf().map_err(|error| error_of(&error))?;
        let read = step.len();
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
        all.extend_from_slice(step);
        decoder.consume(read);
    }
}

/// Raw snappy, or one chunk of the Java library's framing after the other.
struct Snappy<'a> {
    /// Chunks that were not decompressed yet.
    rest: &'a [u8],
    block: Vec<u8>,
    /// Bytes of the block that were read.
    at: usize,
    limit: usize,
}

impl<'a> Snappy<'a> {
    fn open(bytes: &'a [u8], limit: usize) -> Result<Self, RecordError> {
        if bytes.starts_with(XERIAL) {
            let rest = bytes.get(XERIAL_HEAD..).ok_or(RecordError::Compressed)?;
            return Ok(Snappy { rest, block: Vec::new(), at: 0, limit });
        }
        let mut snappy = Snappy { rest: &[], block: Vec::new(), at: 0, limit };
        snappy.decompress(bytes)?;
        Ok(snappy)
    }

    /// Decompresses a block, which begins with the number of bytes in it.
    fn decompress(&mut self, block: &[u8]) -> Result<(), RecordError> {
        let length = snap::raw::decompress_len(block).map_err(|_| RecordError::Compressed)?;
        if length > self.limit {
            return Err(RecordError::TooLarge { limit: self.limit });
        }
        self.block.resize(length, 0);
        let written = snap::raw::Decoder::new().decompress(block, &mut self.block);
        self.block.truncate(written.map_err(|_| RecordError::Compressed)?);
        self.at = 0;
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<(), RecordError> {
        let (length, after) = self.rest.split_first_chunk::<4>().ok_or(RecordError::Compressed)?;
        let (chunk, after) =
            after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(RecordError::Compressed)?;
        self.rest = after;
        self.decompress(chunk)
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Snappy<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() && !self.rest.is_empty() {
            self.next_chunk().map_err(io::Error::other)?;
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// Compresses, as Kafka's own broker would with its default levels.
pub(crate) fn compress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Snappy => xerial(bytes),
        Compression::Lz4 => {
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

/// The Java library's chunks, which every client reads.
fn xerial(bytes: &[u8]) -> io::Result<Vec<u8>> {
    /// Of one chunk before it is compressed.
    const CHUNK: usize = 32 * 1024;
    let mut all = [XERIAL, &1u32.to_be_bytes(), &1u32.to_be_bytes()].concat();
    let mut encoder = snap::raw::Encoder::new();
    for chunk in bytes.chunks(CHUNK) {
        let compressed = encoder.compress_vec(chunk)?;
        all.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        all.extend_from_slice(&compressed);
    }
    Ok(all)
}
