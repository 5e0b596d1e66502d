//! `mainstem completions`: scripts that let a shell complete our command line.

use super::failure::Failure;
use super::output::Output;
use clap::{Args, ValueEnum};
use clap_complete::{Shell as Known, generate};

const EXAMPLES: &str = "Examples:
  mainstem completions bash > /etc/bash_completion.d/mainstem
  mainstem completions zsh > \"${fpath[1]}/_mainstem\"
  mainstem completions fish > ~/.config/fish/completions/mainstem.fish";

/// Print the script that lets a shell complete this command line
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for Known {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Known::Bash,
            Shell::Zsh => Known::Zsh,
            Shell::Fish => Known::Fish,
        }
    }
}

/// Prints the script for `command`, which is the whole command line.
pub(crate) fn run(options: &CompletionsOptions, command: clap::Command, output: &mut Output) -> Result<(), Failure> {
    output.bytes(&script(options.shell, command))
}

fn script(shell: Shell, mut command: clap::Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(Known::from(shell), &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::CommandFactory;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell, Arguments::command())).unwrap();
            for word in ["mainstem", "topic", "describe", "group", "reset", "key-separator", "if-not-exists", "node-id"]
            {
                assert!(script.contains(word), "{shell:?} does not know {word}");
            }
        }
    }
}
