//! See tests/fuzz/configuration.rs. A program is no library, so its files are taken by their paths.
#![no_main]
#![allow(dead_code, reason = "the program uses the rest")]

#[path = "../../src/configuration_file.rs"]
mod configuration_file;
#[path = "../../src/setting.rs"]
mod setting;
#[path = "../../tests/fuzz/configuration.rs"]
mod target;
#[path = "../../src/value.rs"]
mod value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
