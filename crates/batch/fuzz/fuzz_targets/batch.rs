//! See tests/fuzz/batch.rs.
#![no_main]

#[path = "../../tests/fuzz/batch.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
