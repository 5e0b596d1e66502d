//! The tables of metrics in docs/metrics.md are what the code says.

use super::family::{Family, Kind};
use super::{PREFIX, groups, journal, listeners, memory, peers, process, protocols, topics};
use std::fmt::Write;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
const END: &str = "<!-- until here -->\n";

fn begin(subject: &str) -> String {
    format!("<!-- from crates/server/src/metrics/{subject}.rs: REWRITE=1 cargo test -p server writes it -->\n")
}

fn table<'a>(prefix: &str, families: impl Iterator<Item = &'a Family>) -> String {
    let mut text = String::from("| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for Family { name, kind, labels, help } in families {
        let (kind, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let unit = ["seconds", "millis", "bytes"].into_iter().find(|unit| name.split('_').any(|word| word == *unit));
        let unit = unit.unwrap_or_default();
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(text, "| `{prefix}{name}{suffix}` | {kind} | {unit} | {labels} | {help} |").expect("text grows");
    }
    text
}

#[test]
fn the_reference_is_what_the_code_says() {
    let ours = format!("{PREFIX}_");
    let tables = [
        ("protocols", table(&ours, protocols::families())),
        ("listeners", table(&ours, listeners::families())),
        ("memory", table(&ours, memory::families())),
        ("peers", table(&ours, peers::families())),
        ("topics", table(&ours, topics::families())),
        ("groups", table(&ours, groups::families())),
        ("journal", table(&ours, journal::families())),
        ("process", table("", process::families())),
    ];
    let mut text = std::fs::read_to_string(FILE).unwrap();
    for (subject, table) in tables {
        let begin = begin(subject);
        let (before, rest) = text.split_once(&begin).expect("where the table begins");
        let (found, after) = rest.split_once(END).expect("where the table ends");
        if std::env::var_os("REWRITE").is_none() {
            assert_eq!(found, table, "run REWRITE=1 cargo test -p server, and read the diff");
        }
        text = [before, &begin, &table, END, after].concat();
    }
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(FILE, text).unwrap();
    }
}
