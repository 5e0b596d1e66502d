//! Bytes that rot on disk: seen, refused, and put right from another replica, wherever they are.

use crate::fixture::{Fixture, entry, value};
use journal::scrub::ScrubCursor;
use journal::{Damage, Liveness, LogPosition, LogReadError, ReadError};
use model::record::Message;
use model::{Offset, StreamId};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const STREAMS: Range<u64> = 1..4;
const RECORDS: u64 = 60;

/// A journal whose files are all finished, with nothing in memory.
fn filled() -> Fixture {
    let mut f = Fixture::with(0, 16 << 10);
    for offset in 0..RECORDS {
        f.store(&[(1, offset, 700), (2, offset, 40), (3, offset, 90)]);
    }
    f.journal.roll();
    f.settle();
    while f.journal.finish_next().unwrap() {}
    f
}

fn checkpoint(f: &Fixture, purge: bool) {
    let at = LogPosition { term: 1, index: f.journal.applied() };
    f.journal.write_checkpoint(at, &vec![(b"k".to_vec(), Some(vec![0]))]).unwrap();
    if purge {
        f.journal.purge(at);
    }
}

struct Everything;

impl Liveness for Everything {
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        // Enough is dead that files are worth packing.
        (from.0..to.0).filter(|offset| stream.0 != 1 || offset % 8 == 0).map(|offset| offset..offset + 1).collect()
    }
    fn expiry_class(&self, _: StreamId) -> u8 {
        0
    }
}

/// As after a purge and a rewriting of every file.
fn packed() -> Fixture {
    let f = filled();
    checkpoint(&f, true);
    f.journal.reclaim(f.journal.plan_reclaim(&Everything).unwrap()).unwrap();
    assert!(f.journal.finished().iter().all(|file| file.kind == journal::file::FileKind::Packed));
    f
}

fn live(stream: u64) -> Vec<Range<u64>> {
    Everything.live(StreamId(stream), Offset(0), Offset(RECORDS))
}

/// Reads every live record. Those that can be read are right; the others are errors.
fn read(f: &Fixture) -> Result<(), ReadError> {
    let mut outcome = Ok(());
    for stream in STREAMS {
        for offset in live(stream).into_iter().flatten() {
            let slices = match f.journal.read(StreamId(stream), Offset(offset), Offset(offset + 1), 1) {
                Ok(slices) => slices,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            let slice = slices.first().unwrap_or_else(|| panic!("stream {stream} @{offset} is skipped"));
            let pieces: Vec<_> = model::piece::walk(&slice.bytes).map(Result::unwrap).collect();
            let (_, range) = pieces.iter().find(|(head, _)| head.base.0 == offset).unwrap().clone();
            let message = Message::decode(&slice.bytes[range]).unwrap();
            assert_eq!(message.value, value(stream, offset, message.value.len()));
        }
    }
    outcome
}

/// Repairs from another replica, as long as that helps.
fn repair(f: &Fixture, from: &Fixture) {
    for _ in 0..4 {
        for damage in f.journal.damage() {
            match damage {
                Damage::Table { file } => f.journal.repair_table(file).unwrap(),
                Damage::Entry { index } => {
                    let asked = f.journal.damaged_entry(index).unwrap();
                    let copy = from.journal.entries(index, index + 1, 0).unwrap().remove(0);
                    assert_eq!(copy.at, LogPosition { term: asked, index });
                    assert!(f.journal.repair_entry(&copy).unwrap());
                }
                Damage::Records { stream, from: first, to } => {
                    let copies = from.journal.read(stream, first, to, 1 << 20).unwrap();
                    let live = Everything.live(stream, first, to);
                    assert!(f.journal.repair_records(damage, &live, &copies, false).unwrap(), "{damage}");
                }
            }
        }
    }
}

fn finished_paths(f: &Fixture) -> Vec<(PathBuf, u64)> {
    let finished = f.journal.finished();
    finished.iter().map(|file| (f.path().join(journal::file::name(file.id, file.kind)), file.length)).collect()
}

const FLIPPED: u8 = 0x10;

fn byte_at(path: &Path, position: u64) -> u8 {
    let mut byte = [0];
    std::fs::File::open(path).unwrap().read_exact_at(&mut byte, position).unwrap();
    byte[0]
}

fn flip(path: &Path, position: u64) {
    let byte = byte_at(path, position) ^ FLIPPED;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[byte], position).unwrap();
}

