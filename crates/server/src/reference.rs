//! The table of settings in docs/configuration.md is what the code says.

use crate::setting::{Flag, SETTINGS, Setting};
use std::fmt::Write;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
const BEGIN: &str = "<!-- from crates/server/src/setting.rs: REWRITE=1 cargo test -p server writes it -->\n";
const END: &str = "<!-- until here -->\n";

fn table() -> String {
    let mut text = String::from("| key | takes | default | flag | environment |\n|---|---|---|---|---|\n");
    for setting in SETTINGS.iter() {
        let Setting { key, kind, default, about, .. } = setting;
        let flag = match setting.flag() {
            None => "none".to_owned(),
            Some(Flag::Own(name)) => format!("`--{name}`"),
            Some(Flag::Shared { shared, member }) => format!("`--{} {member}=`", shared.flag),
        };
        let (takes, variable) = (kind.expected(), setting.variable());
        writeln!(text, "| `{key}`<br>{about} | {takes} | `{default}` | {flag} | `{variable}` |").expect("text grows");
    }
    text
}

#[test]
fn the_reference_is_what_the_code_says() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (found, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(FILE, [before, BEGIN, &table(), END, after].concat()).unwrap();
    } else {
        assert_eq!(found, table(), "run REWRITE=1 cargo test -p server, and read the diff");
    }
}
