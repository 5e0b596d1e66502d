//! What is overwritten goes, and the files still say what became of every offset.

use crate::fixture::{Fixture, value};
use crate::formats::golden::golden;
use journal::compacted::Compacted;
use journal::{Compaction, Compactor, Damage, Kept, Liveness, LogPosition};
use model::record::Message;
use model::{Form, Offset, PieceHead, StreamId};
use std::collections::BTreeSet;
use std::ops::Range;

const STREAMS: u64 = 3;
const END: u64 = 400;

/// Everything is alive: overwritten is another thing than dead.
struct Everything;

impl Liveness for Everything {
    fn live(&self, _: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        std::iter::once(from.0..to.0).collect()
    }
    fn expiry_class(&self, stream: StreamId) -> u8 {
        if stream.0 == 0 { 1 } else { 5 }
    }
}

/// Stream 0 is not compacted. Of the others these offsets are overwritten, below the limit.
struct Overwritten {
    limit: u64,
    offsets: BTreeSet<u64>,
}

impl Compactor for Overwritten {
    fn limit(&self, stream: StreamId) -> Option<Offset> {
        (stream.0 != 0).then_some(Offset(self.limit))
    }

    fn keep(&self, _: StreamId, piece: &[u8]) -> Kept {
        let head = PieceHead::parse(piece).unwrap();
        assert!(head.base.0 < self.limit, "nothing else is asked about");
        let overwritten = head.form == Form::Message && self.offsets.contains(&head.base.0);
        if overwritten { Kept::Nothing } else { Kept::Whole }
    }
}

fn filled() -> Fixture {
    let mut f = Fixture::with(0, 16 << 10);
    for offset in 0..END {
        let pieces: Vec<_> = (0..STREAMS).map(|stream| (stream, offset, 100)).collect();
        f.store(&pieces);
    }
    // Whatever is unfinished is not compacted.
    f.journal.roll();
    f.store(&[(0, END, 100)]);
    while f.journal.finish_next().unwrap() {}
    f.journal.flush(Box::new(|| ()));
    f.settle();
    let at = LogPosition { term: 1, index: f.journal.applied() };
    f.journal.write_checkpoint(at, &vec![(b"k".to_vec(), Some(vec![0]))]).unwrap();
    f.journal.purge(at);
    f
}

fn compact(f: &Fixture, overwritten: &Overwritten) -> u64 {
    let plan = f.journal.plan_compaction(&Everything, overwritten).unwrap();
    let Compaction { freed, whole } = f.journal.compact(plan, overwritten).unwrap();
    assert!(whole);
    freed
}

/// The offsets of records from `from` on, read in steps of `bytes`.
fn read(f: &Fixture, stream: u64, from: u64, bytes: usize) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut next = Offset(from);
    while next < Offset(END) {
        let slices = f.journal.read(StreamId(stream), next, Offset(END), bytes).unwrap();
        assert!(!slices.is_empty(), "stream {stream}: nothing at {next}");
        for slice in &slices {
            assert!(slice.end() > next, "stream {stream}: {} to {} is not above {next}", slice.base, slice.end());
            next = slice.end();
            for piece in model::piece::walk(&slice.bytes) {
                let (head, range) = piece.unwrap();
                if let Ok(message) = Message::decode(&slice.bytes[range]) {
                    assert_eq!(message.value, value(stream, head.base.0, message.value.len()));
                    assert!(found.insert(head.base.0), "twice");
                }
            }
        }
    }
    found
}

fn check(f: &Fixture, gone: &BTreeSet<u64>) {
    for stream in 0..STREAMS {
        let is_left = |offset: &u64| stream == 0 || !gone.contains(offset);
        for from in (0..END).step_by(7).chain(gone.iter().copied()) {
            // What is below in the same piece may come with it; a piece is one record here.
            let expected: BTreeSet<u64> = (from..END).filter(is_left).collect();
            assert_eq!(read(f, stream, from, 700), expected, "stream {stream} from {from}");
        }
        let all = std::iter::once(0..END).collect::<Vec<_>>();
        assert_eq!(f.journal.absent(StreamId(stream), &all).unwrap(), [], "every offset is explained");
    }
}

#[test]
fn what_is_overwritten_goes_and_reads_find_the_rest() {
    let f = filled();
    // At the beginning, at the end, alone, in rows, and not above the limit.
    let offsets: BTreeSet<u64> =
        (0..5).chain([17]).chain(40..90).chain((100..300).step_by(2)).chain(350..360).collect();
    let freed = compact(&f, &Overwritten { limit: 360, offsets: offsets.clone() });
    assert!(freed > 0);
    check(&f, &offsets);
    assert!(f.journal.plan_compaction(&Everything, &Overwritten { limit: 360, offsets }).unwrap().is_empty());
}

