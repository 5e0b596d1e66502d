//! Which fuzz target plays what: every crate's `fuzz/decoders.txt`, held against its sources.
//!
//! A place that reads bytes or text from outside is known by the name of its function or by what it calls, which
//! is a habit and no proof: a decoder that hides behind another name is for reviewers to find. What this does
//! find is that somebody adds one and forgets that strangers will feed it.

use crate::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};

/// Functions called so, or beginning so, read what comes from outside.
const NAMES: &[&str] = &["decode", "parse", "unescape", "is_readable"];

/// What calls one of these reads what comes from outside: what stands for it in the list, what is looked for, and
/// what else has to be in the file for it to be meant.
const CALLS: &[(&str, &str, &str)] = &[
    ("from_wire", "from_wire(", ""),
    ("Input", "Input::new(", "wire::"),
    ("Reader", "Reader::new(", "codec::reader"),
    ("Decoder", "Decoder::new(", ""),
    ("Deserialize", "Deserialize", ""),
    ("serde_json", "serde_json::from_", ""),
    ("toml", "DeTable::parse(", ""),
    ("from_bytes", "from_le_bytes(", ""),
    ("from_bytes", "from_be_bytes(", ""),
    ("from_digits", "from_str_radix(", ""),
    ("parse", ".parse()", ""),
    ("parse", ".parse::<", ""),
];

/// Programs that strangers do not talk to: they read what we wrote ourselves.
const OUR_OWN: &[&str] = &["bench", "sim", "xtask"];

/// The list of a crate.
const LIST: &str = "fuzz/decoders.txt";

/// What stands for a target where none is needed. A reason has to follow.
const NONE: &str = "-";

/// Holds the lists of all crates against `files`, of which each has a path and a text.
pub(crate) fn check(files: &BTreeMap<String, String>) -> Vec<Finding> {
    let crates: BTreeSet<&str> =
        files.keys().filter_map(|path| path.strip_prefix("crates/")?.split('/').next()).collect();
    crates.into_iter().filter(|name| !OUR_OWN.contains(name)).flat_map(|name| check_crate(name, files)).collect()
}

fn check_crate(name: &str, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let list = format!("crates/{name}/{LIST}");
    let (listed, mut findings) = read_list(name, &list, files);
    let found = found_in(name, files);
    for ((file, word), line) in &found {
        if !listed.contains_key(&(file.clone(), word.clone())) {
            let what = format!(
                "`{word}` reads what may come from outside, and {list} does not say which fuzz target plays it"
            );
            let advice = "make a target, as CONTRIBUTING.md says, or give the reason why none is needed";
            findings.push(Finding::at(format!("crates/{name}/{file}"), *line, what, advice));
        }
    }
    for ((file, word), line) in &listed {
        if !found.contains_key(&(file.clone(), word.clone())) {
            findings.push(Finding::at(&list, *line, format!("{file} has no `{word}`"), "remove the word"));
        }
    }
    findings
}

/// Files and words, each with its line. They are relative to the crate.
type Places = BTreeMap<(String, String), usize>;

/// Reads lines `FILE TARGET WORD...`, or `FILE - WORD... # REASON`. A target of another crate is `CRATE/TARGET`.
fn read_list(name: &str, list: &str, files: &BTreeMap<String, String>) -> (Places, Vec<Finding>) {
    let (mut listed, mut findings) = (Places::new(), Vec::new());
    let text = files.get(list).map_or("", String::as_str);
    for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (entry, reason) = line.split_once('#').unwrap_or((line, ""));
        let mut words = entry.split_whitespace();
        let (Some(file), Some(target)) = (words.next(), words.next()) else { continue };
        let (of, target_name) = target.split_once('/').unwrap_or((name, target));
        if target == NONE && reason.trim().is_empty() {
            findings.push(Finding::at(list, nth + 1, "no target and no reason", "write the reason behind a #"));
        } else if target != NONE && !files.contains_key(&format!("crates/{of}/fuzz/fuzz_targets/{target_name}.rs")) {
            findings.push(Finding::at(list, nth + 1, format!("there is no fuzz target {target}"), "name one that is"));
        }
        listed.extend(words.map(|word| ((file.to_owned(), word.to_owned()), nth + 1)));
    }
    (listed, findings)
}

