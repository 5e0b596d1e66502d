//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod commands;
mod objects;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn commands_of_both_kinds_of_shard() {
    let seeds = [golden(&["commands"], &[0]), golden(&["commands"], &[1])].concat();
    seeds::play(FOLDER, "commands", &seeds, commands::run);
}

#[test]
fn objects_of_checkpoints() {
    seeds::play(FOLDER, "objects", &golden(&["objects_streams", "objects_catalog"], &[]), objects::run);
}
