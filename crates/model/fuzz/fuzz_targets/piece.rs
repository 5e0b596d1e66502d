//! See tests/fuzz/piece.rs.
#![no_main]

#[path = "../../tests/fuzz/piece.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
