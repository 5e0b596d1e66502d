//! See tests/fuzz/files.rs.
#![no_main]

#[path = "../../tests/fuzz/files.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
