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
