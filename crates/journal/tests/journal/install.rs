//! A snapshot takes the place of what a replica has, and what follows it stays.

use crate::fixture::{Fixture, entry};
use journal::LogPosition;
use journal::install::{CHUNK_BYTES, write_chunk};

/// Entries of one record, applied and on stable storage.
fn fill(f: &mut Fixture, offsets: std::ops::Range<u64>) {
    for offset in offsets {
        f.store(&[(1, offset, 300)]);
    }
    while f.journal.finish_next().unwrap() {}
}

fn checkpoint(f: &Fixture) {
    let at = LogPosition { term: 1, index: f.journal.applied() };
    f.journal.write_checkpoint(at, &vec![(b"k".to_vec(), Some(vec![7]))]).unwrap();
}

/// Copies the sender's snapshot and installs it.
fn install(from: &Fixture, to: &Fixture) -> u64 {
    let manifest = from.journal.snapshot_manifest().unwrap();
    for (part, length, name) in manifest.parts() {
        let Some(file) = to.journal.create_part(&name).unwrap() else { continue };
        let mut position = 0;
        while position < length {
            let (bytes, crc) = from.journal.read_part(part, position, CHUNK_BYTES).unwrap();
            write_chunk(&*file, position, &bytes, crc).unwrap();
            position += bytes.len() as u64;
        }
        file.sync().unwrap();
    }
    to.journal.install(&manifest).unwrap();
    manifest.at.index
}

/// Found by the simulator: the snapshot's last file reached above it, and a restart took what had
/// been written above it since for what that file has.
#[test]
fn what_follows_a_snapshot_survives_a_restart() {
    let mut sender = Fixture::with(1 << 20, 8 << 10);
    fill(&mut sender, 0..50);
    checkpoint(&sender);
    fill(&mut sender, 50..100);
    let mut receiver = Fixture::with(1 << 20, 8 << 10);
    fill(&mut receiver, 0..10);
    let at = install(&sender, &receiver);
    assert_eq!((at, receiver.journal.floor().index), (50, 50));
    let reach = receiver.journal.finished().iter().map(|file| file.table.last_index).max().unwrap();
    assert!(reach > at, "the last file ends with the snapshot: nothing is tested");
    for index in 51..=reach + 5 {
        let (next, descs) = entry(1, index, &[(1, index - 1, 300)]);
        receiver.append(vec![next]);
        receiver.journal.publish(index, &descs, &[]);
        receiver.settle();
    }
    let receiver = receiver.restart();
    assert_eq!(receiver.journal.last().index, reach + 5);
    assert_eq!(receiver.indexes().len() as u64, reach + 5 - at);
}
