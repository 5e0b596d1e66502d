//! A snapshot is copied part by part, whatever comes in between; it takes the place of what a replica has, and what
//! follows it stays.

use crate::fixture::{Fixture, entry};
use journal::install::{Part, SnapshotOffer, Wanted};
use journal::parts::{Checked, ChunkError, PartWriter};
use journal::{Liveness, LogPosition, Slice};
use model::{Offset, StreamId, limit};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;

/// How much is copied at a time: files have many chunks.
const CHUNK: usize = 256;
/// After how much of it what is here is made to survive.
const SYNC_BYTES: u64 = 4 * CHUNK as u64;

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

fn offer(from: &Fixture) -> SnapshotOffer {
    SnapshotOffer { journal: from.journal.id(), manifest: from.journal.snapshot_manifest().unwrap() }
}

/// A chunk as it is sent.
fn chunk(from: &Fixture, wanted: &Wanted, position: u64) -> (Vec<u8>, u32) {
    from.journal.read_part(wanted.part, position, CHUNK).unwrap()
}

/// Copies a part from where it is on; `chunks` of it at most. Returns how many were copied, and the part when not all
/// of it is here yet.
fn copy(from: &Fixture, to: &Fixture, wanted: &Wanted, chunks: usize) -> (usize, Option<PartWriter>) {
    let Some(mut writer) = to.journal.begin_part(wanted, SYNC_BYTES).unwrap() else { return (0, None) };
    let mut copied = 0;
    while writer.position() < wanted.length {
        if copied == chunks {
            return (copied, Some(writer));
        }
        let (bytes, crc) = chunk(from, wanted, writer.position());
        writer.write(&bytes, crc).unwrap();
        copied += 1;
    }
    assert_eq!(to.journal.finish_part(writer, wanted, None).unwrap(), Checked::Whole);
    (copied, None)
}

/// Copies what is missing of the sender's snapshot and installs it.
fn install(from: &Fixture, to: &Fixture) -> u64 {
    let offer = offer(from);
    for wanted in offer.wanted() {
        assert!(copy(from, to, &wanted, usize::MAX).1.is_none());
    }
    to.journal.install(&offer).unwrap();
    to.journal.discard_parts(None);
    offer.manifest.at.index
}

/// A sender with a snapshot of several files, and a receiver that has nothing.
fn pair() -> (Fixture, Fixture) {
    let mut sender = Fixture::with(1 << 20, 8 << 10);
    fill(&mut sender, 0..60);
    checkpoint(&sender);
    sender.journal.roll();
    fill(&mut sender, 60..61);
    let files = offer(&sender).manifest.files.len();
    assert!(files >= 2, "{files} files are too few");
    (sender, Fixture::with(1 << 20, 8 << 10))
}

