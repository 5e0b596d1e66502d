//! Small histories of something that is written and read, each by several clients at once: whether there is an order
//! of all that was done, in which each took effect between its question and its answer, and each read what was written
//! last (linearizability, as Wing and Gong search for it).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Histories are small, so that each order can be tried.
pub(super) const OPERATIONS_MAX: usize = 14;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Write(u64),
    Read(Option<u64>),
}

/// What somebody did, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) act: Act,
    pub(super) asked: Duration,
    /// Without an answer it may take effect at any time, or never.
    pub(super) answered: Option<Duration>,
}

/// See the module's documentation. Each has a name.
#[derive(Debug, Default)]
pub(super) struct Histories(BTreeMap<String, Vec<Operation>>);

impl Histories {
    /// How much was done so far.
    pub(super) fn length(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, Vec::len)
    }

    /// Something is asked for. Returns which of the history it is.
    pub(super) fn ask(&mut self, name: &str, act: Act, asked: Duration) -> usize {
        let history = self.0.entry(name.to_owned()).or_default();
        history.push(Operation { act, asked, answered: None });
        history.len() - 1
    }

    /// It is answered; what was read is known by then.
    pub(super) fn answer(&mut self, name: &str, nth: usize, act: Act, at: Duration) {
        if let Some(operation) = self.0.get_mut(name).and_then(|history| history.get_mut(nth)) {
            (operation.act, operation.answered) = (act, Some(at));
        }
    }

    /// How many there are, and those of which there is no order.
    pub(super) fn judge(&self) -> (u64, Vec<String>) {
        let wrong = self.0.iter().filter(|(_, history)| !is_linearizable(history));
        let told = wrong.map(|(name, history)| format!("{name} is not linearizable: {history:?}"));
        (self.0.len() as u64, told.collect())
    }
}

/// Whether there is such an order. What is read first, before anything was written, is nothing.
fn is_linearizable(history: &[Operation]) -> bool {
    // A read that was not answered says nothing.
    let is_told = |operation: &&Operation| operation.answered.is_some() || matches!(operation.act, Act::Write(_));
    let history: Vec<Operation> = history.iter().filter(is_told).copied().collect();
    let answered = (0..history.len()).filter(|nth| history[*nth].answered.is_some());
    let all_answered: u64 = answered.map(|nth| 1 << nth).sum();
    let mut seen = BTreeSet::new();
    let mut left: Vec<(u64, Option<u64>)> = vec![(0, None)];
    while let Some((done, value)) = left.pop() {
        if done & all_answered == all_answered {
            return true;
        }
        if !seen.insert((done, value)) {
            continue;
        }
        let open = || (0..history.len()).filter(|nth| done & (1 << nth) == 0);
        // Nothing comes before what was answered before it was asked for.
        let first_answer = open().filter_map(|nth| history[nth].answered).min().unwrap_or(Duration::MAX);
        for nth in open().filter(|nth| history[*nth].asked <= first_answer) {
            match history[nth].act {
                Act::Write(written) => left.push((done | (1 << nth), Some(written))),
                Act::Read(read) if read == value => left.push((done | (1 << nth), value)),
                Act::Read(_) => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(act: Act, asked: u64, answered: Option<u64>) -> Operation {
        let millis = Duration::from_millis;
        Operation { act, asked: millis(asked), answered: answered.map(millis) }
    }

    #[test]
    fn what_is_read_is_what_was_written_last() {
        let (write, read) = (Act::Write, |value| Act::Read(Some(value)));
        let both = [operation(write(1), 1, Some(5)), operation(write(2), 2, Some(6))];
        for last in [1, 2] {
            let history = [&both[..], &[operation(read(last), 7, Some(8))]].concat();
            assert!(is_linearizable(&history), "either was last");
            let other = operation(read(3 - last), 9, Some(10));
            assert!(!is_linearizable(&[&history[..], &[other]].concat()), "and that stays so");
        }
        let stale = [operation(write(1), 1, Some(2)), operation(Act::Read(None), 3, Some(4))];
        assert!(!is_linearizable(&stale), "it was written before");
        let overlapping = [operation(write(1), 1, Some(4)), operation(Act::Read(None), 3, Some(5))];
        assert!(is_linearizable(&overlapping));
    }

    #[test]
    fn what_was_not_answered_may_come_late_once_or_never() {
        let (write, read) = (Act::Write, |value| Act::Read(Some(value)));
        let begun = [operation(write(1), 1, None), operation(write(2), 2, Some(3)), operation(read(2), 4, Some(5))];
        assert!(is_linearizable(&begun), "never");
        let late = [&begun[..], &[operation(read(1), 6, Some(7))]].concat();
        assert!(is_linearizable(&late), "late");
        assert!(!is_linearizable(&[&late[..], &[operation(read(2), 8, Some(9))]].concat()), "it comes once");
        assert!(is_linearizable(&[operation(read(9), 1, None)]), "nobody was told anything");
    }

    #[test]
    fn histories_are_told_apart_and_judged_one_by_one() {
        let (mut histories, millis) = (Histories::default(), Duration::from_millis);
        let nth = histories.ask("a", Act::Write(1), millis(1));
        histories.answer("a", nth, Act::Write(1), millis(2));
        let nth = histories.ask("b", Act::Read(None), millis(3));
        histories.answer("b", nth, Act::Read(None), millis(4));
        assert_eq!((histories.judge().0, histories.judge().1.len(), histories.length("a")), (2, 0, 1));
        let nth = histories.ask("a", Act::Read(None), millis(3));
        histories.answer("a", nth, Act::Read(None), millis(4));
        assert_eq!(histories.judge().1.len(), 1);
    }
}
