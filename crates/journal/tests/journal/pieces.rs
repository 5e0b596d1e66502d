//! Reading by stream and offset, from memory, unfinished and finished files.

use crate::fixture::{Fixture, value};
use model::record::Message;
use model::{Offset, StreamId, Timestamp};

fn read_all(f: &Fixture, stream: u64, from: u64, to: u64, bytes_max: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    let mut next = Offset(from);
    loop {
        let slices = f.journal.read(StreamId(stream), next, Offset(to), bytes_max).unwrap();
        let Some(last) = slices.last() else { break };
        next = last.end();
        for slice in slices {
            for piece in model::piece::walk(&slice.bytes) {
                let (head, range) = piece.unwrap();
                let message = Message::decode(&slice.bytes[range]).unwrap();
                assert_eq!(message.value, value(stream, head.base.0, message.value.len()));
                offsets.push(head.base.0);
            }
        }
    }
    offsets
}

fn fill(f: &mut Fixture) {
    for offset in 0..60 {
        f.store(&[(1, offset, 700), (2, offset * 2, 300), (2, offset * 2 + 1, 10)]);
    }
}

#[test]
fn reads_give_every_piece_once_and_in_order() {
    for (cache, finish, restart) in [(1 << 20, false, false), (0, false, false), (0, true, false), (0, true, true)] {
        let mut f = Fixture::with(cache, 16 << 10);
        fill(&mut f);
        if finish {
            while f.journal.finish_next().unwrap() {}
            assert!(f.journal.finished().len() > 2);
        }
        if restart {
            let changes = vec![(b"k".to_vec(), Some(vec![1]))];
            f.journal.write_checkpoint(journal::LogPosition { term: 1, index: 60 }, &changes).unwrap();
            f = f.restart();
        }
        for bytes_max in [0, 1000, 3000, 1 << 20] {
            assert_eq!(read_all(&f, 1, 0, 60, bytes_max), (0..60).collect::<Vec<_>>());
            assert_eq!(read_all(&f, 2, 7, 120, bytes_max), (7..120).collect::<Vec<_>>());
            assert_eq!(read_all(&f, 1, 13, 20, bytes_max), (13..20).collect::<Vec<_>>());
        }
        assert!(read_all(&f, 3, 0, 10, 1000).is_empty());
        let found = f.journal.find_timestamp(StreamId(1), Offset(0), Offset(60), Timestamp(33)).unwrap();
        assert_eq!(found, Some((Offset(33), Timestamp(33))));
    }
}

