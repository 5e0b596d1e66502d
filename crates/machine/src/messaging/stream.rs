//! A stream's state: where it starts and ends, and under which leader epochs it was written.

use crate::command::Adoption;
use model::config::StreamConfig;
use model::{LeaderEpoch, Offset, Timestamp, limit};

model::wire_struct! {
    /// A stream.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Stream {
        /// Its configuration.
        pub config: StreamConfig,
        /// Its first record, or its end when it has none.
        pub start: Offset,
        /// One past its last record.
        pub end: Offset,
        /// Leader epochs and the first offset written under each, ascending.
        pub epochs: Vec<(LeaderEpoch, Offset)>,
        /// The Raft term in which the last epoch began.
        pub epoch_term: u64,
        /// Greatest timestamp ever appended.
        pub max_timestamp: Timestamp,
        /// Bytes ever appended.
        pub bytes_appended: u64,
    }
}

impl Stream {
    /// An empty stream.
    #[must_use]
    pub fn new(config: StreamConfig) -> Self {
        Stream {
            config,
            start: Offset::ZERO,
            end: Offset::ZERO,
            epochs: Vec::new(),
            epoch_term: 0,
            max_timestamp: Timestamp(-1),
            bytes_appended: 0,
        }
    }

    /// A stream that goes on where it was fenced in another shard, under the epoch that it was given.
    pub(crate) fn adopted(adoption: Adoption, term: u64) -> Self {
        let Adoption { config, end, mut epochs, epoch, max_timestamp, bytes_appended, .. } = adoption;
        if epochs.len() == limit::STREAM_EPOCHS_MAX {
            epochs.remove(0);
        }
        epochs.push((epoch, end));
        Stream { config, start: end, end, epochs, epoch_term: term, max_timestamp, bytes_appended }
    }

    /// The epoch a leader of Raft term `term` writes under: a new one for a new term.
    #[must_use]
    pub fn epoch_in(&self, term: u64) -> LeaderEpoch {
        match self.epochs.last() {
            None => LeaderEpoch(0),
            Some((epoch, _)) if self.epoch_term == term => *epoch,
            Some((epoch, _)) => LeaderEpoch(epoch.0.saturating_add(1)),
        }
    }

    /// Notes that the record at `base` was written in Raft term `term`.
    pub(crate) fn enter_epoch(&mut self, term: u64, base: Offset) {
        let epoch = self.epoch_in(term);
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            if self.epochs.len() == limit::STREAM_EPOCHS_MAX {
                self.epochs.remove(0);
            }
            self.epochs.push((epoch, base));
        }
        self.epoch_term = term;
    }

    /// Moves the start to `to`, which lies within the stream.
    pub(crate) fn trim(&mut self, to: Offset) {
        self.start = to;
        self.forget_epochs_below(to);
    }

    /// Forgets the leader epochs of records below `to`.
    pub(crate) fn forget_epochs_below(&mut self, to: Offset) {
        // The epoch that covers it stays, now beginning there.
        let covering = self.epochs.partition_point(|(_, base)| *base <= to).saturating_sub(1);
        self.epochs.drain(..covering);
        if let Some((_, base)) = self.epochs.first_mut() {
            *base = (*base).max(to.min(self.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_term_is_a_new_epoch_and_trimming_keeps_the_covering_one() {
        let mut stream = Stream::new(StreamConfig::default());
        assert_eq!(stream.epoch_in(5), LeaderEpoch(0));
        stream.enter_epoch(5, Offset(0));
        assert_eq!(stream.epoch_in(5), LeaderEpoch(0));
        assert_eq!(stream.epoch_in(9), LeaderEpoch(1));
        stream.enter_epoch(9, Offset(10));
        stream.enter_epoch(9, Offset(15));
        stream.enter_epoch(11, Offset(20));
        stream.end = Offset(30);
        stream.trim(Offset(15));
        assert_eq!(stream.epochs, [(LeaderEpoch(1), Offset(15)), (LeaderEpoch(2), Offset(20))]);
    }
}
