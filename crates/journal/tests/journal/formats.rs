//! A journal's folder byte by byte, and whatever bytes its files have: nothing panics, and no bytes
//! are taken for others.

#[path = "../../../model/tests/golden/mod.rs"]
pub(crate) mod golden;

use crate::fixture::{Fixture, value};
use golden::golden;
use journal::disk::{Disk, DiskFile, Folder};
use journal::file::{FileId, FileKind, parse_name};
use journal::install::{SnapshotManifest, SnapshotOffer};
use journal::manifest::{CheckpointFile, LogPosition, Manifest, NAME};
use journal::progress::RECORD_BYTES;
use journal::scan::Scanner;
use journal::skips::{self, Skip};
use journal::table::TableHead;
use journal::{CacheBudget, Journal, Liveness, Options};
use model::checksum::crc32c_of;
use model::record::Message;
use model::{Offset, ShardId, StreamId, Timestamp};
use proptest::prelude::*;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn what_says_how_much_of_a_part_is_here_is_as_drawn() {
    let f = Fixture::new();
    let checkpoint = vec![CheckpointFile { number: 3, length: 40 }];
    let manifest = SnapshotManifest { at: LogPosition { term: 1, index: 3 }, checkpoint, files: Vec::new() };
    let offer = SnapshotOffer { journal: 0xfeed, manifest };
    let wanted = offer.wanted().next().unwrap();
    let mut writer = f.journal.begin_part(&wanted, 10).unwrap().unwrap();
    for chunk in [[1; 10], [2; 10]] {
        writer.write(&chunk, crc32c_of(&[&writer.position().to_le_bytes(), &chunk])).unwrap();
    }
    let name = "pulled-000000000000feed-0000000000000003.checkpoint.progress";
    let bytes = golden(HERE, "progress", &std::fs::read(f.path().join(name)).unwrap());
    assert_eq!(bytes.len(), 3 * RECORD_BYTES);
    assert_eq!(writer.position(), 20);
}

/// Only stream 1 lives.
struct OneStream;

impl Liveness for OneStream {
    fn live(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<Range<u64>> {
        if stream == StreamId(1) { std::iter::once(from.0..to.0).collect() } else { Vec::new() }
    }
    fn expiry_class(&self, _stream: StreamId) -> u8 {
        1
    }
}

/// A file of a small journal.
struct Drawn {
    what: &'static str,
    name: String,
    /// Of a log file or packed file.
    id: Option<FileId>,
    bytes: Vec<u8>,
}

/// One of each sort: the first log file is finished and what lives in it packed, the second is
/// finished, the third is not.
fn files() -> Vec<Drawn> {
    let mut f = Fixture::of_formats(1 << 20, 64 << 10);
    f.journal.save_vote(b"vote"[..].into(), Box::new(|| {}));
    f.settle();
    for offset in 0..3 {
        f.store(&[(1, offset, 20), (2, offset, 2000)]);
    }
    f.journal.roll();
    f.store(&[(1, 3, 20)]);
    f.journal.roll();
    f.store(&[(1, 4, 20)]);
    while f.journal.finish_next().unwrap() {}
    let at = LogPosition { term: 1, index: 3 };
    let changes = vec![(b"key".to_vec(), Some(b"value".to_vec())), (b"gone".to_vec(), None)];
    f.journal.write_checkpoint(at, &changes).unwrap();
    f.journal.purge(at);
    f.journal.reclaim(f.journal.plan_reclaim(&OneStream).unwrap()).unwrap();
    f.journal.close().unwrap();
    let disk = Folder::open(f.path()).unwrap();
    // The boot is this machine's.
    let manifest = Manifest { boot_id: 0x1234, ..Manifest::read(&disk).unwrap().unwrap() };
    manifest.write(&disk).unwrap();
    let mut drawn = Vec::new();
    for name in disk.list().unwrap() {
        let id = parse_name(&name);
        let finished = id.is_some_and(|(id, _)| manifest.files.iter().any(|listed| listed.id == id));
        let what = match id {
            None if name == NAME => "manifest",
            None if name.starts_with("checkpoint") => "checkpoint",
            Some((_, FileKind::Packed)) => "packed_file",
            Some((_, FileKind::Log)) if finished => "log_file",
            Some((_, FileKind::Log)) => "open_log_file",
            None => continue,
        };
        let mut bytes = std::fs::read(f.path().join(&name)).unwrap();
        if what == "open_log_file" {
            // Space is reserved behind what is written.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end.next_multiple_of(8));
        }
        drawn.push(Drawn { what, name, id: id.map(|(id, _)| id), bytes });
    }
    assert_eq!(drawn.len(), 5, "one of each");
    drawn
}

#[test]
fn files_are_as_drawn_and_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for Drawn { what, name, bytes, .. } in files() {
        std::fs::write(folder.path().join(name), golden(HERE, what, &bytes)).unwrap();
    }
    let disk = Arc::new(Folder::open(folder.path()).unwrap());
    let options = Options::new(ShardId(1), CacheBudget::new(0), 0);
    let (journal, _writer, recovered) = Journal::open(disk, options).unwrap();
    assert!(!recovered.in_doubt, "it was closed");
    assert_eq!(journal.vote().as_deref(), Some(&b"vote"[..]));
    let (at, objects) = journal.read_checkpoint().unwrap();
    assert_eq!((at.index, objects.len(), objects[&b"key"[..]].as_slice()), (3, 1, &b"value"[..]));
    let indexes: Vec<u64> = journal.entries(4, 6, 10_000).unwrap().iter().map(|entry| entry.at.index).collect();
    assert_eq!(indexes, [4, 5]);
    let slices = journal.read(StreamId(1), Offset(0), Offset(4), 10_000).unwrap();
    let pieces: Vec<_> =
        slices.iter().flat_map(|slice| model::piece::walk(&slice.bytes).map(move |f| (slice, f))).collect();
    assert_eq!(pieces.len(), 4);
    for (nth, (slice, found)) in pieces.into_iter().enumerate() {
        let (head, range) = found.unwrap();
        assert_eq!(head.base, Offset(nth as u64));
        let message = Message::decode(&slice.bytes[range]).unwrap();
        assert_eq!(message.value, value(1, nth as u64, 20));
    }
}

