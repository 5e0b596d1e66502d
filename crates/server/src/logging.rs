//! The log: lines on standard error.

use crate::configuration::Settings;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Where it is said why the program ends. Nothing else has this target.
const END: &str = "mainstem::end";

/// From here on what is traced is written. In colours only if somebody looks at the lines as they come.
pub(crate) fn start(settings: &Settings) {
    // A program that ends without a word would be a riddle, whatever somebody made of the filter.
    let say_why = format!("{END}=error").parse().expect("a target and a level");
    let filter = EnvFilter::new(&settings.log_filter).add_directive(say_why);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if settings.log_as_json {
        builder.json().flatten_event(true).with_span_list(false).init();
    } else {
        builder.with_ansi(io::stderr().is_terminal()).init();
    }
}

/// Says why the program ends.
pub(crate) fn give_up(why: &str) {
    tracing::error!(target: END, "{why}");
}
