//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod batch;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

use ::batch::{Batch, BatchBuilder, Compression, Header, Record};
use bytes::Bytes;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A batch with keys and without, values and none, and headers.
fn plain() -> Batch {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let header = |key: &'static str, value| Header { key: Bytes::from_static(key.as_bytes()), value };
    let records = vec![
        Record { key: text("key"), value: text("value"), ..Record::default() },
        Record { timestamp_delta: -5, offset_delta: 1, value: text(""), ..Record::default() },
        Record { timestamp_delta: 1 << 40, offset_delta: 2, key: text("gone"), ..Record::default() },
        Record { offset_delta: 3, headers: vec![header("h", text("v")), header("", None)], ..Record::default() },
    ];
    Batch::checked(BatchBuilder { base_timestamp: 1_700_000_000_000, records, ..BatchBuilder::default() }.encode())
}

#[test]
fn batches_of_every_codec() {
    let batches = CODECS.map(|codec| plain().compressed(codec, 1 << 20).expect("a batch").into_bytes());
    let seeds: Vec<_> = batches.iter().map(|bytes| [&[1], &bytes[..]].concat()).collect();
    seeds::play(FOLDER, "batch", &seeds, batch::run);
}
