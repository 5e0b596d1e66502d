//! The Raft log: append, truncate, vote, restart.

use crate::fixture::{Fixture, blank, entry};
use bytes::Bytes;
use journal::disk::Folder;
use journal::frame::Kind;
use journal::skips::{self, Skip};
use journal::writer::nobody;
use journal::{LogPosition, LogReadError, OpenError, ReadError};
use model::{Offset, StreamId, Timestamp};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

#[test]
fn entries_are_readable_at_once_and_acknowledged_when_synced() {
    let mut f = Fixture::new();
    let done = f.append(vec![blank(1, 1), entry(1, 2, &[(7, 0, 100)]).0]);
    assert_eq!(f.indexes(), [(1, 1), (1, 2)]);
    assert!(!done.load(Ordering::SeqCst));
    assert_eq!(f.journal.flushed(), 0);
    f.settle();
    assert!(done.load(Ordering::SeqCst));
    assert_eq!(f.journal.flushed(), 2);
}

#[test]
fn a_restart_finds_entries_votes_and_the_commit_index() {
    let mut f = Fixture::new();
    f.journal.save_vote(Bytes::from_static(b"vote 1"), nobody());
    for index in 1..=50 {
        f.append(vec![entry(2, index, &[(1, index, 2000)]).0]);
        f.journal.set_committed(index - 1);
        f.settle();
    }
    f.journal.save_vote(Bytes::from_static(b"vote 2"), nobody());
    f.settle();
    let f = f.restart();
    assert!(!f.recovered.in_doubt, "{:?}", f.recovered);
    assert_eq!(f.journal.vote().as_deref(), Some(&b"vote 2"[..]));
    assert_eq!(f.indexes(), (1..=50).map(|index| (2, index)).collect::<Vec<_>>());
    assert_eq!(f.journal.committed(), 49);
    assert_eq!(f.journal.last(), LogPosition { term: 2, index: 50 });
    let read = f.journal.entries(17, 18, 1).unwrap();
    assert_eq!(read[0].payload, entry(2, 17, &[(1, 17, 2000)]).0.payload);
}

#[test]
fn what_was_not_written_is_not_there_after_a_restart() {
    let mut f = Fixture::new();
    f.append(vec![blank(1, 1)]);
    f.settle();
    f.append(vec![blank(1, 2)]);
    let f = f.restart();
    assert_eq!(f.indexes(), [(1, 1)]);
}

#[test]
fn a_later_frame_replaces_everything_from_its_index_on() {
    let mut f = Fixture::with(1 << 20, 8 << 10);
    for index in 1..=20 {
        f.append(vec![entry(1, index, &[(1, index, 1000)]).0]); // rolls several times
    }
    f.settle();
    f.journal.truncate_after(5);
    f.append(vec![entry(2, 6, &[(1, 6, 10)]).0, blank(2, 7)]);
    f.settle();
    let expected: Vec<_> = (1..=5).map(|index| (1, index)).chain([(2, 6), (2, 7)]).collect();
    assert_eq!(f.indexes(), expected);
    let mut f = f.restart();
    assert_eq!(f.indexes(), expected);
    // And again, so that the file written after the restart replaces as well.
    f.journal.truncate_after(6);
    f.append(vec![blank(3, 7)]);
    f.settle();
    let f = f.restart();
    assert_eq!(f.indexes().last(), Some(&(3, 7)));
}

#[test]
fn a_torn_tail_is_cut_and_never_comes_back() {
    let mut f = Fixture::new();
    for index in 1..=10 {
        f.append(vec![entry(1, index, &[(1, index, 500)]).0]);
        f.settle();
    }
    let file = log_file(&f);
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 100] ^= 1; // in the body of the last entry, which nothing shows to be synced
    std::fs::write(&file, &bytes).unwrap();
    let mut f = f.restart();
    assert_eq!(f.journal.last().index, 9);
    // The same index is written again, elsewhere; the old bytes do not count even when mended.
    f.append(vec![blank(1, 10)]);
    f.settle();
    bytes[end - 100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let f = f.restart();
    assert_eq!(f.journal.entries(10, 11, 0).unwrap()[0].payload, Bytes::new());
}

