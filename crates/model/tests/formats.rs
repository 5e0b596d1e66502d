//! Entries, messages and interval sets byte by byte, and whatever bytes there are: nothing panics,
//! and what is written is read back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod golden;

use bytes::Bytes;
use golden::golden;
use model::record::Message;
use model::wire::Wire;
use model::{Entry, EntryBuilder, Hlc, IntervalSet, LeaderEpoch, Offset, PieceHead, StreamId, Timestamp, piece};
use proptest::collection::vec;
use proptest::prelude::*;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn message() -> Message<'static> {
    Message {
        key: Some(b"key"),
        message_id: Some(b"id-1"),
        expiry: Some(Timestamp(1_700_000_060_000)),
        priority: Some(9),
        timestamp: Timestamp(1_700_000_000_000),
        headers: vec![(b"name", b"value"), (b"", b"")],
        properties: Some((3, b"properties")),
        value: b"value",
    }
}

#[test]
fn a_message_is_as_drawn() {
    let bytes = golden(HERE, "message", &message().encode().unwrap());
    piece::verify(&bytes).unwrap();
    assert_eq!(Message::decode(&bytes).unwrap(), message());
    let bare = Message { value: b"v", ..Message::default() };
    let bytes = golden(HERE, "message_bare", &bare.encode().unwrap());
    assert_eq!(Message::decode(&bytes).unwrap(), bare);
}

fn entry() -> (Bytes, Vec<Vec<u8>>) {
    let bodies = vec![message().encode().unwrap(), Message { value: b"v", ..Message::default() }.encode().unwrap()];
    let mut builder = EntryBuilder::new();
    let heads: Vec<_> = bodies.iter().map(|body| PieceHead::parse(body).unwrap()).collect();
    let first = builder.add_piece(StreamId(7), Offset(40), LeaderEpoch(2), &heads[0], bodies[0].clone().into(), None);
    builder.share_piece(first, StreamId(8), Offset(3), LeaderEpoch(1));
    builder.add_piece(StreamId(7), Offset(41), LeaderEpoch(2), &heads[1], bodies[1].clone().into(), None);
    builder.add_command(&0x1122_3344u32);
    builder.add_command(&0x5566u16);
    builder.want_fsync();
    (builder.finish(Hlc(0x0123_4567_89ab_cdef)), bodies)
}

#[test]
fn an_entry_is_as_drawn() {
    let (bytes, bodies) = entry();
    let entry = Entry::parse(Bytes::from(golden(HERE, "entry", &bytes))).unwrap();
    assert_eq!((entry.time(), entry.wants_fsync()), (Hlc(0x0123_4567_89ab_cdef), true));
    assert_eq!((entry.command_count(), entry.commands()), (2, &[0x44, 0x33, 0x22, 0x11, 0x66, 0x55][..]));
    let places: Vec<_> = entry.pieces().map(|desc| (desc.stream.0, desc.base.0, desc.epoch.0)).collect();
    assert_eq!(places, [(7, 40, 2), (8, 3, 1), (7, 41, 2)]);
    for (desc, body) in entry.pieces().zip([&bodies[0], &bodies[0], &bodies[1]]) {
        assert_eq!(entry.body(&desc)[16..], body[16..]);
    }
}

#[test]
fn a_set_is_as_drawn() {
    let mut set = IntervalSet::new();
    for range in [0..1, 5..300, 1_000_000..1_000_001] {
        set.insert(range);
    }
    assert_eq!(IntervalSet::from_wire(&golden(HERE, "interval_set", &set.to_wire())), Ok(set));
}

proptest! {
    #[test]
    fn mutated_messages_do_not_panic_and_are_noticed(at in 0usize..200, byte: u8) {
        let good = message().encode().unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Message::decode(&bytes);
        for found in piece::walk(&bytes) {
            let _ = found;
        }
        // What the leader writes, the length and the form are outside the checksum.
        if at >= 17 && byte != good[at] {
            prop_assert!(piece::verify(&bytes).is_err());
        }
    }

    #[test]
    fn mutated_entries_do_not_panic(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in 0usize..40) {
        let mut bytes = entry().0.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        let _ = model::entry::descriptions(&bytes);
        if let Ok(entry) = Entry::parse(Bytes::from(bytes)) {
            for desc in entry.pieces() {
                let _ = PieceHead::parse(entry.body(&desc));
                let _ = Message::decode(entry.body(&desc));
            }
        }
    }

    #[test]
    fn sets_are_read_back_and_no_bytes_panic(ranges in vec((0u64..2000, 1u64..50), 0..40), bytes in vec(any::<u8>(), 0..60)) {
        let mut set = IntervalSet::new();
        for (from, count) in ranges {
            set.insert(from..from + count);
        }
        prop_assert_eq!(IntervalSet::from_wire(&set.to_wire()), Ok(set));
        if let Ok(set) = IntervalSet::from_wire(&bytes) {
            prop_assert_eq!(IntervalSet::from_wire(&set.to_wire()), Ok(set));
        }
    }
}
