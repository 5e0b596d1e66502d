//! See tests/fuzz/replies.rs.
#![no_main]

#[path = "../../tests/fuzz/replies.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
