//! What readers who catch up leave in the page cache.
//!
//! It is asked of the kernel which pages are there: that does not depend on how much memory the machine has
//! free, as waiting for it to evict anything would.

use crate::fixture::Fixture;
use crate::residency::{evict, resident_bytes};
use journal::disk::Folder;
use journal::{Chunk, ColdPages};
use model::{Offset, StreamId};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const FILE_BYTES: u64 = 8 * MIB;
/// Records of 1 MiB that others read all the time, and those that somebody reads once.
const WARM: u64 = 9;
const COLD: u64 = 64;
/// Files that have all of the warm records, and no others.
const WARM_FILES: usize = 2;
const COLD_BYTES_MAX: u64 = 8 * MIB;
/// What is read ahead at a time, and what the kernel reads beyond what it is asked for.
const SLACK: u64 = 8 * MIB;

/// A journal on a real disk, with nothing of it in the page cache. The first files have the warm stream.
fn journal(cold_bytes_max: u64) -> Fixture {
    // The folder for temporary files may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = Folder::open(folder.path().join("journal")).unwrap().with_cold_pages(ColdPages::new(cold_bytes_max));
    let mut f = Fixture::on(disk, folder, FILE_BYTES);
    for offset in 0..WARM {
        f.store(&[(1, offset, MIB as usize)]);
    }
    for offset in 0..COLD {
        f.store(&[(2, offset, MIB as usize)]);
    }
    while f.journal.finish_next().unwrap() {}
    files(&f).iter().for_each(|file| evict(file));
    f
}

fn files(f: &Fixture) -> Vec<PathBuf> {
    let files = std::fs::read_dir(f.path()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "log")).collect();
    files.sort();
    files
}

/// Reads a stream as a client gets it, and calls `look` in between. Returns how many records there were.
fn send(f: &Fixture, stream: u64, end: u64, mut look: impl FnMut()) -> u64 {
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    let (mut next, mut records) = (Offset(0), 0);
    while next < Offset(end) {
        let chunks = f.journal.read_chunks(StreamId(stream), next, Offset(end), 3 * MIB as usize).unwrap();
        for chunk in chunks {
            (next, records) = (chunk.end(), records + chunk.count());
            if let Chunk::File { mut range, .. } = chunk {
                while !range.is_empty() {
                    let sent = range.send(&nowhere).unwrap();
                    range.advance(sent);
                }
            }
        }
        look();
    }
    records
}

/// The most of the cold files that was in the page cache at a time, and how much at the end, after the cold
/// stream was read once.
fn catch_up(cold_bytes_max: u64) -> (u64, u64) {
    let f = journal(cold_bytes_max);
    let files = files(&f);
    let all: u64 = files.iter().map(|file| resident_bytes(file)).sum();
    assert!(all < MIB, "{all} bytes stay in memory on this file system, whatever is done");
    let (warm, cold) = files.split_at(WARM_FILES);
    warm.iter().for_each(|file| drop(std::fs::read(file).unwrap()));
    let warm = || warm.iter().map(|file| resident_bytes(file)).sum::<u64>();
    let before = warm();
    assert!(before >= WARM * MIB);

    let cold = || cold.iter().map(|file| resident_bytes(file)).sum::<u64>();
    let mut most = 0;
    assert_eq!(send(&f, 2, COLD, || most = most.max(cold())), COLD);
    // Who reads what is there already does not have it given back.
    assert_eq!(send(&f, 1, WARM, || ()), WARM);
    assert_eq!(send(&f, 2, COLD, || ()), COLD);
    assert!(warm() >= before, "what was there before a reader came is left alone");
    (most, cold())
}

#[test]
fn who_catches_up_leaves_no_more_in_the_page_cache_than_allowed() {
    let (most, left) = catch_up(COLD_BYTES_MAX);
    assert!(most <= COLD_BYTES_MAX + SLACK, "{most} bytes");
    assert!(left <= COLD_BYTES_MAX + SLACK, "{left} bytes");
    // Left to itself, the kernel keeps all of it while there is memory: this is no test of that.
    let (most, left) = catch_up(u64::MAX);
    let few = 3 * COLD_BYTES_MAX;
    assert!(most > few && left > few, "{most}, {left}");
}

#[test]
fn what_follows_is_read_before_anybody_asks_for_it() {
    let f = journal(u64::MAX);
    let cold = &files(&f)[WARM_FILES];
    let chunks = f.journal.read_chunks(StreamId(2), Offset(0), Offset(COLD), 2 * MIB as usize).unwrap();
    assert!(matches!(chunks[..], [Chunk::File { .. }]), "{chunks:?}");
    // Nothing of it is sent. The kernel does not tell when it has read what it was asked to.
    let began = Instant::now();
    while resident_bytes(cold) < 3 * MIB {
        assert!(began.elapsed() < Duration::from_secs(30), "{} bytes are there", resident_bytes(cold));
        std::thread::yield_now();
    }
}
