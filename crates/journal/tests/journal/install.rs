//! A snapshot takes the place of what a replica has, and what follows it stays.

use crate::fixture::{Fixture, entry};
use journal::LogPosition;
use journal::install::{CHUNK_BYTES, write_chunk};
use journal::reclaim::Liveness;
use model::{Offset, StreamId};
use std::ops::Range;

/// As if every record were removed.
struct Nothing;

impl Liveness for Nothing {
    fn live(&self, _: StreamId, _: Offset, _: Offset) -> Vec<Range<u64>> {
        Vec::new()
    }
    fn expiry_class(&self, _: StreamId) -> u8 {
        0
    }
}

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

/// A leader whose own entries nobody has yet: those who are to get them need what lies before, in the same file.
#[test]
fn what_is_settled_of_a_file_is_handed_on_before_the_rest_is() {
    let mut sender = Fixture::with(1 << 20, 8 << 10);
    fill(&mut sender, 0..6);
    sender.journal.set_committed(6);
    checkpoint(&sender);
    for index in 7..=10 {
        sender.append(vec![entry(2, index, &[(1, index - 1, 300)]).0]);
    }
    sender.settle();
    sender.journal.roll();
    sender.settle();
    assert!(!sender.journal.finish_next().unwrap(), "four of its entries are not applied");
    assert!(sender.journal.snapshot_manifest().is_none());
    assert!(sender.journal.finish_settled().unwrap());
    assert!(!sender.journal.finish_settled().unwrap() && !sender.journal.finish_next().unwrap());
    let receiver = Fixture::with(1 << 20, 8 << 10);
    assert_eq!(install(&sender, &receiver), 6);
    let offsets = |f: &Fixture, to: u64| {
        let found = f.journal.read(StreamId(1), Offset(0), Offset(to), 1 << 20).unwrap();
        found.iter().map(|slice| slice.base.0).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&receiver, 10), [0, 1, 2, 3, 4, 5]);
    // The file itself still has what is not settled, also for who starts anew.
    let expected: Vec<_> = (1..=10).map(|index| (if index > 6 { 2 } else { 1 }, index)).collect();
    assert_eq!(sender.indexes(), expected);
    let mut sender = sender.restart();
    assert_eq!(sender.indexes(), expected);
    assert_eq!(offsets(&sender, 10), [0, 1, 2, 3, 4, 5]);
    // What has a part of it must not go before it, or that part would count anew.
    let part = sender.journal.finished()[0].id;
    sender.journal.purge(LogPosition { term: 1, index: 6 });
    let plan = sender.journal.plan_reclaim(&Nothing).unwrap();
    sender.journal.reclaim(plan).unwrap();
    assert!(sender.journal.finished().iter().any(|file| file.id == part));
    for index in 7..=10 {
        sender.journal.publish(index, &entry(2, index, &[(1, index - 1, 300)]).1, &[]);
    }
    sender.journal.set_committed(10);
    sender.journal.roll();
    sender.settle();
    assert!(sender.journal.finish_next().unwrap());
    assert_eq!(sender.journal.finished().len(), 2);
    // Some manifest later: the files are listed.
    sender.journal.set_in_doubt(false).unwrap();
    let sender = sender.restart();
    assert_eq!(offsets(&sender, 10), (0..10).collect::<Vec<_>>());
    assert_eq!(sender.journal.last(), LogPosition { term: 2, index: 10 });
    while sender.journal.finish_next().unwrap() {}
    let plan = sender.journal.plan_reclaim(&Nothing).unwrap();
    sender.journal.reclaim(plan).unwrap();
    assert!(sender.journal.finished().iter().all(|file| file.id != part));
}
