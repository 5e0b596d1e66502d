//! See tests/fuzz/groups.rs.
#![no_main]

#[path = "../../tests/fuzz/groups.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
