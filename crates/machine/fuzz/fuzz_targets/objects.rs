//! See tests/fuzz/objects.rs.
#![no_main]

#[path = "../../tests/fuzz/objects.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
