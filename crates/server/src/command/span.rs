//! The part of a partition that is still to be read.

use admin::shape::{Record, Records};

/// From the next offset up to, and without, the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    next: u64,
    end: u64,
}

impl Span {
    pub(crate) fn new(next: u64, end: u64) -> Self {
        Span { next, end: end.max(next) }
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

    /// Takes what was read, without what lies behind the end.
    pub(crate) fn take(&mut self, read: Records) -> Vec<Record> {
        // An answer that does not lead on would be asked for again and again.
        let moved = read.next_offset > self.next;
        self.next = if moved { read.next_offset.min(self.end) } else { self.end };
        let mut records = read.records;
        records.retain(|record| record.offset < self.end);
        records
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
        assert_eq!(offsets(&span.take(read(&[5, 7], 8))), [5, 7]);
        assert_eq!((span.next(), span.left()), (8, 1));
        assert_eq!(offsets(&span.take(read(&[8, 9, 10], 11))), [8]);
        assert!(span.is_done());
        assert!(Span::new(9, 5).is_done());
    }

    #[test]
    fn a_gap_leads_on_and_nothing_does_not() {
        let mut span = Span::new(5, 9);
        assert!(span.take(read(&[], 7)).is_empty());
        assert_eq!(span.next(), 7);
        assert!(span.take(read(&[], 7)).is_empty());
        assert!(span.is_done(), "it would be asked for for ever");
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
