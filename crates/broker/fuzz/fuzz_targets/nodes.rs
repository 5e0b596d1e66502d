//! See tests/fuzz/nodes.rs.
#![no_main]

#[path = "../../tests/fuzz/nodes.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
