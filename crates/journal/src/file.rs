//! Names, ids and headers of log files and packed files. Drawn in docs/formats/journal.md.

use model::ShardId;
use model::checksum::crc32c;
use model::wire::{Input, Wire, WireError};
use std::fmt;

/// A file's identity, unique over all nodes: the journal that made it and its number there.
///
/// A replica that takes a file over in a snapshot keeps its id, so the bytes, whose checksums
/// include the id, stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The journal that made it: drawn at random when the journal was.
    pub journal: u64,
    /// Which of that journal's files it is, ascending.
    pub sequence: u64,
}

impl FileId {
    /// The id as one number, for checksums.
    #[must_use]
    pub fn number(self) -> u128 {
        (u128::from(self.journal) << 64) | u128::from(self.sequence)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.journal, self.sequence)
    }
}

impl Wire for FileId {
    fn put(&self, out: &mut Vec<u8>) {
        self.journal.put(out);
        self.sequence.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(FileId { journal: Wire::take(input)?, sequence: Wire::take(input)? })
    }
}

/// Which of the two kinds a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Frames in Raft order.
    Log,
    /// Pieces sorted by stream.
    Packed,
}

impl FileKind {
    fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::Packed => "pack",
        }
    }
}

impl Wire for FileKind {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            FileKind::Log => 1,
            FileKind::Packed => 2,
        });
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        match u8::take(input)? {
            1 => Ok(FileKind::Log),
            2 => Ok(FileKind::Packed),
            tag => Err(WireError::Tag { what: "file kind", tag: tag.into() }),
        }
    }
}

/// The name of a file in the journal's folder.
#[must_use]
pub fn name(id: FileId, kind: FileKind) -> String {
    format!("{id}.{}", kind.suffix())
}

/// The id and kind that a name spells, if it does.
#[must_use]
pub fn parse_name(name: &str) -> Option<(FileId, FileKind)> {
    let (stem, suffix) = name.split_once('.')?;
    let kind = [FileKind::Log, FileKind::Packed].into_iter().find(|kind| kind.suffix() == suffix)?;
    let (journal, sequence) = stem.split_once('-')?;
    // Just as it is written: of two spellings of one name only one would be found again.
    let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = |text: &str| (text.len() == 16 && digits(text)).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    Some((FileId { journal: number(journal)?, sequence: number(sequence)? }, kind))
}

/// Bytes of a file's header; the first frame follows.
pub const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"MAINSTEM";
const VERSION: u8 = 1;

/// The first 64 bytes of every file:
///
/// ```text
///  0  [u8; 8] "MAINSTEM"
///  8  u8   format version = 1
///  9  u8   kind: 1 log, 2 packed
/// 10  u8   flags: bit 0 = a copy of frames of an earlier file, which counts only when it is listed
/// 11  [u8; 5] zero
/// 16  16 bytes  file id: journal u64, sequence u64
/// 32  u32  shard
/// 36  u32  zero
/// 40  u64  log: sequence of the log file before this one, or 0
/// 48  u64  log: bytes of that file that hold frames, all on stable storage
/// 56  u32  zero
/// 60  u32  CRC32C of bytes 0..60
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The file.
    pub id: FileId,
    /// Its kind.
    pub kind: FileKind,
    /// Whose it is.
    pub shard: ShardId,
    /// The log file before this one and how many of its bytes are frames. Every frame below that
    /// position is on stable storage, and nothing above it counts.
    pub previous: Option<(u64, u64)>,
    /// Whether its frames are copies of an earlier file's.
    pub copy: bool,
}

impl FileHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        self.kind.put(&mut out);
        out.extend_from_slice(&[u8::from(self.copy), 0, 0, 0, 0, 0]);
        self.id.put(&mut out);
        self.shard.put(&mut out);
        0u32.put(&mut out);
        let (sequence, end) = self.previous.unwrap_or_default();
        sequence.put(&mut out);
        end.put(&mut out);
        0u32.put(&mut out);
        crc32c(&out).put(&mut out);
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads a header. `None` when the bytes are none or are damaged.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let stored = u32::from_le_bytes([bytes[60], bytes[61], bytes[62], bytes[63]]);
        if bytes[0..8] != MAGIC || bytes[8] != VERSION || crc32c(&bytes[..60]) != stored {
            return None;
        }
        let mut input = Input::new(&bytes[9..]);
        let kind = FileKind::take(&mut input).ok()?;
        let [flags, ..] = input.array::<6>().ok()?;
        let id = FileId::take(&mut input).ok()?;
        let shard = ShardId::take(&mut input).ok()?;
        u32::take(&mut input).ok()?;
        let previous: (u64, u64) = Wire::take(&mut input).ok()?;
        Some(FileHeader { id, kind, shard, previous: (previous.1 != 0).then_some(previous), copy: flags & 1 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_round_trip() {
        let id = FileId { journal: 0xabc, sequence: 17 };
        let log = name(id, FileKind::Log);
        assert_eq!(log, "0000000000000abc-0000000000000011.log");
        assert_eq!(parse_name(&log), Some((id, FileKind::Log)));
        assert_eq!(parse_name("manifest"), None);
        assert_eq!(parse_name("1-2.log"), None);
        let header =
            FileHeader { id, kind: FileKind::Packed, shard: ShardId(2), previous: Some((3, 4096)), copy: true };
        let mut bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), Some(header));
        bytes[20] ^= 1;
        assert_eq!(FileHeader::decode(&bytes), None);
    }
}
