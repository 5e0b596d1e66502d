//! Cases written as a person would say them: commands, and below each what the machine did.
//!
//! Every file in `scripts/` is one case. A file names its shard, then has blocks: lines to run,
//! `---`, what they print, an empty line. `#` starts a comment. To write down what is printed
//! instead of comparing it, run `REWRITE=1 cargo test -p machine --test scripts` and read the diff.
//!
//! The lines are described where they are read: entries, the sequencer and questions about the state
//! in `script/world.rs`, commands in `script/command.rs`.
#![allow(clippy::disallowed_methods, reason = "cases are read from files, and the test is not the machine")]

mod piece;
mod script;

use std::path::Path;

#[test]
fn every_script_prints_what_it_says() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|file| file.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "script"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no cases in {}", folder.display());
    let mut complaints = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a case is text");
        match script::run(&text) {
            Ok(ran) if rewrite => std::fs::write(&path, ran.text()).expect("a case can be written"),
            Ok(ran) => {
                complaints.extend(ran.differences().map(|difference| format!("{}:{difference}", path.display())))
            }
            Err(error) => complaints.push(format!("{}:{error}", path.display())),
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
