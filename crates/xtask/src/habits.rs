//! Habits of files: names, sizes, first lines, whitespace. Each is a pure function of a path and its
//! contents, so each has a test below.

use crate::finding::Finding;
use std::path::Path;

/// Names that say nothing about what is inside, so that everything ends up inside.
const BAGS: &[&str] = &["common", "util", "utils", "helper", "helpers", "manager", "managers"];

/// A Rust file longer than this explains itself.
const LONG_LINES: usize = 1200;

/// How far down the explanation may stand and still be found by a reader who opens the file.
const TOP_LINES: usize = 30;

/// The words that open the explanation.
const LONG_BECAUSE: &str = "Long because";

/// Doc lines a crate opens with: what it is, what it does not know, where to start reading.
const OPENING_DOC_LINES: usize = 3;

/// A binary file above this belongs elsewhere: every clone pays for it for ever.
const BLOB_BYTES: usize = 256 * 1024;

/// Everything wrong with one file.
pub(crate) fn check_file(path: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(bag(path));
    let Ok(text) = std::str::from_utf8(bytes) else {
        findings.extend(blob(path, bytes));
        return findings;
    };
    if bytes.contains(&0) {
        findings.extend(blob(path, bytes));
    }
    if wants_clean_lines(path) {
        findings.extend(whitespace(path, text));
    }
    if path.ends_with(".rs") {
        findings.extend(length(path, text));
        findings.extend(ignored_tests(path, text));
    }
    findings
}

/// Whether the file opens with enough module documentation. For files cargo calls a lib or a main.
pub(crate) fn check_opening(path: &str, text: &str) -> Option<Finding> {
    let docs = text.lines().take_while(|line| line.starts_with("//!")).count();
    (docs < OPENING_DOC_LINES).then(|| {
        Finding::at(
            path,
            1,
            format!("opens with {docs} lines of `//!`, {OPENING_DOC_LINES} are the least"),
            "say what this is, what it deliberately does not know, and where to start reading",
        )
    })
}

/// Whether `--fix` may strip trailing whitespace from this file.
pub(crate) fn wants_clean_lines(path: &str) -> bool {
    [".rs", ".md", ".toml"].iter().any(|end| path.ends_with(end))
}

/// The text without trailing whitespace, one newline at its end.
pub(crate) fn cleaned(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let joined = lines.join("\n");
    let body = joined.trim_end_matches('\n');
    if body.is_empty() { String::new() } else { format!("{body}\n") }
}

fn bag(path: &str) -> Option<Finding> {
    if !(path.ends_with(".rs") || path.ends_with(".py") || path.ends_with("Cargo.toml")) {
        return None;
    }
    let named = Path::new(path).components().find_map(|part| {
        let stem = Path::new(part.as_os_str()).file_stem()?.to_str()?;
        BAGS.contains(&stem).then(|| stem.to_owned())
    })?;
    Some(Finding::at(
        path,
        1,
        format!("`{named}` names a bag, not a thing"),
        "name it for the noun it holds, or move each item to the noun it serves",
    ))
}

fn blob(path: &str, bytes: &[u8]) -> Option<Finding> {
    (bytes.len() > BLOB_BYTES).then(|| {
        Finding::at(
            path,
            1,
            format!("a binary file of {} KiB, {} are the most", bytes.len() / 1024, BLOB_BYTES / 1024),
            "generate it in the test that needs it, or make it smaller",
        )
    })
}

fn whitespace(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if line.contains('\t') {
            findings.push(Finding::at(path, index + 1, "a tab", "use spaces, or write \\t inside a literal"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::at(path, index + 1, "trailing whitespace", "run `cargo xtask tidy --fix`"));
        }
    }
    findings
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let explained = text.lines().take(TOP_LINES).any(|line| line.contains(LONG_BECAUSE));
    (lines > LONG_LINES && !explained).then(|| {
        Finding::at(
            path,
            1,
            format!("{lines} lines, {LONG_LINES} are the most without a reason"),
            format!("split it by noun, or write `{LONG_BECAUSE} ...` in its first {TOP_LINES} lines"),
        )
    })
}

fn ignored_tests(path: &str, text: &str) -> Vec<Finding> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.trim() == "#[ignore]")
        .map(|(index, _)| {
            Finding::at(
                path,
                index + 1,
                "a test is ignored without a reason",
                "write #[ignore = \"why, and until when\"]",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(path: &str, text: &str) -> Vec<String> {
        let findings = check_file(path, text.as_bytes());
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn bags_are_found_as_file_folder_and_crate() {
        for path in ["crates/a/src/utils.rs", "crates/a/tests/common/mod.rs", "crates/manager/Cargo.toml"] {
            assert_eq!(what(path, "").len(), 1, "{path}");
        }
        for path in ["crates/a/src/utility_bill.rs", "docs/common/index.md", "crates/a/src/group.rs"] {
            assert_eq!(what(path, ""), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn whitespace_is_found_by_line() {
        assert_eq!(what("a.md", "fine\nends \n\ttab\n"), ["2: trailing whitespace", "3: a tab"]);
        assert_eq!(what("a.py", "ends \n"), Vec::<String>::new());
    }

    #[test]
    fn cleaning_removes_what_is_found() {
        let text = cleaned("a  \n\nb\t\r\n\n\n");
        assert_eq!(text, "a\n\nb\n");
        assert_eq!(cleaned(&text), text);
        assert_eq!(cleaned("\n \n"), "");
    }

    #[test]
    fn a_long_file_gives_its_reason_near_the_top() {
        let long = "\n".repeat(LONG_LINES + 1);
        assert_eq!(what("a.rs", &long).len(), 1);
        assert!(what("a.rs", &format!("//! Long because of a table.{long}")).is_empty());
        assert_eq!(what("a.rs", &format!("{long}//! Long because of a table.")).len(), 1);
        assert!(what("a.md", &long).is_empty());
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(what("a.rs", "\n#[ignore]\n"), ["2: a test is ignored without a reason"]);
        assert!(what("a.rs", "#[ignore = \"needs a printer\"]").is_empty());
    }

    #[test]
    fn a_large_binary_is_refused_and_a_large_text_is_not() {
        let size = BLOB_BYTES + 1;
        assert_eq!(check_file("a.bin", &vec![0; size]).len(), 1);
        assert_eq!(check_file("a.bin", &vec![0xff; size]).len(), 1);
        assert!(check_file("a.bin", &vec![0; size - 1]).is_empty());
        assert!(check_file("a.txt", &vec![b'a'; size]).is_empty());
    }

    #[test]
    fn a_crate_opens_with_three_lines() {
        assert!(check_opening("lib.rs", "//! a\n//!\n//! b\n").is_none());
        assert!(check_opening("lib.rs", "//! a\n//! b\nuse x;\n").is_some());
    }
}