#[test]
fn timestamps_are_told_without_reading_pieces() {
    let time_of = |f: &Fixture, from| f.journal.timestamp_at(StreamId(1), Offset(from), Offset(60)).unwrap();
    // In memory: of files that are not finished, and of finished ones while their entries are cached.
    for finish in [false, true] {
        let mut f = Fixture::with(1 << 20, 16 << 10);
        fill(&mut f);
        while finish && f.journal.finish_next().unwrap() {}
        f.journal.purge(journal::LogPosition { term: 1, index: 60 });
        for offset in 0..60 {
            let time = Some(Timestamp(offset as i64));
            assert_eq!(f.journal.timestamp_in_memory(StreamId(1), Offset(offset)), time);
            assert_eq!(time_of(&f, offset), time);
        }
        assert_eq!(f.journal.timestamp_in_memory(StreamId(1), Offset(60)), None);
        assert_eq!(time_of(&f, 60), None);
    }
    // On disk.
    let mut f = Fixture::with(0, 16 << 10);
    fill(&mut f);
    while f.journal.finish_next().unwrap() {}
    f.journal.purge(journal::LogPosition { term: 1, index: 60 });
    assert_eq!(f.journal.timestamp_in_memory(StreamId(1), Offset(3)), None);
    assert!((0..60).all(|offset| time_of(&f, offset) == Some(Timestamp(offset as i64))));
    assert_eq!(f.journal.counters.cache_misses.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_file_range_knows_how_many_records_it_has() {
    let mut f = Fixture::with(0, 1 << 20);
    for nth in 0..6 {
        f.store(&(0..5).map(|offset| (1, nth * 5 + offset, 20_000)).collect::<Vec<_>>());
    }
    while f.journal.finish_next().unwrap() {}
    let chunks = f.journal.read_chunks(StreamId(1), Offset(0), Offset(30), 1 << 20).unwrap();
    assert!(chunks.iter().any(|chunk| matches!(chunk, journal::Chunk::File { count, .. } if *count > 1)));
    assert_eq!(chunks.iter().map(journal::Chunk::count).sum::<u64>(), 30);
}

#[test]
fn what_waits_for_the_disk_is_timed() {
    let mut f = Fixture::new();
    fill(&mut f);
    let counters = &f.journal.counters;
    let fsyncs = counters.fsyncs.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(counters.append_seconds.read().count(), 60);
    assert_eq!(counters.fsync_seconds.read().count(), fsyncs);
    assert!(counters.write_seconds.read().count() >= 60);
    let [append, fsync] = [&counters.append_seconds, &counters.fsync_seconds].map(|times| times.read().sum);
    assert!(!fsync.is_zero() && append >= fsync, "an entry waits for its sync: {append:?}, {fsync:?}");
}

#[test]
fn a_warm_read_costs_no_disk_read() {
    let mut f = Fixture::with(1 << 20, 16 << 10);
    fill(&mut f);
    read_all(&f, 1, 0, 60, 4000);
    assert_eq!(f.journal.counters.cache_misses.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_warm_read_of_finished_files_costs_no_disk_read() {
    let mut f = Fixture::with(1 << 20, 16 << 10);
    fill(&mut f);
    while f.journal.finish_next().unwrap() {}
    // Alone, a shard keeps no log below its checkpoint.
    f.journal.purge(journal::LogPosition { term: 1, index: 60 });
    assert!(f.journal.finished().len() > 2);
    for bytes_max in [0, 1000, 1 << 20] {
        assert_eq!(read_all(&f, 1, 0, 60, bytes_max), (0..60).collect::<Vec<_>>());
        assert_eq!(read_all(&f, 2, 7, 120, bytes_max), (7..120).collect::<Vec<_>>());
    }
    assert!((0..60).all(|offset| f.journal.in_memory(StreamId(1), Offset(offset))));
    assert_eq!(f.journal.counters.cache_misses.load(std::sync::atomic::Ordering::Relaxed), 0);
    // No more is kept than allowed, and what is not kept is on disk.
    let mut f = Fixture::with(20_000, 16 << 10);
    fill(&mut f);
    while f.journal.finish_next().unwrap() {}
    assert!(f.cache.used() <= 20_000);
    assert!(!f.journal.in_memory(StreamId(1), Offset(0)) && f.journal.in_memory(StreamId(1), Offset(50)));
    assert_eq!(read_all(&f, 2, 0, 120, 4000), (0..120).collect::<Vec<_>>());
}

#[test]
fn an_idle_journal_gives_back_what_is_more_than_its_share() {
    let mut idle = Fixture::with(40_000, 16 << 10);
    fill(&mut idle);
    while idle.journal.finish_next().unwrap() {}
    assert!(idle.cache.used() > 30_000);
    let mut busy = idle.beside();
    fill(&mut busy);
    while busy.journal.finish_next().unwrap() {}
    while idle.journal.finish_next().unwrap() {}
    assert!(idle.cache.used() <= 40_000);
    for f in [&idle, &busy] {
        assert!(f.journal.in_memory(StreamId(1), Offset(50)), "each has a part");
    }
    drop(busy);
    drop(idle.journal);
    drop(idle.writer);
    assert_eq!(idle.cache.used(), 0);
}

#[test]
fn pieces_not_yet_applied_cannot_be_read() {
    let mut f = Fixture::new();
    f.store(&[(1, 0, 10)]);
    f.append(vec![crate::fixture::entry(1, 2, &[(1, 1, 10)]).0]);
    f.settle();
    assert_eq!(read_all(&f, 1, 0, 9, 1000), [0]);
}

#[test]
fn much_at_once_goes_around_the_page_cache_unless_somebody_reads_behind() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut f = Fixture::with(0, 4 << 20);
    let around = |f: &Fixture| f.journal.counters.around_bytes.load(Relaxed);
    f.store(&[(1, 0, 700)]);
    assert_eq!(around(&f), 0, "little is gathered by the page cache");
    f.store(&[(1, 1, 100_000)]);
    let written = around(&f);
    assert!(written > 100_000);
    f.store(&[(1, 2, 700)]);
    assert_eq!(read_all(&f, 1, 0, 3, 1 << 20), [0, 1, 2], "both ways in one file");
    f.store(&[(1, 3, 100_000)]);
    assert_eq!(around(&f), written, "whoever read from a file will do so again");
    assert_eq!(read_all(&f, 1, 3, 4, 1 << 20), [3]);
    let changes = vec![(b"k".to_vec(), Some(vec![1]))];
    f.journal.write_checkpoint(journal::LogPosition { term: 1, index: 4 }, &changes).unwrap();
    f = f.restart();
    assert_eq!(read_all(&f, 1, 0, 4, 1 << 20), [0, 1, 2, 3]);
}
