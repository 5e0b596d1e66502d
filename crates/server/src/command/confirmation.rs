//! Asking before something is gone.

use super::failure::Failure;
use super::names;
use std::io::{self, IsTerminal, Write};

/// Asks whether `what` ("delete 2 topics with all their records") shall happen to `names`.
///
/// # Errors
/// When the answer is no, or nobody is there to be asked.
pub(crate) fn ask(what: &str, names: &[String]) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::usage(format!("nobody is at a terminal to be asked whether to {what}: add --yes")));
    }
    let mut stderr = io::stderr();
    // Without a terminal to write to there is none to read from either.
    let _ = write!(stderr, "{what}: {}? [y/N] ", names::shown(names));
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if is_yes(&answer) => Ok(()),
        _ => Err(Failure::failed("not confirmed, nothing was done")),
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [("y\n", true), ("YES", true), ("", false), ("n", false), ("yep", false)] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
