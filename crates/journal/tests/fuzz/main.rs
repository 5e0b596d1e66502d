//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod files;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

use journal::file::parse_name;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn every_sort_of_file() {
    let names =
        ["checkpoint", "compacted", "log_file", "manifest", "open_log_file", "packed_file", "progress", "skips"];
    let names_of_files = ["00000000000000ff-0000000000000010.log", "00000000000000ff-0000000000000011.pack"];
    let names_of_files = names_of_files.map(|name| [&b"\0"[..], name.as_bytes()].concat());
    assert!(
        names_of_files.iter().all(|name| std::str::from_utf8(&name[1..]).is_ok_and(|name| parse_name(name).is_some()))
    );
    let seeds = [golden(&names, &[0]), golden(&names, &[7]), golden(&["progress"], &[8]), names_of_files.to_vec()];
    let seeds = seeds.concat();
    seeds::play(FOLDER, "files", &seeds, files::run);
}
