//! The folder: which name leads to which file, now and after power loss.

use crate::rng::Rng;
use std::collections::BTreeMap;

/// Names as they are, as they are on stable storage, and what happened between.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<String, u64>,
    stable: BTreeMap<String, u64>,
    /// Each survives power loss or does not, as a whole: so a rename is atomic.
    changes: Vec<Vec<(String, Option<u64>)>>,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.live.get(name).copied()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.live.iter()
    }

    /// Files that some name leads to, now or after power loss.
    pub(super) fn leads_to(&self, inode: u64) -> bool {
        self.live.values().chain(self.stable.values()).any(|id| *id == inode)
            || self.changes.iter().flatten().any(|(_, id)| *id == Some(inode))
    }

    pub(super) fn change(&mut self, change: Vec<(String, Option<u64>)>) {
        apply(&mut self.live, &change);
        self.changes.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            apply(&mut self.stable, &change);
        }
    }

    /// The power goes; returns how many changes are undone.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) -> u64 {
        let mut lost = 0;
        let survivors = rng.below(3);
        for change in self.changes.drain(..) {
            let survives = match survivors {
                0 => true,
                1 => false,
                _ => rng.percent(50),
            };
            if survives {
                apply(&mut self.stable, &change);
            } else {
                lost += 1;
            }
        }
        self.live.clone_from(&self.stable);
        lost
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &[(String, Option<u64>)]) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsynced_names_come_and_go_one_by_one_and_renames_are_atomic() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut names = Names::default();
            names.change(vec![("old".into(), Some(1))]);
            names.change(vec![("tmp".into(), Some(2))]);
            names.sync();
            names.change(vec![("tmp".into(), None), ("old".into(), Some(2))]);
            names.change(vec![("new".into(), Some(3))]);
            names.lose_power(&mut Rng::new(seed));
            let renamed = names.get("old") == Some(2);
            assert_eq!(names.get("tmp"), (!renamed).then_some(2));
            assert_eq!(names.get("old"), Some(if renamed { 2 } else { 1 }));
            seen.insert((renamed, names.get("new").is_some()));
        }
        assert_eq!(seen.len(), 4, "each survives on its own");
    }
}
