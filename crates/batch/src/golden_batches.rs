//! Batches as kafka-python 3.0.12 builds them, with its codecs: gzip, xerial snappy, lz4, zstd.

use super::batch::{self, Batch, BatchError, Batches};
use super::builder::BatchBuilder;
use super::compression::Compression;
use super::record::{Header, Record, RecordError};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

const NONE: &str = "\
    0000000000000000000000a20000000002eaa2c58a0000000000020000018bcfe568000000018bcfe5680500\
    00000000000007000100000005000000036c000000026b507676767676767676767676767676767676767676\
    76767676767676767676767676767676767676760402680278026e015c000a02015076767676767676767676\
    767676767676767676767676767676767676767676767676767676767676001400060408676f6e650100";

const GZIP: &str = "\
    00000000000000000000006a000000000288b59a670001000000020000018bcfe568000000018bcfe5680500\
    00000000000007000100000005000000031f8b08002491016b02ffcb61606060ca0e282312b03065305530e5\
    31c63070313112ad8b4184818d85233d3f2f95910100a69365da71000000";

const SNAPPY: &str = "\
    0000000000000000000000700000000002981b30ff0002000000020000018bcfe568000000018bcfe5680500\
    000000000000070001000000050000000382534e415050590000000001000000010000002b711c6c00000002\
    6b50769a0100300402680278026e015c000a0201a236002c001400060408676f6e650100";

const LZ4: &str = "\
    000000000000000000000072000000000279092b600003000000020000018bcfe568000000018bcfe5680500\
    000000000000070001000000050000000304224d1868407100000000000000ef2a0000008f6c000000026b50\
    76010014df0402680278026e015c000a0201360016c0001400060408676f6e65010000000000";

const ZSTD: &str = "\
    0000000000000000000000650000000002bccb60430004000000020000018bcfe568000000018bcfe5680500\
    000000000000070001000000050000000328b52ffd20715d010014026c000000026b50760402680278026e01\
    5c000a0201001400060408676f6e6501000200b282be127001";

const LIMIT: usize = 1 << 20;

fn golden(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The one batch that all of the above are, but for the compression.
fn expected() -> BatchBuilder {
    let record = |offset_delta, timestamp_delta, key: Option<&'static str>, value: Option<String>| Record {
        timestamp_delta,
        offset_delta,
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: Vec::new(),
    };
    let mut first = record(0, 0, Some("k"), Some("v".repeat(40)));
    first.headers = vec![Header { key: "h".into(), value: Some("x".into()) }, Header { key: "n".into(), value: None }];
    BatchBuilder {
        leader_epoch: 0,
        base_timestamp: 1_700_000_000_000,
        producer_id: 7,
        producer_epoch: 1,
        base_sequence: 5,
        records: vec![first, record(1, 5, None, Some("v".repeat(40))), record(2, 3, Some("gone"), None)],
        ..BatchBuilder::default()
    }
}

fn one(bytes: Bytes) -> Result<Batch, BatchError> {
    Batches::new(bytes).next().unwrap()
}

fn records(batch: &Batch) -> Vec<Record> {
    batch.records(LIMIT).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn reads_every_compression() {
    let all = [
        (NONE, Compression::None),
        (GZIP, Compression::Gzip),
        (SNAPPY, Compression::Snappy),
        (LZ4, Compression::Lz4),
        (ZSTD, Compression::Zstd),
    ];
    for (hex, compression) in all {
        let batch = one(golden(hex)).unwrap();
        assert_eq!(batch.compression(), compression);
        assert_eq!((batch.base_offset(), batch.leader_epoch()), (0, 0));
        assert_eq!((batch.last_offset_delta(), batch.record_count()), (2, 3));
        assert_eq!(batch.base_timestamp(), 1_700_000_000_000);
        assert_eq!(batch.max_timestamp(), 1_700_000_000_005);
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (7, 1, 5));
        assert!(!batch.has_append_time() && !batch.is_transactional());
        assert!(!batch.is_control() && !batch.has_delete_horizon());
        assert_eq!(records(&batch), expected().records, "{compression:?}");
    }
}

#[test]
fn reads_snappy_without_the_java_chunks() {
    let batch = one(golden(NONE)).unwrap();
    let plain = batch.as_bytes().slice(batch::HEAD..);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let again = super::compression::decompress(Compression::Snappy, raw.into(), LIMIT).unwrap();
    assert_eq!(again, plain);
}

#[test]
fn writes_the_same_bytes() {
    assert_eq!(expected().encode(), golden(NONE));
}

