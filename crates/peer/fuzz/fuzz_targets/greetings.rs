//! See tests/fuzz/greetings.rs.
#![no_main]

#[path = "../../tests/fuzz/greetings.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
