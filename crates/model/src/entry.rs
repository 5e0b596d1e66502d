//! What one Raft entry carries: descriptions of its pieces, commands, and the pieces' bytes.
//!
//! Drawn in docs/formats/entry.md. Little-endian:
//!
//! ```text
//!  0  u8   version = 1
//!  1  u8   flags: bit 0 = some producer in it waits for stable storage
//!  2  u16  zero
//!  4  u32  pieces
//!  8  u64  time: the leader's hybrid logical clock
//! 16  u32  bytes of commands
//! 20  u32  commands
//! 24  piece descriptions, 40 bytes each
//!     commands
//!     ---- everything above is the entry's meta, everything below its body ----
//!     pieces' bytes
//! ```
//!
//! The journal indexes pieces by their descriptions and never looks at commands; the machine reads
//! commands that refer to pieces by number. Two descriptions may share bytes (fan-out).

use crate::id::{LeaderEpoch, Offset, StreamId};
use crate::limit;
use crate::piece::{self, PieceHead};
use crate::time::{Hlc, Timestamp};
use crate::wire::{Input, Wire, WireError};
use bytes::Bytes;

const VERSION: u8 = 1;
const FLAG_FSYNC: u8 = 1;
/// Bytes in front of the first description.
pub const HEAD_BYTES: usize = 24;
/// Bytes of one description.
pub const DESC_BYTES: usize = 40;

/// Where a piece of the entry belongs and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceDesc {
    /// The stream it is for.
    pub stream: StreamId,
    /// Offset of its first record in that stream.
    pub base: Offset,
    /// Greatest timestamp of its records.
    pub max_timestamp: Timestamp,
    /// Leader epoch it was sequenced under.
    pub epoch: LeaderEpoch,
    /// Offsets it takes.
    pub count: u32,
    /// Where its bytes start in the entry.
    pub position: u32,
    /// How many bytes.
    pub length: u32,
}

impl PieceDesc {
    /// One past the offset of the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }
}

impl Wire for PieceDesc {
    fn put(&self, out: &mut Vec<u8>) {
        self.stream.put(out);
        self.base.put(out);
        self.max_timestamp.put(out);
        self.epoch.put(out);
        self.count.put(out);
        self.position.put(out);
        self.length.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        Ok(PieceDesc {
            stream: Wire::take(input)?,
            base: Wire::take(input)?,
            max_timestamp: Wire::take(input)?,
            epoch: Wire::take(input)?,
            count: Wire::take(input)?,
            position: Wire::take(input)?,
            length: Wire::take(input)?,
        })
    }
}

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Written by a newer version.
    #[error("entry version {0} is not known here")]
    Version(u8),
    /// Not an entry.
    #[error("malformed entry: {0}")]
    Malformed(#[from] WireError),
}

/// A checked entry.
#[derive(Clone, Debug)]
pub struct Entry {
    bytes: Bytes,
    pieces: u32,
    commands: u32,
    commands_at: usize,
    meta_bytes: usize,
    time: Hlc,
    fsync: bool,
}

impl Entry {
    /// Checks `bytes` and wraps them.
    ///
    /// # Errors
    /// When they are not an entry.
    pub fn parse(bytes: Bytes) -> Result<Self, EntryError> {
        let mut input = Input::new(&bytes);
        let [version, flags, ..] = input.array::<4>()?;
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        let pieces = u32::take(&mut input)?;
        let time = Hlc::take(&mut input)?;
        let command_bytes = u32::take(&mut input)? as usize;
        let commands = u32::take(&mut input)?;
        let too_many = pieces as usize > limit::ENTRY_PIECES_MAX || commands as usize > limit::ENTRY_COMMANDS_MAX;
        if too_many || bytes.len() > limit::ENTRY_BYTES_MAX {
            return Err(WireError::Invalid("entry over its limits").into());
        }
        let commands_at = HEAD_BYTES + pieces as usize * DESC_BYTES;
        let meta_bytes = commands_at + command_bytes;
        if meta_bytes > bytes.len() {
            return Err(WireError::Truncated { wanted: meta_bytes, left: bytes.len() }.into());
        }
        let entry = Entry {
            pieces,
            commands,
            commands_at,
            meta_bytes,
            time,
            fsync: flags & FLAG_FSYNC != 0,
            bytes: bytes.clone(),
        };
        for piece in entry.pieces() {
            let (from, len) = (piece.position as usize, piece.length as usize);
            if from < meta_bytes || from + len > bytes.len() || piece.count == 0 {
                return Err(WireError::Invalid("piece outside its entry").into());
            }
        }
        Ok(entry)
    }

    /// The whole entry.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many of the first bytes are meta.
    #[must_use]
    pub fn meta_bytes(&self) -> usize {
        self.meta_bytes
    }

    /// The leader's clock when it closed the entry.
    #[must_use]
    pub fn time(&self) -> Hlc {
        self.time
    }

