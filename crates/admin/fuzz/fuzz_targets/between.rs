//! See tests/fuzz/between.rs.
#![no_main]

#[path = "../../tests/fuzz/between.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
