//! See tests/fuzz/calls.rs.
#![no_main]

#[path = "../../tests/fuzz/calls.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
