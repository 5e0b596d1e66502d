//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod calls;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn calls_between_replicas() {
    let names = [
        "append",
        "appended",
        "chunk",
        "entry-copy",
        "form-copy",
        "heartbeat",
        "progress",
        "questions",
        "slice-copies",
        "standing",
    ];
    seeds::play(FOLDER, "calls", &golden(&names, &[]), calls::run);
}
