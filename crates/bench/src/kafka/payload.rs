//! The batches that are produced: encoded once, and numbered each time they are sent, so that every
//! record can be told from every other at the price of a checksum.
//!
//! The first record's value starts with a stamp: the producer and the number of the batch, and when it
//! was meant to be sent. All else is the same in all batches of a producer, so a batch that comes back
//! is compared byte by byte, and what its number says holds for each of its records. In a compressed
//! batch the stamp lies in a block of its own, which lz4 leaves as it is because it does not compress.

use crate::Outcome;
use batch::{BatchBuilder, Record};
use bytes::{Bytes, BytesMut};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use model::checksum::crc32c;
use std::io::Write;

/// Bytes of a batch before its records.
const HEAD: usize = 61;
/// Where Kafka's checksum stands, and from where on it counts.
const CHECKSUM: usize = 17;
const COVERED: usize = 21;
/// Where the two timestamps stand, which change with every sending.
const TIMESTAMPS: std::ops::Range<usize> = 27..43;
/// What stands where the stamp will be. Like a stamp it does not compress.
const PLACE: [u8; STAMP] = *b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15\xbf\x58\x47\x6d\x1c\xe4\xe5\xb9";
const STAMP: usize = 16;
/// The attribute for lz4.
const LZ4: u8 = 3;
/// Bytes of a record around its value: lengths, deltas, and no key.
const AROUND: usize = 10;
/// Bytes of a key.
const KEY: usize = 16;

/// What batches are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of a record's value.
    pub(crate) record: usize,
    /// Bytes of a batch, before compression; at least one record is in it.
    pub(crate) batch: usize,
    pub(crate) keyed: bool,
    pub(crate) lz4: bool,
}

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: u16,
    pub(crate) number: u64,
    /// Nanoseconds from the start of the load to when it was meant to be sent.
    pub(crate) nanos: u64,
}

impl Stamp {
    fn encode(self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        bytes[..8].copy_from_slice(&(u64::from(self.producer) << 48 | self.number).to_be_bytes());
        bytes[8..].copy_from_slice(&self.nanos.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; STAMP]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let (name, nanos) = ((both >> 64) as u64, both as u64);
        Stamp { producer: (name >> 48) as u16, number: name & 0xffff_ffff_ffff, nanos }
    }
}

/// A producer's batch.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    stamp: usize,
    pub(crate) records: u64,
}

impl Template {
    /// The batch of one producer: keys and values are its own.
    pub(crate) fn new(shape: Shape, producer: u16) -> Outcome<Self> {
        let mut chance = Chance(u64::from(producer) + 1);
        let each = shape.record + AROUND + if shape.keyed { KEY } else { 0 };
        let records = (shape.batch.saturating_sub(HEAD) / each).max(1);
        let record = |nth: usize| {
            let mut value = text(&mut chance, shape.record.max(STAMP));
            if nth == 0 {
                value[..STAMP].copy_from_slice(&PLACE);
            }
            let key = shape.keyed.then(|| {
                let halves = [chance.next().to_be_bytes(), chance.next().to_be_bytes()];
                Bytes::from(halves.concat())
            });
            Record { offset_delta: nth as i32, key, value: Some(value.into()), ..Record::default() }
        };
        let plain = BatchBuilder { records: (0..records).map(record).collect(), ..BatchBuilder::default() }.encode();
        let bytes = if shape.lz4 { compressed(&plain)? } else { plain.to_vec() };
        let places: Vec<usize> = bytes.windows(STAMP).enumerate().filter(|(_, w)| *w == PLACE).map(|w| w.0).collect();
        let [stamp] = places[..] else { return Err("a batch has not one place for a stamp".into()) };
        let mut template = Template { bytes, stamp, records: records as u64 };
        template.stamp(Stamp { producer, ..Stamp::default() }, 0);
        Ok(template)
    }

    /// Numbers it for being sent at `millis` since 1970.
    pub(crate) fn stamp(&mut self, stamp: Stamp, millis: i64) -> &[u8] {
        self.bytes[self.stamp..][..STAMP].copy_from_slice(&stamp.encode());
        for half in [0, 8] {
            self.bytes[TIMESTAMPS.start + half..][..8].copy_from_slice(&millis.to_be_bytes());
        }
        let checksum = crc32c(&self.bytes[COVERED..]);
        self.bytes[CHECKSUM..COVERED].copy_from_slice(&checksum.to_be_bytes());
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// What a batch of this template says, when nothing but what changes with every sending differs.
    pub(crate) fn recognise(&self, found: &[u8]) -> Option<Stamp> {
        let end = self.stamp + STAMP;
        let same = found.len() == self.bytes.len()
            && found[8..12] == self.bytes[8..12]
            && found[COVERED..TIMESTAMPS.start] == self.bytes[COVERED..TIMESTAMPS.start]
            && found[TIMESTAMPS.end..self.stamp] == self.bytes[TIMESTAMPS.end..self.stamp]
            && found[end..] == self.bytes[end..];
        same.then(|| self.stamp_of(found)).flatten()
    }

    /// The stamp where this template has it. Templates of one shape need not have it at one place.
    pub(crate) fn stamp_of(&self, found: &[u8]) -> Option<Stamp> {
        Some(Stamp::decode(found.get(self.stamp..self.stamp + STAMP)?.try_into().ok()?))
    }
}

/// The same batch in lz4, what the stamp's place ends with in a block of its own.
fn compressed(plain: &[u8]) -> Outcome<Vec<u8>> {
    let records = &plain[HEAD..];
    let place = records.windows(STAMP).position(|window| window == PLACE).ok_or("no place for a stamp")?;
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&records[..place + STAMP])?;
    encoder.flush()?;
    encoder.write_all(&records[place + STAMP..])?;
    let records = encoder.finish()?;
    let mut bytes = BytesMut::from(&plain[..HEAD]);
    bytes.extend_from_slice(&records);
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] |= LZ4;
    Ok(bytes.to_vec())
}

