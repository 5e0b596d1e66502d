//! Many seeds of one kind of run, and the seeds kept as regressions.

use crate::disk::Tally;
use crate::facts::Counts;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::trace::Trace;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// A kind of run: all that a run is made from but its seed.
pub trait Kind: Copy + fmt::Debug + Send + Sync {
    /// What such a run counts.
    type Facts: Counts;

    /// Runs one seed.
    fn run(self, seed: u64, trace: &Trace) -> Outcome<Self::Facts>;

    /// What `sim` is told to run that seed.
    fn arguments(self, seed: u64) -> String;
}

/// What came of many runs.
#[derive(Clone, Debug)]
pub struct Summary<K: Kind> {
    /// How many runs.
    pub seeds: u64,
    /// Those that found something, by seed.
    pub failures: Vec<Outcome<K::Facts>>,
    /// What the runs did.
    pub facts: K::Facts,
    /// What the disks did.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
    kind: K,
}

/// Runs `seeds` of a kind, on as many threads as there are cores: each run is one thread's alone.
#[must_use]
pub fn campaign<K: Kind>(seeds: impl Iterator<Item = u64> + Send, kind: K) -> Summary<K> {
    let started = Instant::now();
    let seeds = Mutex::new(seeds);
    let summary = Mutex::new(Summary::new(kind));
    let next = || seeds.lock().next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    // Before anything is locked: the others go on meanwhile.
                    let outcome = kind.run(seed, &Trace::off());
                    summary.lock().add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner();
    summary.failures.sort_by_key(|outcome| outcome.seed);
    summary.took = started.elapsed();
    summary
}

/// The seeds in a text by the flags that `sim` is told with them: of each line that begins with a number, that one and
/// the words right behind it that begin with two dashes. The rest says why it is kept.
#[must_use]
pub fn kept_seeds(text: &str) -> BTreeMap<Vec<&str>, Vec<u64>> {
    let mut kept: BTreeMap<Vec<&str>, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(seed) = words.next().and_then(|word| word.parse().ok()) {
            kept.entry(words.take_while(|word| word.starts_with("--")).collect()).or_default().push(seed);
        }
    }
    kept
}

/// The number of rounds that a flag stands for, if it does.
pub(crate) fn rounds_of(flag: &str) -> Option<u64> {
    flag.strip_prefix("--rounds=")?.parse().ok()
}

impl<K: Kind> Summary<K> {
    fn new(kind: K) -> Self {
        let (facts, tally, took) = (K::Facts::default(), Tally::default(), Duration::ZERO);
        Summary { seeds: 0, failures: Vec::new(), facts, tally, took, kind }
    }

    fn add(&mut self, outcome: Outcome<K::Facts>) {
        self.seeds += 1;
        self.facts.add(&outcome.facts);
        self.tally.add(&outcome.tally);
        if !outcome.violations.is_empty() {
            self.failures.push(outcome);
        }
    }

    /// How fast it went.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace { seeds: self.seeds, took: self.took, simulated: Duration::from_millis(self.facts.millis()) }
    }

    /// The first seed that found something which says `words`, and what it says.
    #[must_use]
    pub fn first_saying(&self, words: &str) -> Option<(u64, &str)> {
        self.failures.iter().find_map(|outcome| {
            let said = outcome.violations.iter().find(|violation| violation.contains(words))?;
            Some((outcome.seed, said.as_str()))
        })
    }
}

impl<K: Kind> fmt::Display for Summary<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.facts)?;
        writeln!(f, "the disks: {}", self.tally)?;
        for Outcome { seed, violations, .. } in &self.failures {
            writeln!(f, "seed {seed} FAILED: {}", violations.first().map_or("", String::as_str))?;
            for more in violations.iter().skip(1).take(2) {
                writeln!(f, "  {more}")?;
            }
            writeln!(f, "  replay: cargo run -p sim -- {} --trace", self.kind.arguments(*seed))?;
        }
        match self.failures.len() {
            0 => write!(f, "nothing was found in {}", self.pace()),
            failed => write!(f, "{failed} seeds failed of {}", self.pace()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_kept_with_their_flags() {
        let kept = kept_seeds("# Why.\n\n7  lost --flips\n9 --flips --rounds=12 lost\n8\n10 --flips --rounds=12\n");
        let expected = [(vec![], vec![7, 8]), (vec!["--flips", "--rounds=12"], vec![9, 10])];
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!((rounds_of("--rounds=12"), rounds_of("--rounds"), rounds_of("--flips")), (Some(12), None, None));
    }
}