#[test]
fn passes_follow_each_other_and_restarts() {
    let f = filled();
    let mut gone: BTreeSet<u64> = (10..20).chain((30..200).step_by(3)).collect();
    compact(&f, &Overwritten { limit: 200, offsets: gone.clone() });
    let f = f.restart();
    check(&f, &gone);
    // Neighbours of gaps, what stands for them, and all of the beginning.
    gone.extend((0..60).chain((60..300).step_by(2)));
    compact(&f, &Overwritten { limit: 300, offsets: gone.clone() });
    check(&f, &gone);
    let f = f.restart();
    check(&f, &gone);
    gone.extend(0..399);
    compact(&f, &Overwritten { limit: END, offsets: gone.clone() });
    check(&f, &gone);
}

#[test]
fn a_table_is_rebuilt_with_its_gaps() {
    let f = filled();
    let gone: BTreeSet<u64> = (0..5).chain(50..90).chain((100..300).step_by(2)).collect();
    compact(&f, &Overwritten { limit: 300, offsets: gone.clone() });
    let packed: Vec<_> = std::fs::read_dir(f.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut damaged = 0;
    for path in packed.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pack")) {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.len() - 60;
        bytes[at] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0, "{packed:?}");
    let f = f.restart();
    assert!(f.journal.damage().iter().all(|damage| !matches!(damage, Damage::Records { .. })));
    check(&f, &gone);
}

#[test]
fn what_is_being_written_or_needed_by_the_log_waits() {
    let mut f = Fixture::with(0, 16 << 10);
    for offset in 0..100 {
        f.store(&[(1, offset, 100)]);
    }
    while f.journal.finish_next().unwrap() {}
    assert_eq!(f.journal.compactable_end(StreamId(1)).unwrap(), Offset(0), "the log needs all of it");
    let at = LogPosition { term: 1, index: f.journal.applied() };
    f.journal.write_checkpoint(at, &vec![(b"k".to_vec(), Some(vec![0]))]).unwrap();
    f.journal.purge(at);
    let end = f.journal.compactable_end(StreamId(1)).unwrap().0;
    assert!(end > 0 && end < 100, "the last file is being written: {end}");
    assert_eq!(f.journal.compactable_end(StreamId(9)).unwrap(), Offset(u64::MAX), "there is nothing of it");
}

/// What removes a key must not go before what it removed, which lies in an older file.
#[test]
fn nothing_is_done_behind_a_file_that_has_to_stay() {
    let f = filled();
    let everything = Overwritten { limit: END, offsets: (0..END).collect() };
    let files: Vec<_> = f.journal.finished().iter().map(|file| file.id).collect();
    assert!(files.len() > 2);
    // Pinned before anything is planned, and after it.
    for planned_first in [false, true] {
        let early = planned_first.then(|| f.journal.plan_compaction(&Everything, &everything).unwrap());
        f.journal.pin([files[0]]);
        let plan = early.unwrap_or_else(|| f.journal.plan_compaction(&Everything, &everything).unwrap());
        let done = f.journal.compact(plan, &everything).unwrap();
        assert_eq!(done, Compaction { freed: 0, whole: false });
        check(&f, &BTreeSet::new());
        f.journal.unpin([files[0]]);
    }
    compact(&f, &everything);
    check(&f, &everything.offsets);
}

#[test]
fn how_far_it_came_is_remembered_and_never_believed_when_damaged() {
    let f = Fixture::new();
    assert_eq!(f.journal.compacted(), []);
    let kept = |to| vec![Compacted { stream: StreamId(1), to: Offset(to), appended: 9, bytes: 5 }];
    f.journal.keep_compacted(&kept(3), 0).unwrap();
    f.journal.keep_compacted(&kept(7), 0).unwrap();
    f.journal.keep_compacted(&kept(9), 1).unwrap();
    let f = f.restart();
    assert_eq!(f.journal.compacted(), kept(7), "what was learnt about other files is not kept");
    let path = f.path().join(journal::compacted::NAME);
    let mut bytes = golden(env!("CARGO_MANIFEST_DIR"), "compacted", &std::fs::read(&path).unwrap());
    bytes[12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(f.journal.compacted(), []);
}