fn parts_on_disk(of: &Fixture) -> Vec<String> {
    let names = std::fs::read_dir(of.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut parts: Vec<String> = names.filter(|name| name.starts_with("pulled-")).collect();
    parts.sort();
    parts
}

fn counted(of: &Fixture) -> [u64; 3] {
    let counters = &of.journal.counters;
    [&counters.parts_resumed, &counters.parts_reused, &counters.parts_refused].map(|count| count.load(Relaxed))
}

/// The first finished file of a snapshot.
fn a_file(offer: &SnapshotOffer) -> Wanted {
    offer.wanted().find(|wanted| matches!(wanted.part, Part::File { .. })).unwrap()
}

#[test]
fn parts_are_gone_on_with_after_each_break_and_restart() {
    let (sender, mut receiver) = pair();
    let offer = offer(&sender);
    let chunks: usize = offer.wanted().map(|wanted| (wanted.length as usize).div_ceil(CHUNK)).sum();
    let mut copied = 0;
    for wanted in offer.wanted() {
        // The process dies again and again; its last chunks it has not made to survive.
        loop {
            let (more, rest) = copy(&sender, &receiver, &wanted, 30);
            copied += more;
            let Some(rest) = rest else { break };
            drop(rest);
            receiver = receiver.restart();
        }
    }
    assert!(copied > chunks, "nothing was interrupted");
    assert!(copied < 2 * chunks, "{copied} chunks were copied, there are {chunks}");
    // Everything is here, whatever happens now.
    receiver = receiver.restart();
    assert_eq!(install(&sender, &receiver), 60);
    let whole = offer.wanted().count() as u64;
    assert_eq!(counted(&receiver), [0, whole, 0]);
    assert_eq!(parts_on_disk(&receiver), Vec::<String>::new());
    let receiver = receiver.restart();
    assert_eq!(receiver.journal.floor().index, 60);
    let slices = receiver.journal.read(StreamId(1), Offset(0), Offset(60), 1 << 20).unwrap();
    assert_eq!(slices.last().map(Slice::end), Some(Offset(60)));
}

#[test]
fn what_was_made_to_survive_is_gone_on_with_and_the_rest_is_not_believed() {
    let (sender, receiver) = pair();
    let wanted = a_file(&offer(&sender));
    let (_, writer) = copy(&sender, &receiver, &wanted, 5);
    let mut writer = writer.expect("the file has more than five chunks");
    assert_eq!(writer.position(), 5 * CHUNK as u64);
    drop(writer);
    let receiver = receiver.restart();
    writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
    assert_eq!(writer.position(), SYNC_BYTES, "of five chunks four were made to survive");
    let (bytes, crc) = chunk(&sender, &wanted, writer.position());
    writer.write(&bytes, crc).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let receiver = receiver.restart();
    writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
    assert_eq!(writer.position(), SYNC_BYTES + CHUNK as u64);
    assert_eq!(counted(&receiver), [1, 0, 0]);
}

#[test]
fn a_chunk_that_changed_on_the_way_is_refused_and_may_come_again() {
    let (sender, receiver) = pair();
    let wanted = a_file(&offer(&sender));
    let mut writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
    let (mut bytes, crc) = chunk(&sender, &wanted, 0);
    for bit in 0..8 {
        bytes[CHUNK / 2] ^= 1 << bit;
        assert!(matches!(writer.write(&bytes, crc), Err(ChunkError::Altered)));
        bytes[CHUNK / 2] ^= 1 << bit;
    }
    // Right, but of another place.
    let (other, other_crc) = chunk(&sender, &wanted, CHUNK as u64);
    assert!(matches!(writer.write(&other, other_crc), Err(ChunkError::Altered)));
    writer.write(&bytes, crc).unwrap();
    writer.write(&other, other_crc).unwrap();
}

#[test]
fn a_kept_part_that_has_changed_is_begun_anew() {
    let (sender, mut receiver) = pair();
    let offer = offer(&sender);
    let wanted = a_file(&offer);
    let name = format!("pulled-{}", journal::file::name(offer.manifest.files[0].id, offer.manifest.files[0].kind));
    for (chunks, place, refused) in [(4, 100, 1), (usize::MAX, 100, 1), (usize::MAX, wanted.length - 20, 1)] {
        drop(copy(&sender, &receiver, &wanted, chunks));
        receiver = receiver.restart();
        flip(&receiver, &name, place);
        let writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().expect("it is not believed");
        assert_eq!((writer.position(), counted(&receiver)), (0, [0, 0, refused]), "{chunks} chunks, byte {place}");
        drop(writer);
        receiver.journal.drop_part(&wanted);
    }
    // The same for what says how much is here: half a record, and none at all.
    for (keep, position) in [(50, SYNC_BYTES), (30, 0)] {
        drop(copy(&sender, &receiver, &wanted, 8));
        receiver = receiver.restart();
        let beside = receiver.path().join(format!("{name}.progress"));
        std::fs::File::options().write(true).open(beside).unwrap().set_len(keep).unwrap();
        let writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
        assert_eq!(writer.position(), position);
        drop(writer);
        receiver.journal.drop_part(&wanted);
    }
    assert_eq!(install(&sender, &receiver), 60);
}

#[test]
fn a_part_without_what_belongs_to_it_is_removed_at_the_start() {
    let (sender, receiver) = pair();
    let wanted = a_file(&offer(&sender));
    drop(copy(&sender, &receiver, &wanted, 4));
    let names = parts_on_disk(&receiver);
    assert!(names.len() == 2 && names[1] == format!("{}.progress", names[0]), "{names:?}");
    std::fs::remove_file(receiver.path().join(&names[0])).unwrap();
    let receiver = receiver.restart();
    assert_eq!((parts_on_disk(&receiver), receiver.journal.kept_parts()), (Vec::new(), 0));
    drop(copy(&sender, &receiver, &wanted, 4));
    std::fs::remove_file(receiver.path().join(&parts_on_disk(&receiver)[1])).unwrap();
    let receiver = receiver.restart();
    assert_eq!((parts_on_disk(&receiver), receiver.journal.kept_parts()), (Vec::new(), 0));
}

/// What comes twice the same is so at the sender: the rest is worth having, and readers find it.
#[test]
fn damage_at_the_sender_is_copied_twice_and_then_taken_for_what_it_is() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    let wanted = a_file(&offer);
    let listed = &offer.manifest.files[0];
    flip(&sender, &journal::file::name(listed.id, listed.kind), listed.frames_end / 2);
    let copy_all = |before| {
        let mut writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
        assert_eq!(writer.position(), 0, "nothing is kept of it");
        while writer.position() < wanted.length {
            let (bytes, crc) = chunk(&sender, &wanted, writer.position());
            writer.write(&bytes, crc).unwrap();
        }
        receiver.journal.finish_part(writer, &wanted, before).unwrap()
    };
    let Checked::Damaged(crc) = copy_all(None) else { panic!("a damaged frame is taken for whole") };
    assert_eq!(copy_all(Some(!crc)), Checked::Damaged(crc), "it came differently the last time");
    assert_eq!(copy_all(Some(crc)), Checked::Whole);
    receiver.journal.drop_part(&wanted);
    // Without its table it cannot be opened.
    flip(&sender, &journal::file::name(listed.id, listed.kind), wanted.length - 20);
    let Checked::Damaged(crc) = copy_all(None) else { panic!("a damaged table is taken for whole") };
    assert_eq!(copy_all(Some(crc)), Checked::Damaged(crc));
}

