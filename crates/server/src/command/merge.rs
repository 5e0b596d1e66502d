//! Records of several partitions as one sequence: by their time, and within a partition by their offset.
//!
//! Pure: whoever drives it is told which partition has to be read next.

use admin::shape::Record;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This record comes next, of this partition.
    Record(u32, Record),
    /// Records of this partition have to be added first, or its end.
    Read(u32),
    /// Everything came.
    End,
}

/// Partitions with what was read of each and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    waiting: BTreeMap<u32, VecDeque<Record>>,
    /// The timestamps of the first records that wait.
    heads: BinaryHeap<Reverse<(i64, u32)>>,
    /// Partitions that have not ended and of which nothing waits.
    hungry: BTreeSet<u32>,
}

impl Merge {
    /// Of these partitions.
    pub(crate) fn new(partitions: impl IntoIterator<Item = u32>) -> Self {
        Merge { hungry: partitions.into_iter().collect(), ..Merge::default() }
    }

    /// What was read of a partition, which may be nothing yet.
    pub(crate) fn add(&mut self, partition: u32, records: Vec<Record>) {
        let Some(first) = records.first() else { return };
        assert!(self.hungry.remove(&partition), "only what was asked for is added");
        self.heads.push(Reverse((first.timestamp, partition)));
        self.waiting.insert(partition, records.into());
    }

    /// Nothing more will come of a partition that was to be read.
    pub(crate) fn end(&mut self, partition: u32) {
        self.hungry.remove(&partition);
    }

    pub(crate) fn next(&mut self) -> Next {
        // As long as one of them may have an older record, none comes next.
        if let Some(partition) = self.hungry.first() {
            return Next::Read(*partition);
        }
        let Some(Reverse((_, partition))) = self.heads.pop() else { return Next::End };
        let waiting = self.waiting.entry(partition).or_default();
        let record = waiting.pop_front();
        match waiting.front() {
            Some(head) => self.heads.push(Reverse((head.timestamp, partition))),
            None => {
                self.hungry.insert(partition);
            }
        }
        record.map_or(Next::End, |record| Next::Record(partition, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::TimestampType;

    fn record(offset: u64, timestamp: i64) -> Record {
        let timestamp_type = TimestampType::Create;
        Record { offset, timestamp, timestamp_type, key: None, value: None, headers: Vec::new() }
    }

    /// Everything that comes of partitions that are read in these portions.
    fn merged(mut portions: BTreeMap<u32, VecDeque<Vec<Record>>>) -> Vec<(u32, u64)> {
        let mut merge = Merge::new(portions.keys().copied());
        let mut came = Vec::new();
        loop {
            match merge.next() {
                Next::Record(partition, record) => came.push((partition, record.offset)),
                Next::Read(partition) => match portions.get_mut(&partition).and_then(VecDeque::pop_front) {
                    Some(portion) => merge.add(partition, portion),
                    None => merge.end(partition),
                },
                Next::End => return came,
            }
        }
    }

    #[test]
    fn records_come_by_time_whatever_the_portions() {
        let portions = BTreeMap::from([
            (0, VecDeque::from([vec![record(0, 10), record(1, 40)], vec![], vec![record(2, 50)]])),
            (1, VecDeque::from([vec![record(7, 20)], vec![record(8, 30), record(9, 60)]])),
            (2, VecDeque::new()),
        ]);
        assert_eq!(merged(portions), [(0, 0), (1, 7), (1, 8), (0, 1), (0, 2), (1, 9)]);
    }

    #[test]
    fn a_partition_keeps_its_order_even_against_its_timestamps() {
        let portions = BTreeMap::from([
            (0, VecDeque::from([vec![record(0, 100), record(1, 1), record(2, 100)]])),
            (1, VecDeque::from([vec![record(0, 50)]])),
        ]);
        assert_eq!(merged(portions), [(1, 0), (0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn nothing_comes_of_no_partitions() {
        assert_eq!(Merge::new([]).next(), Next::End);
    }
}
