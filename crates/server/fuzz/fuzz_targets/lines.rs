//! See tests/fuzz/lines.rs. A program is no library, so its files are taken by their paths.
#![no_main]
#![allow(dead_code, reason = "the program uses the rest")]

#[path = "../../src/command/line.rs"]
mod line;
#[path = "../../tests/fuzz/lines.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
