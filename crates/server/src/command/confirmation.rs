//! Asking before something is gone.

use super::failure::Failure;
use super::visible;
use std::io::{self, IsTerminal, Write};

/// Names shown in a question; a longer list is cut.
const NAMES_SHOWN: usize = 10;

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
    let _ = write!(stderr, "{} [y/N] ", question(what, names));
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if is_yes(&answer) => Ok(()),
        _ => Err(Failure::failed("not confirmed, nothing was done")),
    }
}

fn question(what: &str, names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| visible::line(name)).collect();
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{what}: {}{more}?", shown.join(", "))
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

    #[test]
    fn a_question_names_what_it_is_about() {
        let names: Vec<_> = (0..12).map(|n| format!("t{n}")).collect();
        assert_eq!(question("delete", &names[..2]), "delete: t0, t1?");
        assert!(question("delete", &names).ends_with("t9 and 2 more?"));
        assert_eq!(question("delete", &["\x1b[2J".into()]), "delete: ␛[2J?");
    }
}
