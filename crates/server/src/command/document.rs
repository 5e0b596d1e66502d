//! docs/command-line.md tells of every command and every flag.

use crate::arguments::Arguments;
use clap::CommandFactory;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");
const CLIENTS: [&str; 8] = ["topic", "group", "node", "produce", "consume", "status", "top", "completions"];

/// What the document has to name: the command, its flags, and those of the commands below it.
fn names(command: &clap::Command) -> Vec<String> {
    let long = command.get_arguments().filter_map(clap::Arg::get_long);
    // Everybody knows the first one, and the second has a short name that is told instead.
    let flags = long.filter(|flag| !["help", "records"].contains(flag)).map(|flag| format!("`--{flag}"));
    let below = command.get_subcommands().filter(|below| below.get_name() != "help").flat_map(names);
    [format!("`{}`", command.get_name())].into_iter().chain(flags).chain(below).collect()
}

#[test]
fn the_document_tells_of_every_command_and_flag() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let whole = Arguments::command();
    for client in CLIENTS {
        for name in names(whole.find_subcommand(client).unwrap()) {
            assert!(text.contains(&name), "{client}: {name} is not in docs/command-line.md");
        }
    }
}
