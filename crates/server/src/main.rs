//! The `mainstem` binary: command line, wiring, starting and stopping.
//!
//! Everything it starts is built elsewhere; here is said which protocol listens where, what is
//! printed, and in which order things stop. Start with [`serve`].

mod arguments;
mod descriptors;
mod http;
mod metrics;
mod serve;

use arguments::{Arguments, Command, SkipOptions};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Serve(options)) = &arguments.command
        && let Some(listener) = options.repeated()
    {
        let what = format!("--listen {listener}: this protocol has a listener already");
        Arguments::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    serve::start_logging();
    let outcome = match arguments.command.unwrap_or_default() {
        Command::Serve(options) => serve::run(options),
        Command::SkipEntry(SkipOptions { data_dir, shard, index, last, reason }) => {
            let entries = index..=last.unwrap_or(index);
            broker::skip_entries(&data_dir, model::ShardId(shard), entries, &reason).map_err(Into::into)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
