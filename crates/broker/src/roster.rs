//! Who is shown by name, when not everybody can be.

use std::collections::BTreeSet;

/// So many places, for those who came first. A place is kept for as long as its holder is there, so that
/// who is shown does not change from look to look.
#[derive(Debug)]
pub(crate) struct Roster<K> {
    places: usize,
    shown: BTreeSet<K>,
}

impl<K: Ord + Clone> Roster<K> {
    pub(crate) fn new(places: usize) -> Self {
        Roster { places, shown: BTreeSet::new() }
    }

    /// Takes the places of those who are gone, and gives free ones to those who are there, in this order.
    pub(crate) fn update<'a>(&mut self, present: impl Iterator<Item = &'a K> + Clone)
    where
        K: 'a,
    {
        if !self.shown.is_empty() {
            let there: BTreeSet<&K> = present.clone().collect();
            self.shown.retain(|shown| there.contains(shown));
        }
        for candidate in present {
            if self.shown.len() >= self.places {
                return;
            }
            if !self.shown.contains(candidate) {
                self.shown.insert(candidate.clone());
            }
        }
    }

    /// Whether somebody has a place.
    pub(crate) fn shows(&self, candidate: &K) -> bool {
        self.shown.contains(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(roster: &Roster<char>) -> String {
        roster.shown.iter().collect()
    }

    fn update(roster: &mut Roster<char>, present: &str) {
        let present: Vec<char> = present.chars().collect();
        roster.update(present.iter());
    }

    #[test]
    fn a_place_is_kept_until_its_holder_is_gone() {
        let mut roster = Roster::new(3);
        update(&mut roster, "cdef");
        assert_eq!(shown(&roster), "cde", "in the order they are told of");
        update(&mut roster, "abcdef");
        assert_eq!(shown(&roster), "cde", "nobody is driven out");
        update(&mut roster, "abcef");
        assert_eq!(shown(&roster), "ace", "a free place goes to the first");
        assert!(roster.shows(&'a') && !roster.shows(&'d'));
        update(&mut roster, "");
        assert_eq!(shown(&roster), "");
    }
}