    /// Whether some producer in it waits for stable storage.
    #[must_use]
    pub fn wants_fsync(&self) -> bool {
        self.fsync
    }

    /// How many pieces.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.pieces
    }

    /// How many commands.
    #[must_use]
    pub fn command_count(&self) -> u32 {
        self.commands
    }

    /// The description of piece `nth`.
    #[must_use]
    pub fn piece(&self, nth: u32) -> Option<PieceDesc> {
        if nth >= self.pieces {
            return None;
        }
        let at = HEAD_BYTES + nth as usize * DESC_BYTES;
        PieceDesc::from_wire(&self.bytes[at..at + DESC_BYTES]).ok()
    }

    /// The descriptions, in order.
    pub fn pieces(&self) -> impl Iterator<Item = PieceDesc> + '_ {
        (0..self.pieces).filter_map(|nth| self.piece(nth))
    }

    /// The bytes of the commands, back to back.
    #[must_use]
    pub fn commands(&self) -> &[u8] {
        &self.bytes[self.commands_at..self.meta_bytes]
    }

    /// The bytes of a piece of this entry.
    #[must_use]
    pub fn body(&self, piece: &PieceDesc) -> &[u8] {
        let from = piece.position as usize;
        &self.bytes[from..from + piece.length as usize]
    }
}

/// The descriptions in an entry's meta bytes, for whoever has only those.
///
/// # Errors
/// When they are not the meta of an entry.
pub fn descriptions(meta: &[u8]) -> Result<Vec<PieceDesc>, EntryError> {
    let mut input = Input::new(meta);
    let [version, ..] = input.array::<4>()?;
    if version != VERSION {
        return Err(EntryError::Version(version));
    }
    let pieces = u32::take(&mut input)? as usize;
    input.bytes(HEAD_BYTES - 8)?;
    if pieces * DESC_BYTES > input.left() {
        return Err(WireError::Count { count: pieces as u64, left: input.left() }.into());
    }
    Ok((0..pieces).map(|_| PieceDesc::take(&mut input)).collect::<Result<_, _>>()?)
}

/// Gathers pieces and commands into one entry. Pieces are copied once, when it is closed.
#[derive(Debug, Default)]
pub struct EntryBuilder {
    descs: Vec<PieceDesc>,
    commands: Vec<u8>,
    command_count: u32,
    bodies: Vec<Body>,
    body_bytes: usize,
    fsync: bool,
}

/// The bytes of a piece, and what is to be written into their copy.
#[derive(Debug)]
struct Body {
    bytes: Bytes,
    assigned: Option<(Offset, LeaderEpoch)>,
    append_time: Option<Timestamp>,
}

impl Body {
    /// Appends the piece as it is stored.
    fn put(&self, out: &mut Vec<u8>) {
        let position = out.len();
        out.extend_from_slice(&self.bytes);
        let body = &mut out[position..];
        if let Some((base, epoch)) = self.assigned {
            piece::assign(body, base, epoch);
        }
        if let Some(time) = self.append_time {
            piece::stamp_append_time(body, time);
        }
    }
}

