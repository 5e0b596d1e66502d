//! See tests/fuzz/words.rs. A program is no library, so its files are taken by their paths.
#![no_main]
#![allow(dead_code, reason = "the program uses the rest")]

#[path = "../../src/command/moment.rs"]
mod moment;
#[path = "../../src/command/nearest.rs"]
mod nearest;
#[path = "../../src/command/position.rs"]
mod position;
#[path = "../../tests/fuzz/words.rs"]
mod target;
#[path = "../../src/command/template.rs"]
mod template;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