/// Another replica may have made the table anew, and in another way.
#[test]
fn a_table_does_not_come_in_two_pieces() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    let (wanted, listed) = (a_file(&offer), &offer.manifest.files[0]);
    let mut writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
    while writer.position() <= listed.frames_end {
        let (bytes, crc) = chunk(&sender, &wanted, writer.position());
        writer.write(&bytes, crc).unwrap();
    }
    assert!(writer.position() < wanted.length, "the table has several chunks");
    writer.sync().unwrap();
    drop(writer);
    let receiver = receiver.restart();
    let writer = receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().unwrap();
    assert_eq!(writer.position(), listed.frames_end);
    drop(writer);
    let receiver = receiver.restart();
    assert_eq!(install(&sender, &receiver), 60);
}

#[test]
fn parts_that_a_snapshot_has_no_use_for_are_discarded() {
    let (mut sender, receiver) = pair();
    let before = offer(&sender);
    for wanted in before.wanted() {
        drop(copy(&sender, &receiver, &wanted, 2));
    }
    // The next snapshot has a checkpoint of its own, and the same files and more.
    fill(&mut sender, 61..120);
    let at = LogPosition { term: 1, index: sender.journal.applied() };
    sender.journal.write_base(at, &vec![(b"k".to_vec(), Some(vec![8]))]).unwrap();
    sender.journal.roll();
    fill(&mut sender, 120..121);
    let after = offer(&sender);
    assert_eq!(receiver.journal.discard_parts(Some(&after)), before.manifest.checkpoint.len());
    assert_eq!(receiver.journal.kept_parts(), before.manifest.files.len());
    assert_eq!(receiver.journal.discard_parts(None), before.manifest.files.len());
    assert_eq!(parts_on_disk(&receiver), Vec::<String>::new());
}

