//! See tests/fuzz/answer.rs.
#![no_main]

#[path = "../../tests/fuzz/answer.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