#[test]
fn the_record_of_skipped_entries_is_as_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    assert_eq!(skips::read(&disk).unwrap(), []);
    let list = [(7, "first"), (9, "")].map(|(index, reason)| Skip {
        index,
        decided: Timestamp(1_700_000_000_000),
        reason: reason.into(),
    });
    list.iter().for_each(|skip| skips::add(&disk, vec![skip.clone()]).unwrap());
    let path = folder.path().join(skips::NAME);
    let bytes = golden(HERE, "skips", &std::fs::read(&path).unwrap());
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(skips::read(&disk).unwrap(), list);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(skips::read(&disk), Err(skips::SkipsError::Damaged)), "byte {at}");
    }
}

/// Reads a file in every way there is.
fn read_all(file: &dyn DiskFile, id: FileId) -> (usize, usize) {
    let length = file.length().unwrap();
    let mut extents = 0;
    if let Ok(table) = TableHead::read(file, length, id) {
        let _ = table.entries(file);
        extents = table.all_extents(file).take_while(Result::is_ok).count();
        let _ = table.extents_from(file, StreamId(1), Offset(1)).count();
    }
    let mut frames = 0;
    if let Some((_, mut scanner)) = Scanner::open(file, length, 0, 0).unwrap() {
        while scanner.next_frame().unwrap().is_ok() {
            frames += 1;
        }
    }
    (frames, extents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_files_do_not_panic(
        which in 0usize..5,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop_oneof![3 => Just(0usize), 1 => 0usize..200],
        trust: bool,
    ) {
        let Drawn { what, id, bytes, .. } = &ORIGINAL[which];
        let mut changed = bytes.clone();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        changed.truncate(changed.len().saturating_sub(cut));
        if trust {
            believe(what, *id, &mut changed);
        }
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let file = disk.create(NAME, 0).unwrap();
        file.write_at(0, &[IoSlice::new(&changed)]).unwrap();
        let _ = Manifest::read(&disk);
        let (frames, extents) = read_all(&*file, id.unwrap_or(FileId { journal: 0, sequence: 0 }));
        prop_assert!(frames <= 8 && extents <= 8, "{frames} frames, {extents} extents");
        if *what == "checkpoint" {
            let number = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
            disk.rename(NAME, &journal::checkpoint::name(number)).unwrap();
            let listed = journal::manifest::CheckpointFile { number, length: changed.len() as u64 };
            let read = journal::checkpoint::read_chain(&disk, &[listed]);
            if !trust && changed != *bytes {
                prop_assert!(read.is_err());
            }
        }
    }
}

static ORIGINAL: std::sync::LazyLock<Vec<Drawn>> = std::sync::LazyLock::new(files);

/// Makes the outermost checksum match, which chance would not.
fn believe(what: &str, id: Option<FileId>, bytes: &mut [u8]) {
    let crc = |bytes: &[u8]| model::checksum::crc32c(bytes).to_le_bytes();
    let end = bytes.len();
    match what {
        "manifest" if end > 12 => {
            let sum = crc(&bytes[..end - 4]);
            bytes[end - 4..].copy_from_slice(&sum);
        }
        "checkpoint" if end >= 64 => {
            let sum = crc(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum);
        }
        "log_file" | "packed_file" if end >= 192 => {
            let sum = crc(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum);
            let (id, trailer) = (id.expect("a file with an id"), end - 128);
            let sum = model::checksum::crc32c_of(&[&id.number().to_le_bytes(), &bytes[trailer..end - 4]]);
            bytes[end - 4..].copy_from_slice(&sum.to_le_bytes());
        }
        _ => {}
    }
}
