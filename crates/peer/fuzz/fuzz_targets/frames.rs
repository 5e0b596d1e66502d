//! See tests/fuzz/frames.rs.
#![no_main]

#[path = "../../tests/fuzz/frames.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
