//! The part of a partition that is still to be read.

use super::failure::Failure;
use admin::shape::{Record, Records};

/// How many answers in a row may lead nowhere.
const STILL_MAX: u32 = 5;

/// From the next offset up to, and without, the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    next: u64,
    end: u64,
    /// Answers in a row that led nowhere.
    still: u32,
}

impl Span {
    pub(crate) fn new(next: u64, end: u64) -> Self {
        Span { next, end: end.max(next), still: 0 }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many offsets are left. There may be fewer records.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.next
    }

    pub(crate) fn is_done(&self) -> bool {
        self.next == self.end
    }

    /// Whether the last answer led nowhere, so that it makes sense to wait before the next one is asked for.
    pub(crate) fn stands_still(&self) -> bool {
        self.still > 0
    }

    /// Takes what was read, without what lies behind the end.
    ///
    /// # Errors
    /// When answers lead nowhere again and again. What is left is not read then, and may be there.
    pub(crate) fn take(&mut self, read: Records) -> Result<Vec<Record>, Failure> {
        if read.next_offset <= self.next && !self.is_done() {
            self.still += 1;
            if self.still < STILL_MAX {
                return Ok(Vec::new());
            }
            return Err(Failure::failed(format!(
                "partition {} of topic {} cannot be read from offset {} on, although it goes on to {}; try again \
                 with --from {}",
                read.partition, read.topic, self.next, self.end, self.next
            )));
        }
        (self.next, self.still) = (read.next_offset.clamp(self.next, self.end), 0);
        let mut records = read.records;
        records.retain(|record| record.offset < self.end);
        Ok(records)
    }

    /// Goes on at a later offset, because what was before it is gone; how many offsets were passed over.
    pub(crate) fn skip_to(&mut self, start: u64) -> Option<u64> {
        let start = start.clamp(self.next, self.end);
        let gone = start - self.next;
        // Where nothing is gone there is nothing to read either, or it would have been read.
        self.next = if gone == 0 { self.end } else { start };
        (gone > 0).then_some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::TimestampType;

    fn read(offsets: &[u64], next_offset: u64) -> Records {
        let record = |offset: &u64| Record {
            offset: *offset,
            timestamp: 0,
            timestamp_type: TimestampType::Create,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let records = offsets.iter().map(record).collect();
        Records { topic: "t".into(), partition: 0, records, next_offset, start: 0, end: 100 }
    }

    fn offsets(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn it_ends_where_it_was_to_end() {
        let mut span = Span::new(5, 9);
        assert_eq!(offsets(&span.take(read(&[5, 7], 8)).unwrap()), [5, 7]);
        assert_eq!((span.next(), span.left()), (8, 1));
        assert_eq!(offsets(&span.take(read(&[8, 9, 10], 11)).unwrap()), [8]);
        assert!(span.is_done());
        assert!(Span::new(9, 5).is_done());
    }

    #[test]
    fn a_gap_leads_on_and_nothing_is_no_end() {
        let mut span = Span::new(5, 9);
        assert_eq!(span.take(read(&[], 7)), Ok(Vec::new()));
        assert_eq!(span.next(), 7);
        for _ in 0..2 {
            for _ in 1..STILL_MAX {
                assert_eq!(span.take(read(&[], span.next())), Ok(Vec::new()));
                assert!(span.stands_still() && !span.is_done());
            }
            if span.next() == 7 {
                assert_eq!(offsets(&span.take(read(&[7], 8)).unwrap()), [7]);
                assert!(!span.stands_still());
            }
        }
        let Err(Failure::Failed(why)) = span.take(read(&[], 8)) else { panic!("it would be asked for for ever") };
        assert!(why.contains("partition 0 of topic t") && why.contains("--from 8"), "{why}");
        assert!(!span.is_done());
    }

    #[test]
    fn what_is_gone_is_passed_over() {
        let mut span = Span::new(5, 20);
        assert_eq!(span.skip_to(8), Some(3));
        assert_eq!(span.next(), 8);
        assert_eq!(span.skip_to(100), Some(12));
        assert!(span.is_done());
        assert_eq!(Span::new(5, 20).skip_to(5), None);
    }
}