/// Flips one byte after another in finished files, all over them; each time reads are right or
/// refused, a pass of the scrubber finds what is refused, and a repair makes everything whole.
fn every_flip_is_found_and_mended(f: &Fixture, from: &Fixture) {
    let (mut refused, mut tables) = (0, 0);
    for (nth, (_, length)) in finished_paths(f).into_iter().enumerate() {
        for position in (0..length).step_by(409) {
            // A packed file whose table was damaged has been written anew.
            let (path, length) = finished_paths(f).remove(nth);
            if position >= length {
                break;
            }
            let byte = byte_at(&path, position);
            flip(&path, position);
            let before = read(f);
            assert!(before.is_ok() || !f.journal.damage().is_empty(), "{path:?} {position}");
            let mut cursor = ScrubCursor::default();
            while !f.journal.scrub(&mut cursor, 5_000) {}
            let found = f.journal.damage();
            refused += u64::from(before.is_err());
            tables += found.iter().filter(|damage| matches!(damage, Damage::Table { .. })).count();
            repair(f, from);
            assert_eq!(f.journal.damage(), [], "{path:?} {position}: {found:?}");
            read(f).unwrap_or_else(|error| panic!("{path:?} {position}: {error}, {found:?}"));
            if path.exists() && byte_at(&path, position) == byte ^ FLIPPED {
                // Nobody reads it, now that the table says where everything is.
                flip(&path, position);
            }
        }
    }
    assert!(refused > 20 && tables > 2, "the flips hit nothing: {refused} {tables}");
}

#[test]
fn above_the_floor_entries_are_mended() {
    let (f, from) = (filled(), filled());
    every_flip_is_found_and_mended(&f, &from);
    // The log is as it was, for whoever asks next.
    let of = |f: &Fixture| f.journal.entries(1, 61, usize::MAX).unwrap().into_iter().map(|e| (e.at, e.payload));
    assert!(of(&f).eq(of(&from)));
}

#[test]
fn below_the_floor_records_are_mended() {
    let (f, from) = (filled(), filled());
    checkpoint(&f, true);
    every_flip_is_found_and_mended(&f, &from);
}

#[test]
fn packed_files_are_mended_from_a_replica_with_other_files() {
    let (f, from) = (packed(), filled());
    every_flip_is_found_and_mended(&f, &from);
}

#[test]
fn tables_that_rot_while_nobody_looks_are_rebuilt_at_the_next_start() {
    for make in [filled, packed] {
        let mut f = make();
        checkpoint(&f, false);
        for nth in 0..12 {
            for (path, length) in finished_paths(&f) {
                let table = f.journal.finished().iter().map(|file| file.length - file.table.frames_end).min().unwrap();
                flip(&path, length - 1 - nth * (table - 1) / 11);
            }
            f = f.restart();
            let mut cursor = ScrubCursor::default();
            while !f.journal.scrub(&mut cursor, 1 << 20) {}
            repair(&f, &f);
            read(&f).unwrap();
            assert_eq!(f.journal.damage(), []);
        }
    }
}

