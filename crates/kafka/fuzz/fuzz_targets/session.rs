//! See tests/fuzz/session.rs.
#![no_main]

#[path = "../../tests/fuzz/session.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
