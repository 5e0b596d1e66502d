//! A records field. The first byte says whether the checksums are made to match, which a fuzzer would
//! not find the way past otherwise.

use ::batch::compaction::{Horizon, Left, compact};
use ::batch::scan::{find_time, scan};
use ::batch::{Batch, BatchError, Batches, Compression};
use bytes::{Bytes, BytesMut};

const LIMIT: usize = 1 << 20;
const HORIZON: Horizon = Horizon { now: 1_700_000_000_000, keep_millis: Some(1000) };

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some((&mend, data)) = data.split_first() else { return };
    let mut bytes = BytesMut::from(data);
    if mend & 1 == 1
        && let Err(BatchError::Checksum { expected, .. }) = Batch::split_from(&mut Bytes::copy_from_slice(data))
    {
        bytes[17..21].copy_from_slice(&expected.to_be_bytes());
    }
    for batch in Batches::new(bytes.freeze()).flatten() {
        let scanned = scan(&batch, LIMIT);
        let read: Result<Vec<_>, _> = batch.records(LIMIT).and_then(Iterator::collect);
        assert!(scanned.is_err() || read.is_ok(), "what is accepted can be read: {scanned:?}, {read:?}");
        let _ = find_time(&batch, batch.max_timestamp(), LIMIT);
        if let Ok(facts) = scanned {
            let found = find_time(&batch, facts.max_timestamp, LIMIT);
            let timestamp = found.map(|found| found.map(|(_, timestamp)| timestamp));
            assert_eq!(timestamp, Ok(Some(facts.max_timestamp)), "what is there is found");
            let again = batch.compressed(Compression::Lz4, LIMIT).map(|batch| scan(&batch, LIMIT));
            assert_eq!(again, Ok(Ok(facts)), "another codec tells the same");
            let left =
                compact(&batch, LIMIT, HORIZON, |_, offset| offset % 2 == 0).expect("what is accepted is compacted");
            if let Left::Some(left) = left {
                let kept: Result<Vec<_>, _> = left.records(LIMIT).and_then(Iterator::collect);
                assert!(kept.is_ok_and(|kept| kept.len() <= batch.record_count() as usize), "what is left can be read");
            }
        }
    }
}