#[test]
fn a_damaged_body_stops_readers_and_the_log_but_not_apply() {
    let mut f = Fixture::with(0, 1 << 20);
    for offset in 0..5 {
        f.store(&[(1, offset, 700)]);
    }
    let path = log_path(&f);
    let bytes = std::fs::read(&path).unwrap();
    let body = bytes.windows(4).position(|window| window == b"1/2/").unwrap();
    flip(&path, body as u64);
    assert!(matches!(f.journal.entries(3, 4, 0), Err(LogReadError::Damaged(3))));
    assert_eq!(f.journal.damage(), [Damage::Entry { index: 3 }]);
    let applied = f.journal.entries_to_apply(3, 4, 0).unwrap();
    assert_eq!(applied[0].payload[..applied[0].meta_bytes as usize].len(), applied[0].meta_bytes as usize);
    assert!(matches!(
        f.journal.read(StreamId(1), Offset(2), Offset(3), 0),
        Err(ReadError::Damaged { from: Offset(2), .. })
    ));
    // The writer's own file is mended once it writes to another.
    let copy = entry(1, 3, &[(1, 2, 700)]).0;
    assert!(!f.journal.repair_entry(&copy).unwrap());
    f.store(&[(1, 5, 10)]);
    assert!(!f.journal.repair_entry(&entry(1, 3, &[(1, 2, 701)]).0).unwrap(), "not the entry that it was");
    assert!(f.journal.repair_entry(&copy).unwrap());
    assert_eq!(f.journal.damage(), []);
    assert_eq!(f.journal.entries(1, 7, usize::MAX).unwrap().len(), 6);
}

#[test]
fn entries_lost_below_the_checkpoint_leave_a_hole_that_is_refused_and_then_filled() {
    let mut from = Fixture::with(0, 1 << 20);
    let mut f = Fixture::with(0, 1 << 20);
    for offset in 0..RECORDS {
        from.store(&[(1, offset, 700), (2, offset, 40), (3, offset, 90)]);
        f.journal.set_committed(f.journal.last().index);
        f.store(&[(1, offset, 700), (2, offset, 40), (3, offset, 90)]);
    }
    checkpoint(&f, false);
    f.store(&[(1, RECORDS, 10)]);
    let path = log_path(&f);
    let bytes = std::fs::read(&path).unwrap();
    // The head of entry 21, with offset 20.
    let at = bytes.windows(5).position(|window| window == b"1/20/").unwrap();
    let head = bytes[..at].windows(4).rposition(|window| window == b"MSF1").unwrap();
    flip(&path, head as u64 + 10);
    let mut f = f.restart();
    assert!(f.recovered.in_doubt, "{:?}", f.recovered);
    assert_eq!(f.journal.lost_entries().len(), 1, "{:?}", f.recovered);
    let (first, last) = f.journal.lost_entries()[0];
    assert!(first <= 21 && last == 21, "{first} {last}");
    // What followed is still there, and the log goes on above the checkpoint.
    assert_eq!(f.journal.last().index, RECORDS + 1);
    assert_eq!(f.journal.floor().index, RECORDS);
    for stream in STREAMS {
        let whole = 0..RECORDS;
        let absent = f.journal.absent(StreamId(stream), std::slice::from_ref(&whole)).unwrap();
        assert_eq!(absent.len(), 1, "stream {stream}: {absent:?}");
        let (from, to) = (Offset(absent[0].start), Offset(absent[0].end));
        assert_eq!((from.0, to.0), (first - 1, last), "stream {stream}");
        f.journal.note_damage(Damage::Records { stream: StreamId(stream), from, to });
    }
    assert!(matches!(f.journal.read(StreamId(2), Offset(20), Offset(30), 1000), Err(ReadError::Damaged { .. })));
    let before: Vec<_> = f.journal.read(StreamId(2), Offset(first - 2), Offset(30), 1000).unwrap();
    assert_eq!(before.last().unwrap().end(), Offset(first - 1), "nothing is skipped");
    assert!(!f.journal.repair_records(f.journal.damage()[0], std::slice::from_ref(&(0..RECORDS)), &[], false).unwrap());
    // Its place is among the finished files, once those before it are.
    f.journal.publish(RECORDS + 1, &entry(1, RECORDS + 1, &[(1, RECORDS, 10)]).1, &[]);
    f.store(&[(1, RECORDS + 1, 10)]);
    while f.journal.finish_next().unwrap() {}
    repair(&f, &from);
    assert_eq!(f.journal.damage(), []);
    read(&f).unwrap();
    f.journal.forget_lost_entries().unwrap();
    let f = f.restart();
    // Above the checkpoint is applied again by consensus; what the checkpoint covers is all there.
    read(&f).unwrap();
    assert!(f.journal.lost_entries().is_empty());
}

