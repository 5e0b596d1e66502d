//! Several names on one command line, each of which is dealt with for itself.

use super::failure::Failure;
use super::visible;
use std::collections::BTreeSet;

/// Names shown in a sentence; a longer list is cut.
const NAMES_SHOWN: usize = 10;

/// Each of them once, in the order given.
pub(crate) fn once(names: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(*name)).cloned().collect()
}

/// Does `work` for each name. What cannot be done for one is told, and the others are done all the same; when the
/// broker does not answer, those that are left are named.
pub(crate) fn each(names: &[String], mut work: impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for (nth, name) in names.iter().enumerate() {
        match work(name) {
            Ok(()) => {}
            Err(failure @ Failure::Failed(_)) => {
                failure.tell();
                outcome = Err(Failure::Told);
            }
            Err(Failure::Unanswered(why)) if nth + 1 < names.len() => {
                return Err(Failure::Unanswered(format!("{why}. Not tried: {}", shown(&names[nth + 1..]))));
            }
            Err(failure) => return Err(failure),
        }
    }
    outcome
}

/// Names with commas between, as many as there is room for.
pub(crate) fn shown(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| visible::line(name)).collect();
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// For which names it was tried, and how it ended, when this is the outcome for `b`.
    fn tried(of_b: Failure) -> (Vec<String>, Result<(), Failure>) {
        let (mut tried, mut of_b) = (Vec::new(), Some(of_b));
        let outcome = each(&names(&["a", "b", "c", "d"]), |name| {
            tried.push(name.to_owned());
            of_b.take_if(|_| name == "b").map_or(Ok(()), Err)
        });
        (tried, outcome)
    }

    #[test]
    fn a_refusal_of_one_keeps_none_of_the_others() {
        assert_eq!(tried(Failure::failed("no")), (names(&["a", "b", "c", "d"]), Err(Failure::Told)));
        let lost = Failure::Unanswered("it is gone. Not tried: c, d".into());
        assert_eq!(tried(Failure::Unanswered("it is gone".into())), (names(&["a", "b"]), Err(lost)));
        assert_eq!(tried(Failure::Unheard), (names(&["a", "b"]), Err(Failure::Unheard)));
        assert_eq!(each(&names(&["a", "b"]), |_| Ok(())), Ok(()));
    }

    #[test]
    fn a_name_that_is_given_twice_is_one() {
        assert_eq!(once(&names(&["b", "a", "b"])), ["b", "a"]);
    }

    #[test]
    fn a_long_list_is_cut_and_shown_safely() {
        let many: Vec<_> = (0..12).map(|n| format!("t{n}")).collect();
        assert_eq!(shown(&many[..2]), "t0, t1");
        assert!(shown(&many).ends_with("t9 and 2 more"));
        assert_eq!(shown(&names(&["\x1b[2J"])), "␛[2J");
    }
}