/// Leaders that offer other files take turns: what is kept of the others' is bounded.
#[test]
fn of_parts_that_a_snapshot_has_no_use_for_a_few_small_ones_stay() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    let wanted = a_file(&offer);
    drop(copy(&sender, &receiver, &wanted, 2));
    let lay = |sequence: usize, bytes: u64| {
        let name = format!("pulled-0000000000000bad-{sequence:016x}.log");
        std::fs::File::create(receiver.path().join(&name)).unwrap().set_len(bytes).unwrap();
        std::fs::write(receiver.path().join(format!("{name}.progress")), "").unwrap();
        name
    };
    let names: Vec<String> = (0..limit::PULL_PARTS_UNCLAIMED_MAX + 5).map(|sequence| lay(sequence, 1)).collect();
    let receiver = receiver.restart();
    assert_eq!(receiver.journal.kept_parts(), names.len() + 1, "after a start nobody knows what is asked for next");
    assert_eq!(receiver.journal.trim_parts(&offer), 5);
    let left = parts_on_disk(&receiver);
    assert!(!left.contains(&names[4]) && left.contains(&names[5]), "the first go first");
    let large = limit::PULL_PARTS_UNCLAIMED_BYTES_MAX / 2;
    for name in &names[names.len() - 3..] {
        std::fs::OpenOptions::new().write(true).open(receiver.path().join(name)).unwrap().set_len(large).unwrap();
    }
    receiver.journal.trim_parts(&offer);
    let mut left = parts_on_disk(&receiver);
    left.retain(|name| !name.ends_with(".progress"));
    let own = format!("pulled-{}", journal::file::name(offer.manifest.files[0].id, offer.manifest.files[0].kind));
    let mut stay = [&names[names.len() - 2], &names[names.len() - 1], &own].map(String::clone);
    stay.sort();
    assert_eq!(left, stay, "two are as large as all may be, and what is asked for does not count");
    assert_eq!(receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().map(|part| part.position()), Some(0));
}

/// A table that was made anew may have made the file longer.
#[test]
fn a_whole_part_of_another_length_is_another_part() {
    let (sender, receiver) = pair();
    let wanted = a_file(&offer(&sender));
    assert!(copy(&sender, &receiver, &wanted, usize::MAX).1.is_none());
    assert!(receiver.journal.begin_part(&wanted, SYNC_BYTES).unwrap().is_none(), "it is here");
    let mut longer = wanted;
    longer.length += 1;
    let begun = receiver.journal.begin_part(&longer, SYNC_BYTES).unwrap();
    assert_eq!(begun.map(|part| part.position()), Some(0));
}

#[test]
fn a_snapshot_that_lacks_a_part_is_not_installed_and_the_part_is_copied_again() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    for wanted in offer.wanted() {
        assert!(copy(&sender, &receiver, &wanted, usize::MAX).1.is_none());
    }
    let listed = offer.manifest.files.last().unwrap();
    let part = format!("pulled-{}", journal::file::name(listed.id, listed.kind));
    std::fs::remove_file(receiver.path().join(part)).unwrap();
    assert!(receiver.journal.read_pulled(&offer).is_err() && receiver.journal.install(&offer).is_err());
    receiver.journal.drop_unusable_parts(&offer);
    let left = offer.wanted().count() - offer.manifest.checkpoint.len() - 1;
    assert_eq!(receiver.journal.kept_parts(), left);
    assert_eq!(install(&sender, &receiver), 60);
}

/// The process dies when files have their own names already, and no manifest lists them.
#[test]
fn an_installation_that_was_cut_short_costs_no_part() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    for wanted in offer.wanted() {
        assert!(copy(&sender, &receiver, &wanted, usize::MAX).1.is_none());
    }
    for listed in &offer.manifest.files {
        let own = journal::file::name(listed.id, listed.kind);
        std::fs::rename(receiver.path().join(format!("pulled-{own}")), receiver.path().join(own)).unwrap();
    }
    let receiver = receiver.restart();
    assert_eq!(install(&sender, &receiver), 60);
    assert_eq!(counted(&receiver), [0, offer.wanted().count() as u64, 0]);
}

/// Nothing lives.
struct Nothing;

impl Liveness for Nothing {
    fn live(&self, _: StreamId, _: Offset, _: Offset) -> Vec<std::ops::Range<u64>> {
        Vec::new()
    }
    fn expiry_class(&self, _: StreamId) -> u8 {
        1
    }
}

