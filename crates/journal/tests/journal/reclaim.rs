//! Space comes back, and nothing alive goes with it.

use crate::fixture::{Fixture, entry, value};
use journal::reclaim::{FACTOR, ONE_BY_ONE, PLACE_BYTES, REWRITE_BYTES};
use journal::{Liveness, LogPosition, ReclaimError};
use model::record::Message;
use model::{Offset, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What is alive, record by record.
#[derive(Default)]
struct Alive(BTreeMap<u64, BTreeSet<u64>>);

impl Liveness for Alive {
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        let offsets = self.0.get(&stream.0).into_iter().flat_map(|offsets| offsets.range(from.0..to.0));
        offsets.map(|offset| *offset..offset + 1).collect()
    }
    fn expiry_class(&self, stream: StreamId) -> u8 {
        ONE_BY_ONE + 1 + (stream.0 % 2) as u8
    }
}

impl Alive {
    fn check(&self, f: &Fixture, streams: Range<u64>, end: u64) {
        for stream in streams {
            let mut found = BTreeSet::new();
            let mut next = Offset(0);
            loop {
                let slices = f.journal.read(StreamId(stream), next, Offset(end), 5_000).unwrap();
                let Some(last) = slices.last() else { break };
                next = last.end();
                for slice in &slices {
                    for piece in model::piece::walk(&slice.bytes) {
                        let (head, range) = piece.unwrap();
                        let message = Message::decode(&slice.bytes[range]).unwrap();
                        assert_eq!(message.value, value(stream, head.base.0, message.value.len()));
                        assert!(found.insert(head.base.0), "{stream} {} twice", head.base);
                    }
                }
            }
            let wanted = self.0.get(&stream).cloned().unwrap_or_default();
            assert!(wanted.is_subset(&found), "stream {stream}: lost {:?}", wanted.difference(&found));
        }
    }
}

/// Ten streams in every entry, one record each.
fn fill(f: &mut Fixture, alive: &mut Alive, offsets: Range<u64>) {
    for offset in offsets {
        let pieces: Vec<_> = (0..10).map(|stream| (stream, offset, 200)).collect();
        let index = f.store(&pieces);
        (0..10).for_each(|stream| {
            alive.0.entry(stream).or_default().insert(offset);
        });
        assert_eq!(index, offset + 1);
    }
    while f.journal.finish_next().unwrap() {}
}

fn release_log(f: &Fixture) {
    let at = LogPosition { term: 1, index: f.journal.applied() };
    f.journal.write_checkpoint(at, &vec![(b"k".to_vec(), Some(vec![0]))]).unwrap();
    f.journal.purge(at);
}

#[test]
fn dead_files_go_mostly_dead_ones_are_packed_and_live_records_stay() {
    let mut f = Fixture::with(0, 16 << 10);
    let mut alive = Alive::default();
    fill(&mut f, &mut alive, 0..300);
    release_log(&f);
    alive.check(&f, 0..10, 300);
    // The oldest hundred are dead; of the others, one in ten survives, in every file.
    for (stream, offsets) in &mut alive.0 {
        offsets.retain(|offset| *offset >= 100 && (offset + stream) % 10 == 0);
    }
    let before = f.journal.disk_bytes();
    let freed = f.journal.reclaim(f.journal.plan_reclaim(&alive).unwrap()).unwrap();
    assert!(freed > before / 2, "freed {freed} of {before}");
    alive.check(&f, 0..10, 300);
    let usage = f.journal.plan_reclaim(&alive).unwrap().usage;
    assert!(usage.file_bytes - usage.needed_by_log <= FACTOR * usage.live_bytes + 20_000, "{usage:?}");
    let f = f.restart();
    alive.check(&f, 0..10, 300);
    // What is in packed files dies too, there as runs.
    for offsets in alive.0.values_mut() {
        offsets.retain(|offset| *offset >= 290);
    }
    f.journal.reclaim(f.journal.plan_reclaim(&alive).unwrap()).unwrap();
    alive.check(&f, 0..10, 300);
    let f = f.restart();
    alive.check(&f, 0..10, 300);
    assert!(f.journal.disk_bytes() < before / 10);
}

#[test]
fn packed_runs_lose_their_settled_records_only() {
    let mut f = Fixture::with(0, 16 << 10);
    let mut alive = Alive::default();
    for offset in 0..400 {
        f.store(&[(0, offset, 150), (1, offset, 400)]);
        alive.0.entry(0).or_default().insert(offset);
    }
    while f.journal.finish_next().unwrap() {}
    release_log(&f);
    for round in 0..3u64 {
        // Stream 1 is dead at once, so everything is packed; then stream 0 thins out.
        f.journal.reclaim(f.journal.plan_reclaim(&alive).unwrap()).unwrap();
        alive.check(&f, 0..1, 400);
        alive.0.get_mut(&0).unwrap().retain(|offset| offset % (3 + round) != 0);
        f = f.restart();
    }
    let runs: u32 = f.journal.finished().iter().map(|file| file.table.extents).sum();
    assert!(runs < 300, "{runs} extents: consecutive records share one");
}

