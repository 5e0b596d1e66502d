//! Bytes as they are on disk or on the wire, kept in the repository as hexadecimal text. A test that
//! fails here says that a format has changed: then its version has to change too.
//!
//! Other crates take this module by its path. `REWRITE=1` in the environment writes the files anew.

#![allow(
    clippy::disallowed_methods,
    reason = "the files are on a real disk, also those of crates that must not touch it"
)]

use std::fmt::Write;
use std::path::Path;

/// Asserts that `bytes` are what the file `name` of the crate's `tests/golden` has; returns these.
pub(crate) fn golden(crate_folder: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = Path::new(crate_folder).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, to_text(bytes)).expect("the golden file can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(to_text(bytes), text, "{name}: today's code writes other bytes");
    from_text(&text)
}

/// Sixteen bytes a line.
fn to_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let words: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", words.join(" ")).expect("text grows");
    }
    text
}

fn from_text(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|word| u8::from_str_radix(word, 16).expect("two hexadecimal digits")).collect()
}
