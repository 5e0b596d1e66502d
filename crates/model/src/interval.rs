//! A set of positions kept as disjoint intervals: what a subscription has settled, what a shard
//! has received.

use crate::wire::{Input, Wire, WireError, put_varint};
use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint, non-adjacent, half-open intervals in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalSet {
    /// Start to end, exclusive.
    intervals: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many intervals the set needs: its size in memory, not the number of positions.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.intervals.len()
    }

    /// Whether no position is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Adds every position of `range`; returns how many were new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut known = 0;
        // Everything that overlaps or touches is absorbed.
        while let Some((&s, &e)) = self.intervals.range(..=end).next_back() {
            if e < start {
                break;
            }
            known += e.min(range.end).saturating_sub(s.max(range.start));
            start = start.min(s);
            end = end.max(e);
            self.intervals.remove(&s);
        }
        self.intervals.insert(start, end);
        (range.end - range.start) - known
    }

    /// Whether `position` is in the set.
    #[must_use]
    pub fn contains(&self, position: u64) -> bool {
        self.intervals.range(..=position).next_back().is_some_and(|(_, &end)| position < end)
    }

    /// Whether every position of `range` is in the set.
    #[must_use]
    pub fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.intervals.range(..=range.start).next_back().is_some_and(|(_, &end)| range.end <= end)
    }

    /// How many intervals overlap or touch `range`: inserting it makes one of them all.
    #[must_use]
    pub fn touching(&self, range: &Range<u64>) -> usize {
        self.intervals.range(..=range.end).rev().take_while(|(_, end)| **end >= range.start).count()
    }

    /// The first position at or above `from` that is not in the set.
    #[must_use]
    pub fn first_gap(&self, from: u64) -> u64 {
        match self.intervals.range(..=from).next_back() {
            Some((_, &end)) if from < end => end,
            _ => from,
        }
    }

    /// The first position at or above `from` that is in the set.
    #[must_use]
    pub fn next_member(&self, from: u64) -> Option<u64> {
        if self.contains(from) {
            return Some(from);
        }
        self.intervals.range(from..).next().map(|(&start, _)| start)
    }

    /// Forgets every position below `position`.
    pub fn remove_below(&mut self, position: u64) {
        while let Some(first) = self.intervals.first_entry() {
            if *first.key() >= position {
                break;
            }
            let (_, end) = first.remove_entry();
            if end > position {
                self.intervals.insert(position, end);
                break;
            }
        }
    }

    /// The intervals, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.intervals.iter().map(|(&start, &end)| start..end)
    }
}

impl Wire for IntervalSet {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.intervals.len() as u64, out);
        let mut last = 0;
        for range in self.iter() {
            put_varint(range.start - last, out);
            put_varint(range.end - range.start, out);
            last = range.end;
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let mut set = IntervalSet::new();
        let mut last = 0u64;
        for nth in 0..input.count()? {
            let gap = input.varint()?;
            let len = input.varint()?;
            if len == 0 || (gap == 0 && nth > 0) {
                return Err(WireError::Invalid("intervals are neither empty nor adjacent"));
            }
            let start = last.checked_add(gap);
            let end = start.and_then(|start| start.checked_add(len));
            let (Some(start), Some(end)) = (start, end) else {
                return Err(WireError::Invalid("interval beyond the largest position"));
            };
            set.intervals.insert(start, end);
            last = end;
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in proptest::collection::vec((0u64..60, 0u64..9, any::<bool>()), 0..60)) {
            let mut set = IntervalSet::new();
            let mut model = BTreeSet::new();
            for (start, len, insert) in ops {
                if insert {
                    let range = start..start + len;
                    let merged = if range.is_empty() { 0 } else { 1 - set.touching(&range) as isize };
                    let expected = set.intervals() as isize + merged;
                    let new = (start..start + len).filter(|p| model.insert(*p)).count() as u64;
                    prop_assert_eq!(set.insert(range), new);
                    prop_assert_eq!(set.intervals() as isize, expected);
                } else {
                    set.remove_below(start);
                    model.retain(|p| *p >= start);
                }
                let members: BTreeSet<u64> = set.iter().flatten().collect();
                prop_assert_eq!(&members, &model);
                for p in 0..70 {
                    prop_assert_eq!(set.contains(p), model.contains(&p));
                    let gap = (p..).find(|q| !model.contains(q)).unwrap_or(p);
                    prop_assert_eq!(set.first_gap(p), gap);
                    prop_assert_eq!(set.next_member(p), model.range(p..).next().copied());
                    prop_assert_eq!(set.covers(p..p + 3), (p..p + 3).all(|q| model.contains(&q)));
                }
                let ends: Vec<_> = set.iter().collect();
                prop_assert!(ends.windows(2).all(|w| w[0].end < w[1].start), "adjacent intervals merge");
                prop_assert_eq!(IntervalSet::from_wire(&set.to_wire()), Ok(set.clone()));
            }
        }
    }
}
