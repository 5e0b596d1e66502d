//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod files;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn every_sort_of_file() {
    let names = ["checkpoint", "compacted", "log_file", "manifest", "open_log_file", "packed_file", "skips"];
    let seeds = [golden(&names, &[0]), golden(&names, &[7])].concat();
    seeds::play(FOLDER, "files", &seeds, files::run);
}