impl EntryBuilder {
    /// An empty entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes the entry has so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEAD_BYTES + self.descs.len() * DESC_BYTES + self.commands.len() + self.body_bytes
    }

    /// Pieces so far; the number the next one gets.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.descs.len() as u32
    }

    /// Commands so far.
    #[must_use]
    pub fn command_count(&self) -> u32 {
        self.command_count
    }

    /// Says that some producer waits for stable storage.
    pub fn want_fsync(&mut self) {
        self.fsync = true;
    }

    /// Adds the one piece that `bytes` are, with its assigned position written into it, and returns its
    /// number. `append_time` also replaces its timestamps.
    ///
    /// # Panics
    /// When `bytes` are not the piece that `head` describes: sequencing parses first.
    pub fn add_piece(
        &mut self,
        stream: StreamId,
        base: Offset,
        epoch: LeaderEpoch,
        head: &PieceHead,
        bytes: Bytes,
        append_time: Option<Timestamp>,
    ) -> u32 {
        assert_eq!(head.bytes, bytes.len(), "one piece at a time");
        let append_time = append_time.filter(|_| head.form == piece::Form::Batch);
        let desc = PieceDesc {
            stream,
            base,
            max_timestamp: append_time.unwrap_or(head.max_timestamp),
            epoch,
            count: head.count,
            position: 0,
            length: 0,
        };
        self.add_body(desc, Body { bytes, assigned: Some((base, epoch)), append_time })
    }

    /// Adds piece `nth` once more, for another stream: the bytes are shared, so the offset written
    /// in them is the first stream's and readers of the others go by their description.
    ///
    /// # Panics
    /// When there is no piece `nth`.
    pub fn share_piece(&mut self, nth: u32, stream: StreamId, base: Offset, epoch: LeaderEpoch) -> u32 {
        let shared = PieceDesc { stream, base, epoch, ..self.descs[nth as usize] };
        self.push(shared)
    }

    /// Adds a piece that was sequenced before, as it is. What `desc` says of its place in an entry
    /// is replaced.
    pub fn keep_piece(&mut self, desc: PieceDesc, bytes: Bytes) -> u32 {
        self.add_body(desc, Body { bytes, assigned: None, append_time: None })
    }

    /// Describes piece `nth` once more, as kept for another stream.
    ///
    /// # Panics
    /// When there is no piece `nth`.
    pub fn keep_shared(&mut self, nth: u32, desc: PieceDesc) -> u32 {
        let PieceDesc { position, length, .. } = self.descs[nth as usize];
        self.push(PieceDesc { position, length, ..desc })
    }

    /// Adds a piece whose bytes come behind those so far.
    fn add_body(&mut self, desc: PieceDesc, body: Body) -> u32 {
        let (position, length) = (self.body_bytes as u32, body.bytes.len() as u32);
        self.body_bytes += body.bytes.len();
        self.bodies.push(body);
        self.push(PieceDesc { position, length, ..desc })
    }

    fn push(&mut self, desc: PieceDesc) -> u32 {
        self.descs.push(desc);
        self.descs.len() as u32 - 1
    }

    /// Adds a command.
    pub fn add_command(&mut self, command: &impl Wire) {
        command.put(&mut self.commands);
        self.command_count += 1;
    }

    /// Closes the entry at `time`. The builder is empty again afterwards.
    #[must_use]
    pub fn finish(&mut self, time: Hlc) -> Bytes {
        let meta = HEAD_BYTES + self.descs.len() * DESC_BYTES + self.commands.len();
        let mut out = Vec::with_capacity(meta + self.body_bytes);
        out.extend_from_slice(&[VERSION, if self.fsync { FLAG_FSYNC } else { 0 }, 0, 0]);
        (self.descs.len() as u32).put(&mut out);
        time.put(&mut out);
        (self.commands.len() as u32).put(&mut out);
        self.command_count.put(&mut out);
        for desc in &mut self.descs {
            desc.position += meta as u32;
            desc.put(&mut out);
        }
        out.extend_from_slice(&self.commands);
        for body in self.bodies.drain(..) {
            body.put(&mut out);
        }
        self.descs.clear();
        self.commands.clear();
        self.body_bytes = 0;
        self.command_count = 0;
        self.fsync = false;
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Message;
    use proptest::prelude::*;

    fn message(value: &[u8]) -> Vec<u8> {
        Message { value, timestamp: Timestamp(5), ..Message::default() }.encode().unwrap()
    }

    #[test]
    fn an_entry_gives_back_what_was_put_in() {
        let mut builder = EntryBuilder::new();
        let bytes = message(b"hello");
        let head = PieceHead::parse(&bytes).unwrap();
        let first = builder.add_piece(StreamId(7), Offset(40), LeaderEpoch(2), &head, bytes.into(), None);
        let second = builder.share_piece(first, StreamId(8), Offset(3), LeaderEpoch(1));
        builder.add_command(&17u32);
        builder.want_fsync();
        let entry = Entry::parse(builder.finish(Hlc(99))).unwrap();
        assert_eq!(entry.time(), Hlc(99));
        assert!(entry.wants_fsync());
        assert_eq!(entry.commands(), 17u32.to_le_bytes());
        let (a, b) = (entry.piece(first).unwrap(), entry.piece(second).unwrap());
        assert_eq!((a.stream, a.base, b.stream, b.base), (StreamId(7), Offset(40), StreamId(8), Offset(3)));
        assert_eq!(entry.body(&a), entry.body(&b));
        assert_eq!(PieceHead::parse(entry.body(&a)).unwrap().base, Offset(40));
        assert_eq!(Message::decode(entry.body(&b)).unwrap().value, b"hello");
        assert_eq!(descriptions(&entry.bytes()[..entry.meta_bytes()]).unwrap(), [a, b]);
        assert_eq!(builder.piece_count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), valid: bool) {
            let mut bytes = bytes;
            if valid && !bytes.is_empty() { bytes[0] = VERSION; }
            let _ = descriptions(&bytes);
            let _ = Entry::parse(Bytes::from(bytes));
        }

        #[test]
        fn a_mutated_entry_never_panics(at in 0usize..200, byte: u8) {
            let mut builder = EntryBuilder::new();
            let piece = message(b"body");
            let head = PieceHead::parse(&piece).unwrap();
            builder.add_piece(StreamId(1), Offset(0), LeaderEpoch(0), &head, piece.into(), None);
            builder.add_command(&1u64);
            let mut bytes = builder.finish(Hlc(1)).to_vec();
            let len = bytes.len();
            bytes[at % len] = byte;
            if let Ok(entry) = Entry::parse(Bytes::from(bytes)) {
                for piece in entry.pieces() { let _ = entry.body(&piece); }
            }
        }
    }
}
