//! See tests/fuzz/claims.rs.
#![no_main]

#[path = "../../tests/fuzz/claims.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