/// Words that events are made of.
const WORDS: [&str; 24] = [
    "order",
    "created",
    "customer",
    "warehouse",
    "shipped",
    "pending",
    "invoice",
    "europe",
    "checkout",
    "session",
    "device",
    "mobile",
    "payment",
    "accepted",
    "refund",
    "basket",
    "product",
    "category",
    "garden",
    "kitchen",
    "express",
    "standard",
    "north",
    "south",
];

/// An event as programs write them, of exactly so many bytes: names that repeat and numbers that do not.
fn text(chance: &mut Chance, length: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < length {
        let word = |chance: &mut Chance| WORDS[(chance.next() % WORDS.len() as u64) as usize];
        let (one, other) = (word(chance), word(chance));
        let (id, amount) = (chance.next() % 100_000_000, chance.next() % 100_000);
        text.push_str(&format!("{{\"id\":{id},\"event\":\"{one}\",\"state\":\"{other}\",\"amount\":{amount}}},"));
    }
    text.truncate(length);
    text.into_bytes()
}

/// Numbers that are the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batch::Batch;
    use std::collections::HashSet;

    const SHAPES: [Shape; 4] = [
        Shape { record: 1024, batch: 64 << 10, keyed: false, lz4: false },
        Shape { record: 100, batch: 16 << 10, keyed: true, lz4: false },
        Shape { record: 100, batch: 0, keyed: false, lz4: false },
        Shape { record: 1024, batch: 64 << 10, keyed: true, lz4: true },
    ];

    fn records(bytes: &[u8]) -> Vec<Record> {
        let mut all = Bytes::copy_from_slice(bytes);
        let batch = Batch::split_from(&mut all).unwrap();
        assert!(all.is_empty());
        batch::scan::scan(&batch, 1 << 20).unwrap();
        batch.records(1 << 20).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_stamped_batch_is_a_good_batch_that_says_its_number() {
        for shape in SHAPES {
            let mut template = Template::new(shape, 7).unwrap();
            let stamp = Stamp { producer: 7, number: 123_456_789_012, nanos: 5_000_000_000 };
            let bytes = template.stamp(stamp, 1_700_000_000_000).to_vec();
            let found = records(&bytes);
            assert_eq!(found.len() as u64, template.records);
            assert_eq!(found[0].value.as_ref().unwrap()[..STAMP], stamp.encode());
            assert!(found.iter().all(|record| record.value.as_ref().unwrap().len() == shape.record));
            assert_eq!(model::PieceHead::parse(&bytes).unwrap().max_timestamp.0, 1_700_000_000_000);
            assert_eq!(template.recognise(&bytes), Some(stamp));
        }
    }

    #[test]
    fn batches_fill_what_they_may() {
        let template = Template::new(SHAPES[0], 1).unwrap();
        assert!(template.len() <= 64 << 10 && template.len() > 62 << 10, "{}", template.len());
        assert_eq!(Template::new(SHAPES[2], 1).unwrap().records, 1);
    }

    #[test]
    fn keys_are_distinct() {
        let template = Template::new(SHAPES[1], 1).unwrap();
        let keys: HashSet<_> = records(&template.bytes).into_iter().map(|record| record.key.unwrap()).collect();
        assert_eq!(keys.len() as u64, template.records);
    }

    #[test]
    fn payloads_compress_as_the_report_says() {
        for (record, batch, said) in [(1024, 64 << 10, 2.7), (100, 16 << 10, 2.4)] {
            let shape = Shape { record, batch, keyed: false, lz4: true };
            let plain = Template::new(Shape { lz4: false, ..shape }, 1).unwrap();
            let ratio = plain.len() as f64 / Template::new(shape, 1).unwrap().len() as f64;
            assert!((ratio - said).abs() < 0.1, "{record} B: {ratio}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let mut template = Template::new(SHAPES[1], 3).unwrap();
        let bytes = template.stamp(Stamp { producer: 3, ..Stamp::default() }, 1).to_vec();
        let other = Template::new(SHAPES[1], 4).unwrap();
        assert_eq!(other.recognise(&bytes), None, "another producer's");
        for at in (COVERED..bytes.len()).filter(|at| !TIMESTAMPS.contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let stamped = (template.stamp..template.stamp + STAMP).contains(&at);
            assert_eq!(template.recognise(&changed).is_some(), stamped, "byte {at}");
        }
        assert_eq!(template.recognise(&bytes[..bytes.len() - 1]), None);
    }
}
