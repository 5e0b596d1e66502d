//! What a stream remembers of an idempotent producer (KIP-98, KIP-360).

use crate::command::ProducerBatch;
use crate::refusal::Refusal;
use model::{Hlc, Offset, limit, piece};

model::wire_struct! {
    /// A batch that a producer appended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Remembered {
        /// Number of its first record.
        pub first_sequence: i32,
        /// Number of its last record.
        pub last_sequence: i32,
        /// Where it is.
        pub base: Offset,
    }
}

model::wire_struct! {
    /// A producer's last batches on one stream, oldest first.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Producer {
        /// The producer's epoch.
        pub epoch: i16,
        /// When it last appended.
        pub last_seen: Hlc,
        /// At most [`limit::PRODUCER_BATCHES_MAX`] batches.
        pub batches: Vec<Remembered>,
    }
}

/// What to make of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It follows the last one.
    Next,
    /// It was appended before, here.
    Duplicate(Offset),
}

impl Producer {
    /// Judges `batch` against what is known of its producer.
    ///
    /// # Errors
    /// When it is from an instance that was replaced, or a batch before it is missing.
    pub fn judge(known: Option<&Producer>, batch: &ProducerBatch) -> Result<Verdict, Refusal> {
        // Nothing known: the producer is new, or idle for so long that it was forgotten.
        let Some(known) = known else {
            return Ok(Verdict::Next);
        };
        if batch.epoch < known.epoch {
            return Err(Refusal::FencedProducer);
        }
        if batch.epoch > known.epoch {
            // A new instance numbers from zero.
            return if batch.first_sequence == 0 { Ok(Verdict::Next) } else { Err(Refusal::OutOfOrderSequence) };
        }
        let same =
            |old: &&Remembered| old.first_sequence == batch.first_sequence && old.last_sequence == batch.last_sequence;
        if let Some(old) = known.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(old.base));
        }
        match known.batches.last() {
            Some(last) if piece::sequence_plus(last.last_sequence, 1) != batch.first_sequence => {
                Err(Refusal::OutOfOrderSequence)
            }
            _ => Ok(Verdict::Next),
        }
    }

    /// Remembers `batch`, which was judged to be next.
    pub fn remember(known: Option<Producer>, batch: &ProducerBatch, base: Offset, now: Hlc) -> Producer {
        let mut producer = match known {
            Some(known) if known.epoch == batch.epoch => known,
            _ => Producer { epoch: batch.epoch, last_seen: now, batches: Vec::new() },
        };
        if producer.batches.len() == limit::PRODUCER_BATCHES_MAX {
            producer.batches.remove(0);
        }
        producer.last_seen = now;
        let (first_sequence, last_sequence) = (batch.first_sequence, batch.last_sequence);
        producer.batches.push(Remembered { first_sequence, last_sequence, base });
        producer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ProducerId;

    fn batch(epoch: i16, first: i32, last: i32) -> ProducerBatch {
        ProducerBatch { producer: ProducerId(1), epoch, first_sequence: first, last_sequence: last }
    }

    #[test]
    fn batches_are_next_repeated_missing_or_fenced() {
        let judge = |known: &Producer, b| Producer::judge(Some(known), &b);
        let mut known = None;
        for nth in 0..7 {
            known = Some(Producer::remember(known, &batch(2, nth * 10, nth * 10 + 9), Offset(nth as u64), Hlc(1)));
        }
        let known = known.unwrap();
        assert_eq!(judge(&known, batch(2, 70, 75)), Ok(Verdict::Next));
        assert_eq!(judge(&known, batch(2, 60, 69)), Ok(Verdict::Duplicate(Offset(6))));
        assert_eq!(judge(&known, batch(2, 20, 29)), Ok(Verdict::Duplicate(Offset(2))), "the fifth from the end");
        assert_eq!(judge(&known, batch(2, 10, 19)), Err(Refusal::OutOfOrderSequence), "forgotten");
        assert_eq!(judge(&known, batch(2, 71, 75)), Err(Refusal::OutOfOrderSequence));
        assert_eq!(judge(&known, batch(1, 70, 75)), Err(Refusal::FencedProducer));
        assert_eq!(judge(&known, batch(3, 0, 5)), Ok(Verdict::Next));
        assert_eq!(judge(&known, batch(3, 70, 75)), Err(Refusal::OutOfOrderSequence));
        let wrapped = Producer::remember(None, &batch(0, i32::MAX - 1, i32::MAX), Offset(0), Hlc(1));
        assert_eq!(judge(&wrapped, batch(0, 0, 3)), Ok(Verdict::Next), "numbers wrap");
    }
}
