//! The commands that talk to a running broker.
//!
//! They know the broker only by its admin API over HTTP: neither its configuration nor its data folder.
//! Each noun has a file with its options, what it asks and what it prints; what is decided there is pure
//! and tested below it. [`api`] is what can be asked, [`server`] how, and [`failure`] how a command ends.

mod amount;
mod api;
mod completions;
mod confirmation;
mod consume;
#[cfg(test)]
mod document;
mod exposition;
pub(crate) mod failure;
mod follow;
#[cfg(test)]
mod fuzz;
mod group;
mod line;
mod lines;
mod look;
mod merge;
mod moment;
mod names;
mod nearest;
mod node;
pub(crate) mod number;
mod output;
mod portion;
mod position;
mod produce;
mod progress;
mod ranges;
mod server;
mod span;
mod status;
mod table;
mod template;
mod top;
mod topic;
mod visible;

use clap::Subcommand;
use output::Output;
use std::process::ExitCode;

/// What can be asked of a running broker.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    Topic(topic::TopicOptions),
    Group(group::GroupOptions),
    Node(node::NodeOptions),
    Produce(produce::ProduceOptions),
    Consume(consume::ConsumeOptions),
    Status(status::StatusOptions),
    Top(top::TopOptions),
    Completions(completions::CompletionsOptions),
}

/// Does it. `line` is the whole command line, for the scripts that complete it.
pub(crate) fn run(command: ClientCommand, line: clap::Command) -> ExitCode {
    let mut output = Output::new();
    let done = match command {
        ClientCommand::Topic(options) => topic::run(options, &mut output),
        ClientCommand::Group(options) => group::run(options, &mut output),
        ClientCommand::Node(options) => node::run(&options, &mut output),
        ClientCommand::Produce(options) => produce::run(&options),
        ClientCommand::Consume(options) => consume::run(&options, &mut output),
        ClientCommand::Status(options) => status::run(&options, &mut output),
        ClientCommand::Top(options) => top::run(&options, &mut output),
        ClientCommand::Completions(options) => completions::run(&options, line, &mut output),
    };
    // What was done before a failure is printed before it is told.
    let flushed = output.flush();
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