#[test]
fn what_files_take_is_bounded_by_what_is_alive_and_rewriting_ends() {
    let mut f = Fixture::with(0, 64 << 10);
    let mut alive = Alive::default();
    // Tiny records: descriptions and tables outweigh them.
    for offset in 0..2_000 {
        let pieces: Vec<_> = (0..10).map(|stream| (stream, offset, 5)).collect();
        f.store(&pieces);
        (0..10).for_each(|stream| {
            alive.0.entry(stream).or_default().insert(offset);
        });
    }
    while f.journal.finish_next().unwrap() {}
    release_log(&f);
    for left in [2_000, 900, 250, 60, 3, 0] {
        for offsets in alive.0.values_mut() {
            offsets.retain(|offset| offset % 2_000 < left);
        }
        f.journal.reclaim(f.journal.plan_reclaim(&alive).unwrap()).unwrap();
        let usage = f.journal.usage();
        assert_eq!(usage.file_bytes, f.journal.finished().iter().map(|file| file.length).sum::<u64>());
        let slack = usage.bound() - REWRITE_BYTES + 40_000;
        assert!(usage.file_bytes <= slack, "{left}: {usage:?}");
        let places = 10 * alive.0[&0].len() as u64;
        assert!(usage.live_bytes >= places * PLACE_BYTES, "{usage:?}");
        let again = f.journal.plan_reclaim(&alive).unwrap();
        assert!(again.is_empty(), "{left}: what was just written is written again");
        alive.check(&f, 0..10, 2_000);
    }
    assert_eq!(f.journal.usage().live_bytes, 0);
}

#[test]
fn files_the_log_needs_or_a_receiver_reads_stay() {
    let mut f = Fixture::with(0, 16 << 10);
    let mut alive = Alive::default();
    fill(&mut f, &mut alive, 0..100);
    let nothing = Alive::default();
    assert!(f.journal.plan_reclaim(&nothing).unwrap().is_empty(), "the Raft log needs them");
    release_log(&f);
    let pinned = f.journal.finished()[0].id;
    f.journal.pin([pinned]);
    f.journal.reclaim(f.journal.plan_reclaim(&nothing).unwrap()).unwrap();
    assert_eq!(f.journal.finished().iter().map(|file| file.id).collect::<Vec<_>>(), [pinned]);
    f.journal.unpin([pinned]);
    f.journal.reclaim(f.journal.plan_reclaim(&nothing).unwrap()).unwrap();
    assert!(f.journal.finished().is_empty());
}

#[test]
fn a_plan_waits_until_what_it_rests_on_is_on_stable_storage() {
    let mut f = Fixture::with(0, 16 << 10);
    let mut alive = Alive::default();
    fill(&mut f, &mut alive, 0..100);
    release_log(&f);
    // The entry that kills everything is applied, but not flushed.
    let (last, descs) = entry(1, 101, &[(0, 100, 10)]);
    f.append(vec![last]);
    f.journal.publish(101, &descs, &[]);
    let plan = f.journal.plan_reclaim(&Alive::default()).unwrap();
    assert!(matches!(f.journal.reclaim(plan), Err(ReclaimError::NotFlushed { at: 101, flushed: 100 })));
    f.settle();
    let plan = f.journal.plan_reclaim(&Alive::default()).unwrap();
    assert!(f.journal.reclaim(plan).unwrap() > 0);
}

/// Found by the simulator: files packed from the same sources, and again with others, overlap.
#[test]
fn records_are_found_whatever_was_packed_with_what() {
    let mut f = Fixture::with(0, 16 << 10);
    let mut alive = Alive::default();
    let pack = |f: &Fixture, alive: &mut Alive, dead: &dyn Fn(u64, u64) -> bool| {
        for (stream, offsets) in &mut alive.0 {
            offsets.retain(|offset| !dead(*stream, *offset));
        }
        f.journal.reclaim(f.journal.plan_reclaim(alive).unwrap()).unwrap();
        alive.check(f, 0..10, 200);
    };
    fill(&mut f, &mut alive, 0..100);
    release_log(&f);
    // Two files from the same sources: the even streams in one, the odd ones in the other.
    pack(&f, &mut alive, &|_, offset| offset % 3 > 0);
    fill(&mut f, &mut alive, 100..200);
    release_log(&f);
    // The odd ones again, together with what follows both.
    pack(&f, &mut alive, &|stream, offset| offset % 3 > 0 || (stream % 2 == 1 && offset % 2 == 0));
    // The even ones again, on their own.
    pack(&f, &mut alive, &|stream, offset| stream % 2 == 0 && offset < 100 && offset % 2 == 0);
    let f = f.restart();
    alive.check(&f, 0..10, 200);
}