#[test]
fn damage_below_what_was_synced_is_never_skipped() {
    let mut f = Fixture::new();
    f.journal.set_replicated(true);
    f.journal.write_due_manifest().unwrap();
    for index in 1..=10 {
        f.append(vec![entry(1, index, &[(1, index, 500)]).0]);
        f.settle();
    }
    let file = log_file(&f);
    let mut bytes = std::fs::read(&file).unwrap();
    let third = bytes.windows(6).position(|window| window == b"1/3/1/").unwrap();
    bytes[third - 120] ^= 1; // in the meta of entry 3
    std::fs::write(&file, &bytes).unwrap();
    let f = f.restart();
    assert_eq!(f.recovered.damaged_entries, [3]);
    assert!(f.recovered.in_doubt);
    assert_eq!(f.journal.last().index, 2, "nothing above the hole counts");
}

/// Ten entries of which the third cannot be read; where it was damaged, and its file.
fn damaged_alone() -> Fixture {
    let mut f = Fixture::new();
    for index in 1..=10 {
        f.append(vec![entry(1, index, &[(index % 2, index / 2, 500)]).0]);
        f.settle();
    }
    let file = log_file(&f);
    let mut bytes = std::fs::read(&file).unwrap();
    let third = bytes.windows(4).position(|window| window == b"1/1/").unwrap();
    bytes[third - 120] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    f
}

fn skip(f: &Fixture, entries: RangeInclusive<u64>) {
    let decided = Timestamp(1);
    let skips = entries.map(|index| Skip { index, decided, reason: "alone".into() }).collect();
    skips::add(&Folder::open(f.path()).unwrap(), skips).unwrap();
}