#[test]
fn takes_no_more_than_the_limit() {
    let length = golden(NONE).len() - batch::HEAD;
    for hex in [GZIP, SNAPPY, LZ4, ZSTD] {
        let batch = one(golden(hex)).unwrap();
        assert!(batch.records(length).is_ok());
        assert_eq!(batch.records(length - 1).unwrap_err(), RecordError::TooLarge { limit: length - 1 });
    }
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![0; 64 << 20];
    let bomb = zstd::encode_all(&zeros[..], 19).unwrap();
    let error = super::compression::decompress(Compression::Zstd, bomb.into(), LIMIT).unwrap_err();
    assert_eq!(error, RecordError::TooLarge { limit: LIMIT });
    // A snappy block that claims 4 GiB, and an xerial chunk that claims more than there is.
    let claim = Bytes::from_static(b"\xff\xff\xff\xff\x0f\0");
    let error = super::compression::decompress(Compression::Snappy, claim, LIMIT).unwrap_err();
    assert_eq!(error, RecordError::TooLarge { limit: LIMIT });
    let claim = Bytes::from_static(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff\0");
    let error = super::compression::decompress(Compression::Snappy, claim, LIMIT).unwrap_err();
    assert_eq!(error, RecordError::Compressed);
}

#[test]
fn walks_batches_to_the_first_that_is_none() {
    let mut bytes = BytesMut::from(&golden(NONE)[..]);
    bytes.extend_from_slice(&golden(ZSTD));
    let whole: Result<Vec<_>, _> = Batches::new(bytes.clone().freeze()).collect();
    assert_eq!(whole.unwrap().len(), 2);
    bytes.truncate(bytes.len() - 1);
    let results: Vec<_> = Batches::new(bytes.freeze()).collect();
    assert!(matches!(results[..], [Ok(_), Err(BatchError::Truncated { .. })]));
}

#[test]
fn refuses_what_is_wrong_with_a_head() {
    let with = |at: usize, bytes: &[u8], sum: bool| {
        let mut batch = BytesMut::from(&golden(NONE)[..]);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        if sum {
            let checksum = batch::checksum(&batch);
            batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        }
        one(batch.freeze()).unwrap_err()
    };
    assert_eq!(with(8, &(-1_i32).to_be_bytes(), false), BatchError::Length(-1));
    assert_eq!(with(8, &48_i32.to_be_bytes(), false), BatchError::Length(48));
    assert!(matches!(with(8, &i32::MAX.to_be_bytes(), false), BatchError::Truncated { .. }));
    assert_eq!(with(16, &[1], false), BatchError::Magic(1));
    assert!(matches!(with(60, &[9], false), BatchError::Checksum { .. }));
    assert_eq!(with(22, &[5], true), BatchError::Compression(5));
    let count = |count, last_offset_delta| BatchError::Count { count, last_offset_delta };
    assert_eq!(with(57, &4_i32.to_be_bytes(), true), count(4, 2));
    assert_eq!(with(57, &0_i32.to_be_bytes(), true), count(0, 2));
    assert_eq!(with(23, &(-1_i32).to_be_bytes(), true), count(3, -1));
    assert!(matches!(one(Bytes::from_static(b"\0")), Err(BatchError::Truncated { .. })));
    // An old message can be shorter than a head. With 16 bytes there is no magic yet.
    let old = Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0\0\x0e\0\0\0\0\x01\0");
    assert_eq!(one(old.slice(..17)), Err(BatchError::Magic(1)));
    assert_eq!(one(old.slice(..16)), Err(BatchError::Truncated { wanted: batch::HEAD, left: 16 }));
    let cut = golden(NONE).slice(..60);
    assert_eq!(one(cut), Err(BatchError::Truncated { wanted: batch::HEAD, left: 60 }));
    // No records at all, which compaction may leave behind but no producer sends.
    let empty = BatchBuilder { records: Vec::new(), ..expected() }.encode();
    assert_eq!(one(empty), Err(count(0, -1)));
}

#[test]
fn a_place_does_not_touch_the_checksum() {
    let mut bytes = BytesMut::from(&golden(GZIP)[..]);
    batch::place(&mut bytes, 1 << 40, 17);
    let batch = one(bytes.freeze()).unwrap();
    assert_eq!((batch.base_offset(), batch.leader_epoch()), (1 << 40, 17));
    batch::place(&mut [0; 60], 1, 1);
}

fn arbitrary_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from)
}

prop_compose! {
    fn arbitrary_record()(
        timestamp_delta in any::<i64>(),
        offset_delta in any::<i32>(),
        key in prop::option::of(arbitrary_bytes()),
        value in prop::option::of(arbitrary_bytes()),
        headers in prop::collection::vec((arbitrary_bytes(), prop::option::of(arbitrary_bytes())), 0..4),
    ) -> Record {
        let headers = headers.into_iter().map(|(key, value)| Header { key, value }).collect();
        Record { timestamp_delta, offset_delta, key, value, headers }
    }
}

proptest! {
    #[test]
    fn records_come_back(records in prop::collection::vec(arbitrary_record(), 1..5)) {
        let builder = BatchBuilder { records, ..BatchBuilder::default() };
        let batch = one(builder.encode()).unwrap();
        prop_assert_eq!(self::records(&batch), builder.records);
    }

    #[test]
    fn hostile_records_are_errors(
        codec in 0..5_usize,
        at in 0_usize..1000,
        bytes in prop::collection::vec(any::<u8>(), 0..8),
        cut in 0_usize..50,
    ) {
        // The checksum is made to match again: it is no protection from who chose the bytes.
        let mut batch = BytesMut::from(&golden([NONE, GZIP, SNAPPY, LZ4, ZSTD][codec])[..]);
        batch.truncate(batch.len() - cut % (batch.len() - batch::HEAD));
        let at = batch::HEAD + at % (batch.len() - batch::HEAD);
        for (target, byte) in batch[at..].iter_mut().zip(bytes) {
            *target = byte;
        }
        let length = batch.len() as i32 - 12;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        let checksum = batch::checksum(&batch);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        let batch = one(batch.freeze()).unwrap();
        if let Ok(records) = batch.records(LIMIT) {
            records.for_each(drop);
        }
    }
}
