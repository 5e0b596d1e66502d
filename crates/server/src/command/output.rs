//! Standard output: text for people, JSON for scripts, bytes for other programs.

use super::failure::Failure;
use super::visible;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Buffered; whoever waits for something flushes first.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    terminal: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Output { stdout: BufWriter::with_capacity(64 * 1024, stdout.lock()), terminal }
    }

    /// Whether somebody looks at it as it comes.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes what is ours, such as a table.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes a value for scripts.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| Failure::failed(format!("cannot write this as JSON: {error}")))?;
        self.text(&visible::json(text))?;
        self.text("\n")
    }

    /// Writes bytes as they are. They are not from others, or this is no terminal.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| Failure::of_output(&error))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::of_output(&error))
    }
}

/// Tells whoever started the command something that is no result.
pub(crate) fn note(what: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr(), "{}", visible::lines(what));
}
