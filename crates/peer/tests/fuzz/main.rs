//! The fuzz targets of this crate for a moment, on ordinary Rust. `cargo xtask soak fuzz` runs them for long.
//!
//! Each module here is a target; what they begin with is in `fuzz/seeds`.

mod frames;
mod greetings;
#[path = "../../../model/tests/seeds/mod.rs"]
mod seeds;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn golden(names: &[&str], before: &[u8]) -> Vec<Vec<u8>> {
    names.iter().map(|name| seeds::golden(FOLDER, name, before)).collect()
}

#[test]
fn frames_in_small_steps_and_large() {
    let seeds = [golden(&["frames"], &[1]), golden(&["frames"], &[0x81])].concat();
    seeds::play(FOLDER, "frames", &seeds, frames::run);
}

#[test]
fn greetings_of_both_sides() {
    seeds::play(
        FOLDER,
        "greetings",
        &golden(&["hello", "hello_secret", "answer", "answer_secret", "answer_refused"], &[1]),
        greetings::run,
    );
}
