//! The `mainstem` binary: command line, configuration, wiring, starting and stopping.
//!
//! Everything it starts is built elsewhere; here is said what can be configured, which protocol listens
//! where, what is printed, and in which order things stop. Start with [`setting`], then [`serve`]; the
//! commands that talk to a running broker are in [`command`] and share nothing with it but this program.

mod allocator;
mod arguments;
mod cluster_advice;
mod cluster_files;
mod command;
mod configuration;
mod configuration_file;
mod counted;
mod descriptors;
#[cfg(test)]
mod fuzz;
mod http;
mod http_admin;
mod logging;
mod machine_memory;
mod metrics;
mod patience;
#[cfg(test)]
mod reference;
mod serve;
mod setting;
mod value;

use arguments::{Arguments, Command, ConfigOptions, NodeCommand, SkipOptions};
use clap::{CommandFactory, Parser};
use command::failure::Failure;
use configuration::{Configuration, Reading};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let began = Instant::now();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return show_instead(&error),
    };
    let command = match arguments.chosen() {
        Command::Client(command) => return command::run(command, Arguments::command()),
        Command::Node(command) => command,
    };
    let Reading { configuration, problems, warnings } = Reading::of(command.flags(), std::env::vars_os().collect());
    let settings = configuration.settings();
    logging::start(&settings);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    for problem in &problems {
        logging::give_up(problem);
    }
    if !problems.is_empty() {
        return ExitCode::FAILURE;
    }
    let outcome = match command {
        NodeCommand::Serve(_) => serve::run(settings, began),
        NodeCommand::Config(ConfigOptions { json, .. }) => show(&configuration, json).map_err(Into::into),
        NodeCommand::SkipEntry(SkipOptions { shard, index, last, reason, .. }) => {
            let entries = index..=last.unwrap_or(index);
            broker::skip_entries(&settings.data_dir, model::ShardId(shard), entries, &reason).map_err(Into::into)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::give_up(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Shows what the parser of the command line has to say: what is wrong, or the help that was asked for.
fn show_instead(error: &clap::Error) -> ExitCode {
    let shown = error.print().and_then(|()| io::stdout().flush());
    match shown {
        Err(unshown) if !error.use_stderr() => Failure::of_output(&unshown).tell(),
        _ => ExitCode::from(error.exit_code() as u8),
    }
}

fn show(configuration: &Configuration, json: bool) -> io::Result<()> {
    let text = if json { configuration.json() } else { configuration.table() };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