#[test]
fn what_is_handed_out_stays_readable_until_it_is_let_go() {
    let (sender, receiver) = pair();
    let offer = offer(&sender);
    let hold = sender.journal.hold(&offer.manifest).unwrap();
    let at = LogPosition { term: 1, index: sender.journal.applied() };
    sender.journal.write_base(at, &vec![(b"k".to_vec(), Some(vec![9]))]).unwrap();
    sender.journal.purge(at);
    let plan = sender.journal.plan_reclaim(&Nothing).unwrap();
    sender.journal.reclaim(plan).unwrap();
    for wanted in offer.wanted() {
        assert!(copy(&sender, &receiver, &wanted, usize::MAX).1.is_none());
    }
    drop(hold);
    let plan = sender.journal.plan_reclaim(&Nothing).unwrap();
    assert!(sender.journal.reclaim(plan).unwrap() > 0);
    let gone = offer.wanted().filter(|wanted| sender.journal.read_part(wanted.part, 0, CHUNK).is_err());
    assert_eq!(gone.count(), offer.wanted().count());
    assert!(sender.journal.hold(&offer.manifest).is_err(), "what is gone cannot be held");
    receiver.journal.install(&offer).unwrap();
}

fn flip(of: &Fixture, name: &str, place: u64) {
    let file = std::fs::File::options().read(true).write(true).open(of.path().join(name)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 4], place).unwrap();
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

/// A receiver whose files count no more and could not be removed, and a sender with a snapshot of the same and more.
fn pair_with_leftovers() -> (Fixture, Fixture, Vec<std::path::PathBuf>) {
    let (mut sender, receiver) = pair();
    install(&sender, &receiver);
    let finished = receiver.journal.finished();
    let paths: Vec<_> =
        finished.iter().map(|file| receiver.path().join(journal::file::name(file.id, file.kind))).collect();
    for path in &paths {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }
    let plan = receiver.journal.plan_reclaim(&Nothing).unwrap();
    receiver.journal.reclaim(plan).unwrap();
    assert!(receiver.journal.finished().is_empty());
    paths.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    fill(&mut sender, 61..62);
    checkpoint(&sender);
    sender.journal.roll();
    fill(&mut sender, 62..63);
    (sender, receiver, paths)
}

/// Its files have their names already when it fails; it is tried again.
#[test]
fn what_a_snapshot_is_about_to_bring_back_is_not_removed() {
    let (sender, receiver, paths) = pair_with_leftovers();
    let offer = offer(&sender);
    for wanted in offer.wanted() {
        assert!(copy(&sender, &receiver, &wanted, usize::MAX).1.is_none());
    }
    // What cannot be removed ends the installation.
    let obstacle = receiver.path().join(journal::compacted::NAME);
    std::fs::create_dir(&obstacle).unwrap();
    assert!(receiver.journal.install(&offer).is_err());
    assert!(paths.iter().all(|path| path.is_file()), "it ended too early: {paths:?}");
    receiver.journal.remove_leftovers().unwrap();
    assert!(paths.iter().all(|path| path.is_file()), "{paths:?}");
    std::fs::remove_dir(&obstacle).unwrap();
    receiver.journal.install(&offer).unwrap();
    assert_eq!(receiver.journal.finished().len(), offer.manifest.files.len());
}

/// A file that did not count any more could not be removed, and another snapshot brought it back.
#[test]
fn what_a_snapshot_brings_back_is_not_removed_later() {
    let (sender, receiver, paths) = pair_with_leftovers();
    install(&sender, &receiver);
    receiver.journal.remove_leftovers().unwrap();
    assert!(paths.iter().all(|path| path.is_file()), "{paths:?}");
    let receiver = receiver.restart();
    let slices = receiver.journal.read(StreamId(1), Offset(0), Offset(62), 1 << 20).unwrap();
    assert_eq!(slices.last().map(Slice::end), Some(Offset(62)));
}

