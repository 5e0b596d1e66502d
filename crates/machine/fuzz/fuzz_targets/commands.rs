//! See tests/fuzz/commands.rs.
#![no_main]

#[path = "../../tests/fuzz/commands.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