/// What reads bytes or text in the sources of a crate, tests aside.
fn found_in(name: &str, files: &BTreeMap<String, String>) -> Places {
    let folder = format!("crates/{name}/");
    let sources = files.iter().filter_map(|(path, text)| Some((path.strip_prefix(&folder)?, text)));
    let sources: Vec<_> = sources.filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs")).collect();
    let tests: Vec<String> = sources.iter().flat_map(|(path, text)| modules_of_tests(path, text)).collect();
    let is_test = |path: &str| {
        tests.iter().any(|module| path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    };
    let mut found = Places::new();
    for (path, text) in sources.into_iter().filter(|(path, _)| !is_test(path)) {
        found.extend(words(text).into_iter().map(|(word, line)| ((path.to_owned(), word), line)));
    }
    found
}

/// The paths, without their ends, of modules that are compiled for tests only.
fn modules_of_tests(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|root| stem.strip_suffix(root)).unwrap_or(stem);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let module = |pair: &[&str]| {
        let name = (pair[0] == "#[cfg(test)]").then(|| pair[1].strip_suffix(';')?.rsplit_once("mod "))??.1;
        Some(format!("{folder}/{name}"))
    };
    lines.windows(2).filter_map(module).collect()
}

/// The words of a file, each with the first line that has it. What follows the first module of tests is not looked at.
fn words(text: &str) -> BTreeMap<String, usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let starts_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let end = lines.windows(2).position(starts_tests).unwrap_or(lines.len());
    let mut found = BTreeMap::new();
    for (nth, line) in lines[..end].iter().enumerate().filter(|(_, line)| !line.starts_with("//")) {
        let calls = CALLS.iter().filter(|(_, call, beside)| line.contains(call) && text.contains(beside));
        let names = functions(line).filter(|name| NAMES.iter().any(|begin| name.starts_with(begin)));
        for word in names.chain(calls.map(|(word, ..)| *word)) {
            found.entry(word.to_owned()).or_insert(nth + 1);
        }
    }
    found
}

/// The names of functions that a line defines.
fn functions(line: &str) -> impl Iterator<Item = &str> {
    let is_of_a_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut parts = line.split("fn ");
    let mut before = parts.next().unwrap_or_default();
    parts.filter_map(move |part| {
        let is_word = !before.ends_with(is_of_a_name);
        before = part;
        let end = part.find(|letter| !is_of_a_name(letter)).unwrap_or(part.len());
        (is_word && end > 0).then(|| &part[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a crate whose list and source are these, and which has a target.
    fn said(list: &str, source: &str) -> Vec<String> {
        let files = [
            ("crates/a/fuzz/decoders.txt", list),
            ("crates/a/fuzz/fuzz_targets/frames.rs", ""),
            ("crates/a/src/codec/mod.rs", "mod frame;\n#[cfg(test)]\nmod hostile;\n"),
            ("crates/a/src/codec/hostile.rs", "fn decode_all() {}\n"),
            ("crates/a/src/codec/frame.rs", source),
            ("crates/xtask/src/own.rs", "fn parse() {}\n"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        check(&files).into_iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.what)).collect()
    }

    const SOURCE: &str = "//! fn decode()\npub fn decode(bytes: &[u8]) {}\nlet length = u32::from_le_bytes(bytes);\n\
                          #[cfg(test)]\nmod tests {\n    fn parse_all() {}\n}\n";

    #[test]
    fn what_is_listed_is_in_order() {
        assert_eq!(said("# They.\nsrc/codec/frame.rs frames decode from_bytes\n", SOURCE), Vec::<String>::new());
        let reasoned = "src/codec/frame.rs frames decode\nsrc/codec/frame.rs - from_bytes # of our own\n";
        assert_eq!(said(reasoned, SOURCE), Vec::<String>::new());
    }

    #[test]
    fn a_decoder_without_a_target_is_found() {
        let found = said("src/codec/frame.rs frames decode\n", SOURCE);
        assert!(
            found.len() == 1 && found[0].starts_with("crates/a/src/codec/frame.rs:3: `from_bytes` reads"),
            "{found:?}"
        );
        assert_eq!(said("", SOURCE).len(), 2);
    }

    #[test]
    fn what_is_listed_exists() {
        let list = "src/codec/frame.rs frames decode from_bytes parse\nsrc/gone.rs frames decode\n";
        let expected = [
            "crates/a/fuzz/decoders.txt:1: src/codec/frame.rs has no `parse`",
            "crates/a/fuzz/decoders.txt:2: src/gone.rs has no `decode`",
        ];
        assert_eq!(said(list, SOURCE), expected);
        let list = "src/codec/frame.rs gone decode\nsrc/codec/frame.rs - from_bytes\n";
        let expected = [
            "crates/a/fuzz/decoders.txt:1: there is no fuzz target gone",
            "crates/a/fuzz/decoders.txt:2: no target and no reason",
        ];
        assert_eq!(said(list, SOURCE), expected);
    }

    #[test]
    fn names_of_functions_are_read() {
        let names = |line| functions(line).collect::<Vec<_>>();
        assert_eq!(names("pub(crate) const fn decode_vote<R>(bytes: &[u8]) -> fn(u8) {"), ["decode_vote"]);
        assert_eq!(names("let often = 1; // fn"), Vec::<&str>::new());
    }
}
