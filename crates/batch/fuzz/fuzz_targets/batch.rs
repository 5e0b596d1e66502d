//! A records field. The first byte says whether the checksums are made to match, which a fuzzer would
//! not find the way past otherwise.
#![no_main]

use batch::scan::scan;
use batch::{Batch, BatchError, Batches};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
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
    }
});
