//! The `mainstem` binary: command line, wiring, starting and stopping.
//!
//! Everything it starts is built elsewhere; here is said which protocol listens where, what is
//! printed, and in which order things stop. Start with [`serve`].

mod arguments;
mod descriptors;
mod http;
mod metrics;
mod serve;

use arguments::{Arguments, Command};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Command::Serve(options) = arguments.command.unwrap_or_default();
    if let Some(listener) = options.repeated() {
        let what = format!("--listen {listener}: this protocol has a listener already");
        Arguments::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    serve::start_logging();
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