/// The snapshot's last file has entries above it, in which pieces were refused, and so has this replica's own.
#[test]
fn what_was_refused_above_a_snapshot_is_remembered() {
    let store = |f: &mut Fixture, index: u64| {
        let (next, descs) = entry(1, index, &[(1, index - 1, 300), (2, 0, 10)]);
        f.append(vec![next]);
        f.journal.publish(index, &descs[..1], &[1]);
        f.settle();
    };
    let mut sender = Fixture::with(1 << 20, 8 << 10);
    fill(&mut sender, 0..50);
    checkpoint(&sender);
    (51..=100).for_each(|index| store(&mut sender, index));
    while sender.journal.finish_next().unwrap() {}
    let mut receiver = Fixture::with(1 << 20, 8 << 10);
    assert_eq!(install(&sender, &receiver), 50);
    let reach = receiver.journal.finished().iter().map(|file| file.table.last_index).max().unwrap();
    assert!(reach > 50, "the last file ends with the snapshot: nothing is tested");
    (51..=reach).for_each(|index| store(&mut receiver, index));
    receiver.journal.roll();
    receiver.settle();
    while receiver.journal.finish_next().unwrap() {}
    // Some manifest later.
    receiver.journal.set_in_doubt(false).unwrap();
    let finished = receiver.journal.finished();
    let own: Vec<_> = finished.iter().filter(|file| file.id.journal == receiver.journal.id()).collect();
    let refused: Vec<_> = own.iter().flat_map(|file| file.refused.iter().copied()).collect();
    assert_eq!(refused, (51..=reach).map(|index| (index, 1)).collect::<Vec<_>>());
    for file in own {
        flip(&receiver, &journal::file::name(file.id, file.kind), file.length - 20);
    }
    // A table that is made anew has nothing else to go by.
    let receiver = receiver.restart();
    let slices = receiver.journal.read(StreamId(2), Offset(0), Offset(1), 1000).unwrap();
    assert!(slices.is_empty(), "it was refused");
}

/// A sender with a file of ten entries of which six are settled: a copy of those is finished.
fn half_settled() -> Fixture {
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
    sender
}

/// The rest of it is settled, too.
fn settle_rest(sender: &mut Fixture) {
    for index in 7..=10 {
        sender.journal.publish(index, &entry(2, index, &[(1, index - 1, 300)]).1, &[]);
    }
    sender.journal.set_committed(10);
    assert!(sender.journal.finish_next().unwrap());
    assert_eq!(sender.journal.finished().len(), 2);
}

/// Of the entries that [`half_settled`] has, which terms and indexes.
fn half_settled_entries() -> Vec<(u64, u64)> {
    (1..=10).map(|index| (if index > 6 { 2 } else { 1 }, index)).collect()
}

fn reclaim_all(f: &Fixture) {
    let plan = f.journal.plan_reclaim(&Nothing).unwrap();
    f.journal.reclaim(plan).unwrap();
}

fn offsets(f: &Fixture, to: u64) -> Vec<u64> {
    let found = f.journal.read(StreamId(1), Offset(0), Offset(to), 1 << 20).unwrap();
    found.iter().map(|slice| slice.base.0).collect()
}

/// Nothing is written any more, so that the file being written stays as it is.
#[test]
fn a_copy_goes_when_the_file_is_finished_that_it_is_a_part_of() {
    let mut sender = half_settled();
    let part = sender.journal.finished()[0].id;
    sender.journal.purge(LogPosition { term: 1, index: 6 });
    reclaim_all(&sender);
    assert_eq!(sender.journal.pinned(), 1);
    assert!(sender.journal.finished().iter().any(|file| file.id == part), "it would count anew");
    settle_rest(&mut sender);
    assert_eq!(sender.journal.pinned(), 0);
    reclaim_all(&sender);
    assert!(sender.journal.finished().iter().all(|file| file.id != part), "it is needed no more");
}

