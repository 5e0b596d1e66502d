//! See tests/fuzz/settings.rs.
#![no_main]

#[path = "../../tests/fuzz/settings.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
