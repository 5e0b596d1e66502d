//! Compaction of some of a run's streams, and what may be missing in them for it.
//!
//! Keys are made up: pieces of a stream have the same one when their offsets leave the same rest, and the
//! last piece of each is what has to stay.

use super::made::{COMPACTED, KEYS};
use super::run::{Run, Verdict, ensure};
use super::truth::Piece;
use journal::{Compaction, Compactor, Kept, Liveness, ReclaimError, Slice};
use model::{Offset, PieceHead, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Everything is alive: overwritten is another thing than dead.
struct Everything;

impl Liveness for Everything {
    fn live(&self, _: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        std::iter::once(from.0..to.0).collect()
    }

    fn expiry_class(&self, stream: StreamId) -> u8 {
        if COMPACTED.contains(&stream.0) { 5 } else { 1 }
    }
}

/// What is overwritten, by stream and the offset of its piece.
#[derive(Debug, Default)]
struct Overwritten {
    limits: BTreeMap<u64, u64>,
    gone: BTreeSet<(u64, u64)>,
}

impl Compactor for Overwritten {
    fn limit(&self, stream: StreamId) -> Option<Offset> {
        self.limits.get(&stream.0).map(|limit| Offset(*limit))
    }

    fn keep(&self, stream: StreamId, piece: &[u8]) -> Kept {
        let base = PieceHead::parse(piece).map(|head| head.base.0);
        let gone = base.is_ok_and(|base| self.gone.contains(&(stream.0, base)));
        if gone && !is_empty(piece) { Kept::Nothing } else { Kept::Whole }
    }
}

/// Whether the piece stands for others and holds nothing.
fn is_empty(piece: &[u8]) -> bool {
    piece.len() == 61 && piece[16] == 2 && piece[57..61] == [0; 4]
}

impl Run {
    pub(super) fn is_compacted(&self, stream: u64) -> bool {
        self.shape.compaction && COMPACTED.contains(&stream)
    }

    /// A pass over the compacted streams.
    pub(super) fn compact(&mut self) -> Verdict {
        let before = self.disk.tally().errors();
        let mut overwritten = Overwritten::default();
        for stream in COMPACTED {
            let end = match self.journal.compactable_end(StreamId(stream)) {
                Ok(end) => end.0,
                Err(error) => return self.excuse(before, "compactable_end", &error),
            };
            let pieces = self.truth.pieces(stream, self.applied);
            let pieces: Vec<u64> = pieces.iter().filter(|piece| piece.end() <= end).map(|piece| piece.base).collect();
            let last: BTreeMap<u64, u64> = pieces.iter().map(|base| (base % KEYS, *base)).collect();
            overwritten.limits.insert(stream, end);
            let gone = pieces.into_iter().filter(|base| last[&(base % KEYS)] != *base);
            overwritten.gone.extend(gone.map(|base| (stream, base)));
        }
        let plan = match self.journal.plan_compaction(&Everything, &overwritten) {
            Ok(plan) => plan,
            Err(error) => return self.excuse(before, "plan_compaction", &error),
        };
        // It counts, or not, when this is cut short.
        self.may_be_gone.extend(overwritten.gone.iter().copied());
        let flushed = self.journal.flushed();
        match self.journal.compact(plan, &overwritten) {
            Ok(Compaction { freed, whole }) => {
                self.trace.line(format_args!("compacted {:?}: {freed} bytes freed, {whole}", overwritten.limits));
                self.facts.compactions += u64::from(freed > 0);
            }
            Err(ReclaimError::NotFlushed { at, .. }) if flushed < at => {}
            Err(error) => self.excuse(before, "compact", &error)?,
        }
        if self.disk.has_crashed() {
            return Ok(());
        }
        COMPACTED.into_iter().try_for_each(|stream| self.read_whole_stream(stream, false))
    }

    /// Whether `found` are `expected`, but for what compaction may have removed; as many as fit.
    pub(super) fn compare_compacted(&self, stream: u64, from: u64, expected: &[Piece], found: &[Slice]) -> Verdict {
        ensure!(expected.is_empty() || !found.is_empty(), "a reader stalls, there are {} pieces", expected.len());
        let mut there = BTreeSet::new();
        let mut next = from;
        for slice in found {
            ensure!(slice.end().0 > next, "a reader stalls at {next}: {} follows", slice.base);
            next = slice.end().0;
            for walked in model::piece::walk(&slice.bytes) {
                let (head, range) = walked.map_err(|error| error.to_string())?;
                let bytes = &slice.bytes[range];
                if is_empty(bytes) {
                    continue;
                }
                // Of bytes that streams share, the slice says where they are.
                let alone = bytes.len() == slice.bytes.len();
                let base = if alone { slice.base.0 } else { head.base.0 };
                let Some(piece) = expected.iter().find(|piece| piece.base == base) else {
                    return Err(format!("{base} should not be there"));
                };
                ensure!(super::reads::is_piece(piece, bytes), "the piece at {base} is not what was written");
                ensure!(there.insert(base), "the piece at {base} is there twice");
            }
        }
        let missing = expected
            .iter()
            .take_while(|piece| piece.base < next)
            .find(|piece| !there.contains(&piece.base) && !self.may_be_gone.contains(&(stream, piece.base)));
        ensure!(missing.is_none(), "the piece at {:?} is missing", missing.map(|piece| piece.base));
        Ok(())
    }
}