/// An entry behind it is skipped, so the file that it was a part of is walked again.
#[test]
fn what_a_copy_had_stays_gone_when_the_file_counts_as_unfinished_again() {
    let mut sender = half_settled();
    settle_rest(&mut sender);
    sender.journal.purge(LogPosition { term: 1, index: 6 });
    reclaim_all(&sender);
    assert_eq!(sender.journal.finished().len(), 1, "of what was a copy nothing is alive");
    let disk = journal::disk::Folder::open(sender.path()).unwrap();
    let skip = journal::skips::Skip { index: 9, decided: model::Timestamp(0), reason: "a test".into() };
    journal::skips::add(&disk, vec![skip]).unwrap();
    let sender = sender.restart();
    assert!(sender.journal.finished().is_empty(), "the file does not count as unfinished");
    assert_eq!(sender.indexes(), half_settled_entries()[6..]);
    assert_eq!(offsets(&sender, 6), [0; 0]);
}

#[test]
fn damage_in_what_a_copy_has_is_no_doubt() {
    for value in ["1/0/", "1/2/", "1/5/", "1/6/", "1/8/"] {
        let sender = half_settled();
        let logs = std::fs::read_dir(sender.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = logs.filter(|path| path.extension().is_some_and(|end| end == "log")).min().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let body = bytes.windows(4).position(|window| window == value.as_bytes()).unwrap();
        let head = bytes[..body].windows(4).rposition(|window| window == b"MSF1").unwrap();
        flip(&sender, file.file_name().unwrap().to_str().unwrap(), head as u64 + 10);
        if value > "1/5/" {
            // Nobody else has what is not settled.
            assert!(matches!(sender.refused(), journal::OpenError::Lost { .. }), "{value}");
            continue;
        }
        let mut sender = sender.restart();
        assert!(!sender.recovered.in_doubt, "{value}: {:?}", sender.recovered);
        assert_eq!(sender.indexes(), half_settled_entries(), "{value}");
        assert_eq!(offsets(&sender, 10), [0, 1, 2, 3, 4, 5], "{value}");
        settle_rest(&mut sender);
        assert_eq!(offsets(&sender, 10), (0..10).collect::<Vec<_>>(), "{value}");
    }
}

/// A leader whose own entries nobody has yet: those who are to get them need what lies before, in the same file.
#[test]
fn what_is_settled_of_a_file_is_handed_on_before_the_rest_is() {
    let sender = half_settled();
    let receiver = Fixture::with(1 << 20, 8 << 10);
    assert_eq!(install(&sender, &receiver), 6);
    assert_eq!(offsets(&receiver, 10), [0, 1, 2, 3, 4, 5]);
    // The file itself still has what is not settled, also for who starts anew.
    let expected = half_settled_entries();
    assert_eq!(sender.indexes(), expected);
    let mut sender = sender.restart();
    assert_eq!(sender.indexes(), expected);
    assert_eq!(offsets(&sender, 10), [0, 1, 2, 3, 4, 5]);
    // What has a part of it must not go before it, or that part would count anew.
    let part = sender.journal.finished()[0].id;
    sender.journal.purge(LogPosition { term: 1, index: 6 });
    reclaim_all(&sender);
    assert!(sender.journal.finished().iter().any(|file| file.id == part));
    settle_rest(&mut sender);
    // Some manifest later: the files are listed.
    sender.journal.set_in_doubt(false).unwrap();
    let sender = sender.restart();
    assert_eq!(offsets(&sender, 10), (0..10).collect::<Vec<_>>());
    assert_eq!(sender.journal.last(), LogPosition { term: 2, index: 10 });
    while sender.journal.finish_next().unwrap() {}
    reclaim_all(&sender);
    assert!(sender.journal.finished().iter().all(|file| file.id != part));
}

#[test]
fn a_file_is_finished_once_however_many_try_at_once() {
    let mut f = Fixture::with(1 << 20, 8 << 10);
    for offset in 0..200 {
        f.store(&[(1, offset, 300)]);
    }
    f.journal.roll();
    f.settle();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| while f.journal.finish_next().unwrap() {});
        }
    });
    let finished = f.journal.finished();
    let ends: Vec<u64> = finished.iter().map(|file| file.table.last_index).collect();
    assert!(ends.len() > 4 && ends.is_sorted_by(|one, next| one < next) && ends.last() == Some(&200), "{ends:?}");
    f.journal.set_in_doubt(false).unwrap();
    assert_eq!(f.restart().indexes().len(), 200);
}
