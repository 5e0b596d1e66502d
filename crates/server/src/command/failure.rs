//! Why a command ends without having done what it was asked.

use super::visible;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code where the command line asks for what makes no sense; also that of its parser.
const WRONG_USAGE: u8 = 2;

/// What went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line does not make sense: what, and what would.
    Usage(String),
    /// It could not be done: what, for which name, and what to do.
    Failed(String),
    /// The broker does not answer, and so nothing else can be done either.
    Unanswered(String),
    /// What went wrong was told already.
    Told,
    /// Whoever read our output has seen enough, such as `head`.
    Unheard,
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Failure::Usage(what.into())
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Failure::Failed(what.into())
    }

    /// Standard output could not be written to.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unheard,
            _ => Failure::Failed(format!("cannot write to standard output: {}", in_words(error))),
        }
    }

    /// The same with more to say before its sentence.
    pub(crate) fn after(self, before: &str) -> Self {
        match self {
            Failure::Failed(what) => Failure::Failed(format!("{before}{what}")),
            Failure::Unanswered(what) => Failure::Unanswered(format!("{before}{what}")),
            other => other,
        }
    }

    /// The same with what to do behind its sentence, which may be a question.
    pub(crate) fn with(self, advice: &str) -> Self {
        match self {
            Failure::Failed(what) if what.ends_with('?') => Failure::Failed(format!("{what} {advice}")),
            Failure::Failed(what) => Failure::Failed(format!("{what}; {advice}")),
            other => other,
        }
    }

    /// Says so on standard error, as the parser of the command line does.
    pub(crate) fn tell(&self) -> ExitCode {
        let (what, code) = match self {
            Failure::Usage(what) => (what, ExitCode::from(WRONG_USAGE)),
            Failure::Failed(what) | Failure::Unanswered(what) => (what, ExitCode::FAILURE),
            Failure::Told => return ExitCode::FAILURE,
            Failure::Unheard => return ExitCode::SUCCESS,
        };
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(io::stderr(), "error: {}", visible::lines(what));
        code
    }
}

/// What the operating system says, to stand in the middle of a sentence: without the number, and small.
pub(crate) fn in_words(error: &io::Error) -> String {
    let said = error.to_string();
    let said = said.split(" (os error").next().unwrap_or_default();
    let mut letters = said.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure_to_speak_of() {
        assert_eq!(Failure::of_output(&io::ErrorKind::BrokenPipe.into()), Failure::Unheard);
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(
            Failure::of_output(&full),
            Failure::failed("cannot write to standard output: no space left on device"),
        );
    }

    #[test]
    fn what_came_before_is_said_first() {
        assert_eq!(Failure::failed("b").after("a: "), Failure::failed("a: b"));
        assert_eq!(Failure::Unheard.after("a: "), Failure::Unheard);
    }
}
