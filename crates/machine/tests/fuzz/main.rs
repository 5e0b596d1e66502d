//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod commands;
mod objects;
mod replies;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn commands_of_both_kinds_of_shard() {
    let seeds = [0, 1, 2].map(|kind| golden(&["commands"], &[kind])).concat();
    seeds::play(FOLDER, "commands", &seeds, commands::run);
}

#[test]
fn objects_of_checkpoints() {
    seeds::play(
        FOLDER,
        "objects",
        &golden(
            &["objects_streams", "objects_catalog", "objects_nodes", "objects_moves", "objects_moves_catalog"],
            &[],
        ),
        objects::run,
    );
}

#[test]
fn replies_between_nodes() {
    seeds::play(FOLDER, "replies", &golden(&["replies"], &[]), replies::run);
}
