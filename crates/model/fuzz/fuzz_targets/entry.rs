//! See tests/fuzz/entry.rs.
#![no_main]

#[path = "../../tests/fuzz/entry.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
