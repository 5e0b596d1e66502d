//! See tests/fuzz/response.rs.
#![no_main]

#[path = "../../tests/fuzz/response.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