fn log_path(f: &Fixture) -> PathBuf {
    let paths = std::fs::read_dir(f.path()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).max().unwrap()
}

fn checkpoint_path(f: &Fixture) -> PathBuf {
    let paths = std::fs::read_dir(f.path()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("checkpoint-")).max().unwrap()
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_a_whole_one() {
    let f = filled();
    checkpoint(&f, true);
    flip(&checkpoint_path(&f), 80);
    assert!(!f.journal.wants_base());
    let mut cursor = f.journal.scrub_cursor();
    while !f.journal.scrub(&mut cursor, 1 << 20) {}
    assert!(f.journal.wants_base());
    let at = f.journal.checkpoint_at();
    f.journal.write_base(at, &vec![(b"all".to_vec(), Some(vec![1]))]).unwrap();
    assert!(!f.journal.wants_base());
    let f = f.restart();
    let (found, objects) = f.journal.read_checkpoint().unwrap();
    assert_eq!((found, objects.len()), (at, 1));
    read(&f).unwrap();
}

#[test]
fn starting_over_keeps_the_vote_and_nothing_else() {
    let mut f = filled();
    f.journal.save_vote(b"vote".to_vec().into(), Box::new(|| ()));
    f.settle();
    f.journal.set_replicated(true);
    checkpoint(&f, true);
    flip(&checkpoint_path(&f), 80);
    let f = f.restart();
    assert!(f.journal.read_checkpoint().is_err() && f.journal.is_replicated());
    f.journal.start_over().unwrap();
    let mut f = f.restart();
    assert!(f.recovered.in_doubt, "nobody may count on what it has forgotten");
    assert_eq!(f.journal.vote().as_deref(), Some(&b"vote"[..]));
    assert_eq!((f.journal.last(), f.journal.checkpoint_at()), Default::default());
    assert!(f.journal.finished().is_empty() && f.journal.read_checkpoint().unwrap().1.is_empty());
    assert_eq!(f.store(&[(1, 0, 10)]), 1);
    let f = f.restart();
    assert_eq!(f.journal.last().index, 1);
}

/// Whatever became of the file, the log goes on behind what the checkpoint covers.
#[test]
fn a_log_file_that_is_gone_leaves_what_the_checkpoint_covers() {
    let ways: [fn(&Path); 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::File::create(path).map(drop).unwrap(),
        |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(64).unwrap(),
    ];
    for (nth, way) in ways.into_iter().enumerate() {
        let mut f = Fixture::with(0, 64 << 10);
        for offset in 0..3 {
            f.store(&[(1, offset, 100)]);
        }
        checkpoint(&f, false);
        let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
        let logs: Vec<PathBuf> = std::fs::read_dir(f.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let logs: Vec<PathBuf> = logs.into_iter().filter(is_log).collect();
        assert_eq!(logs.len(), 1);
        way(&logs[0]);
        f = f.restart();
        assert!(f.recovered.in_doubt, "way {nth}: a vote may have been lost");
        let said = f.recovered.reasons.join("; ");
        assert!(said.contains("entries 1 to 3 are lost"), "way {nth}: {said}");
        assert_eq!(f.journal.last(), LogPosition { term: 1, index: 3 });
        assert!(f.journal.read(StreamId(1), Offset(0), Offset(3), 1000).is_err(), "what is lost is refused");
        assert_eq!(f.store(&[(1, 3, 100)]), 4);
        let slices = f.journal.read(StreamId(1), Offset(3), Offset(4), 1000).unwrap();
        assert_eq!(slices.len(), 1);
    }
}