#[test]
fn alone_a_lost_entry_stops_the_start_and_changes_nothing_until_it_is_skipped() {
    let f = damaged_alone();
    let content = |f: &Fixture| -> BTreeMap<_, _> {
        let paths = f.path().read_dir().unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let before = content(&f);
    for _ in 0..2 {
        let refused = f.refused();
        assert!(matches!(refused, OpenError::Lost { first: 3, last: 3, .. }), "{refused}");
    }
    assert!(content(&f) == before);
    skip(&f, 3..=3);
    let mut f = f.restart();
    assert_eq!((f.recovered.damaged_entries.as_slice(), f.recovered.entries_cut), (&[3][..], 0));
    let expected: Vec<_> = (1..=10).map(|index| (1, index)).collect();
    assert_eq!(f.indexes(), expected);
    let applied = f.journal.entries_to_apply(3, 4, 0).unwrap();
    assert_eq!((applied[0].kind, applied[0].payload.len()), (Kind::Blank, 0));
    // What follows is of use, also when the file is finished, and its number is not given twice.
    for index in 1..=10 {
        let descs = if index == 3 { Vec::new() } else { entry(1, index, &[(index % 2, index / 2, 500)]).1 };
        f.journal.publish(index, &descs, &[]);
    }
    assert_eq!(f.store(&[(0, 6, 10)]), 11);
    f.journal.set_committed(11);
    assert!(f.journal.finish_next().unwrap());
    let f = f.restart();
    assert_eq!(f.indexes().len(), 11);
    assert_eq!(f.journal.entries_to_apply(3, 4, 0).unwrap()[0].kind, Kind::Blank);
    assert_eq!(f.journal.last().index, 11);
}

#[test]
fn alone_a_lost_end_stops_the_start_as_well() {
    let mut f = Fixture::new();
    for index in 1..=5 {
        f.append(vec![entry(1, index, &[(1, index, 500)]).0]);
        f.settle();
    }
    // The next file's header says where this one ends.
    let file = log_file(&f);
    let mut f = f.restart();
    f.journal.save_vote(b"vote".to_vec().into(), Box::new(|| ()));
    f.settle();
    let mut bytes = std::fs::read(&file).unwrap();
    let fifth = bytes.windows(4).position(|window| window == b"1/5/").unwrap();
    bytes[fifth - 120] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let refused = f.refused();
    assert!(matches!(refused, OpenError::Lost { first: 5, last: 5, .. }), "{refused}");
    skip(&f, 5..=5);
    let mut f = f.restart();
    assert_eq!(f.indexes().len(), 5);
    f.append(vec![entry(2, 6, &[(1, 6, 10)]).0]);
    f.settle();
    assert_eq!(f.restart().indexes().len(), 6);
}

#[test]
fn an_entry_in_a_finished_file_is_skipped_with_all_that_rests_on_it() {
    let mut f = Fixture::with(1 << 20, 4 << 10);
    for index in 1..=10 {
        f.store(&[(1, index - 1, 700)]);
        f.journal.set_committed(index);
    }
    while f.journal.finish_next().unwrap() {}
    let finished = f.journal.finished().len();
    assert!(finished > 1);
    // Some manifest later: the files are listed.
    f.journal.set_in_doubt(false).unwrap();
    let listed = f.journal.finished()[0].clone();
    let path = f.path().join(journal::file::name(listed.id, listed.kind));
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes.windows(4).position(|window| window == b"1/2/").unwrap();
    bytes[third - 120] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let f = f.restart();
    assert_eq!(f.journal.unreadable_entries(1), [(3, Kind::Entry)]);
    skip(&f, 3..=3);
    let f = f.restart();
    assert_eq!(f.journal.unreadable_entries(1), []);
    assert!(f.journal.finished().is_empty(), "they are walked again");
    assert_eq!(f.indexes().len(), 10);
    // Applied anew: what follows the skipped record in its stream is refused.
    for index in 1..=10 {
        let descs = entry(1, index, &[(1, index - 1, 700)]).1;
        let (accepted, refused) = if index < 3 { (&descs[..], &[][..]) } else { (&[][..], &[0][..]) };
        let blank = index == 3;
        f.journal.publish(index, accepted, if blank { &[] } else { refused });
    }
    f.journal.set_committed(10);
    while f.journal.finish_next().unwrap() {}
    assert!(f.journal.finished().len() >= finished);
    let found = f.journal.read(StreamId(1), Offset(0), Offset(10), 1 << 20).unwrap();
    assert_eq!(found.last().unwrap().end(), Offset(2));
}

#[test]
fn a_damaged_header_costs_nothing() {
    for replicated in [false, true] {
        let mut f = Fixture::new();
        f.journal.set_replicated(replicated);
        for index in 1..=5 {
            f.append(vec![entry(1, index, &[(1, index, 500)]).0]);
            f.settle();
        }
        f.journal.write_due_manifest().unwrap();
        let first = log_file(&f);
        let mut f = f.restart();
        f.append(vec![entry(2, 6, &[(1, 6, 500)]).0]);
        f.settle();
        for file in [first, log_file(&f)] {
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[20] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
        }
        let f = f.restart();
        assert!(f.recovered.in_doubt);
        assert_eq!(f.indexes().len(), 6, "{:?}", f.recovered);
    }
}

#[test]
fn alone_a_lost_vote_takes_no_entry_along() {
    let mut f = Fixture::new();
    for index in 1..=5 {
        f.append(vec![entry(1, index, &[(1, index, 500)]).0]);
        f.journal.set_committed(index - 1);
        f.settle();
    }
    let mut f = f.restart();
    f.journal.save_vote(b"a vote of the second run".to_vec().into(), Box::new(|| ()));
    f.append(vec![blank(2, 6)]);
    f.settle();
    f.journal.set_committed(6);
    f.append(vec![entry(2, 7, &[(1, 6, 500)]).0]);
    f.settle();
    let file = log_file(&f);
    let mut bytes = std::fs::read(&file).unwrap();
    let vote = bytes.windows(6).position(|window| window == b"a vote").unwrap();
    bytes[vote] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let f = f.restart();
    assert!(f.recovered.in_doubt);
    assert_eq!(f.indexes().len(), 7, "{:?}", f.recovered);
}

#[test]
fn after_a_clean_shutdown_the_last_entry_may_be_lost_and_the_log_goes_on() {
    let mut f = Fixture::new();
    for index in 1..=5 {
        f.store(&[(1, index, 500)]);
    }
    f.journal.set_committed(5);
    f.journal.write_checkpoint(LogPosition { term: 1, index: 5 }, &Vec::new()).unwrap();
    f.journal.close().unwrap();
    let file = log_file(&f);
    let mut bytes = std::fs::read(&file).unwrap();
    let fifth = bytes.windows(4).position(|window| window == b"1/5/").unwrap();
    bytes[fifth - 120] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let mut f = f.restart();
    assert_eq!(f.journal.lost_entries(), [(5, 5)]);
    assert_eq!(f.journal.last(), LogPosition { term: 1, index: 5 });
    f.append(vec![entry(2, 6, &[(1, 6, 500)]).0]);
    f.settle();
    let f = f.restart();
    assert_eq!(f.journal.last(), LogPosition { term: 2, index: 6 });
    // Nobody has said yet what was lost with the entry.
    assert!(matches!(f.journal.read(StreamId(1), Offset(5), Offset(6), 0), Err(ReadError::Damaged { .. })));
    f.journal.note_gaps_known();
    assert!(f.journal.read(StreamId(1), Offset(5), Offset(6), 0).unwrap().is_empty());
}

#[test]
fn a_checkpoint_older_than_the_one_there_does_not_count() {
    let mut f = Fixture::new();
    for index in 1..=5 {
        f.store(&[(1, index, 500)]);
    }
    let place = |index| LogPosition { term: 1, index };
    f.journal.write_checkpoint(place(5), &vec![(b"k".to_vec(), Some(vec![5]))]).unwrap();
    // As one that took long to write, while a snapshot was installed.
    f.journal.write_checkpoint(place(3), &vec![(b"k".to_vec(), Some(vec![3]))]).unwrap();
    for _ in 0..2 {
        let (at, objects) = f.journal.read_checkpoint().unwrap();
        assert_eq!((at, objects.get(&b"k"[..])), (place(5), Some(&vec![5])));
        f = f.restart();
    }
}

#[test]
fn the_floor_hides_entries_and_survives() {
    let mut f = Fixture::with(1 << 20, 8 << 10);
    for index in 1..=30 {
        f.store(&[(1, index, 1000)]);
    }
    while f.journal.finish_next().unwrap() {}
    f.journal.purge(LogPosition { term: 1, index: 20 });
    assert!(matches!(f.journal.entries(20, 25, 0), Err(LogReadError::Absent(20))));
    assert_eq!(f.indexes().len(), 10);
    assert_eq!(f.journal.term_of(20), Some(1));
    f.journal
        .write_checkpoint(LogPosition { term: 1, index: 30 }, &vec![(b"k".to_vec(), Some(b"v".to_vec()))])
        .unwrap();
    let f = f.restart();
    assert_eq!(f.journal.floor(), LogPosition { term: 1, index: 20 });
    assert_eq!(f.indexes(), (21..=30).map(|index| (1, index)).collect::<Vec<_>>());
    assert_eq!(f.journal.read_checkpoint().unwrap().0, LogPosition { term: 1, index: 30 });
    assert_eq!(f.journal.applied(), 30);
}

#[test]
fn entries_evicted_from_memory_are_read_from_the_file() {
    let mut f = Fixture::with(5_000, 16 << 10);
    for index in 1..=40 {
        f.store(&[(1, index, 1000)]);
    }
    assert!(f.cache.used() <= 5_000, "{}", f.cache.used());
    assert_eq!(f.indexes().len(), 40);
    let read = f.journal.entries(3, 4, 0).unwrap();
    assert_eq!(read[0].payload, entry(1, 3, &[(1, 3, 1000)]).0.payload);
}

fn log_file(f: &Fixture) -> std::path::PathBuf {
    let files = std::fs::read_dir(f.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).max().unwrap()
}
