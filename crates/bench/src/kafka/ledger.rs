//! What of a load has come back: every batch once, unchanged, and in the order it was sent in.

use super::payload::{Stamp, Template};
use crate::Outcome;
use bytes::Bytes;

/// Bytes of a batch up to the end of its length.
const LENGTH_END: usize = 12;

/// The producers of a load and how they share its partitions.
///
/// Producer `p` sends its batch `n` to partition `(p + n) % partitions`.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) templates: Vec<Template>,
    pub(crate) partitions: usize,
}

impl Plan {
    pub(crate) fn partition(&self, producer: usize, number: u64) -> usize {
        (producer + (number % self.partitions as u64) as usize) % self.partitions
    }

    /// The first number that a producer sends to a partition; the others follow by the number of partitions.
    fn first(&self, producer: usize, partition: usize) -> u64 {
        ((partition + self.partitions - producer % self.partitions) % self.partitions) as u64
    }

    /// How many of a producer's first `sent` batches went to a partition.
    pub(crate) fn share(&self, producer: usize, partition: usize, sent: u64) -> u64 {
        sent.saturating_sub(self.first(producer, partition)).div_ceil(self.partitions as u64)
    }
}

/// What was found so far.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    plan: Plan,
    /// By partition and producer: how many batches.
    batches: Vec<Vec<u64>>,
    /// By partition: the offset that comes next.
    offsets: Vec<u64>,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Ledger {
    pub(crate) fn new(plan: Plan) -> Self {
        Ledger {
            batches: vec![vec![0; plan.templates.len()]; plan.partitions],
            offsets: vec![0; plan.partitions],
            records: 0,
            bytes: 0,
            plan,
        }
    }

    /// The offset to fetch next.
    pub(crate) fn offset(&self, partition: usize) -> u64 {
        self.offsets[partition]
    }

    /// Takes what was fetched from a partition, a batch that was cut off at its end excepted, and hands on
    /// what each batch says of itself.
    ///
    /// # Errors
    /// When a batch is lost, doubled, changed, or out of its order: then the run is void.
    pub(crate) fn take(&mut self, partition: usize, fetched: &Bytes, mut seen: impl FnMut(Stamp)) -> Outcome<()> {
        let mut rest = &fetched[..];
        while let Some(length) = rest.get(LENGTH_END - 4..LENGTH_END) {
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let Some((batch, after)) = rest.split_at_checked(LENGTH_END + length) else { break };
            seen(self.one(partition, batch)?);
            rest = after;
        }
        Ok(())
    }

    fn one(&mut self, partition: usize, batch: &[u8]) -> Outcome<Stamp> {
        let base = batch.first_chunk().map_or(0, |base| u64::from_be_bytes(*base));
        let next = self.offsets[partition];
        if base != next {
            return Err(format!("void: offset {base} instead of {next} in partition {partition}").into());
        }
        let producer = self.plan.templates.first().and_then(|any| any.stamp_of(batch)).map(|stamp| stamp.producer);
        let template = producer.and_then(|producer| self.plan.templates.get(usize::from(producer)));
        let Some((template, stamp)) = template.and_then(|template| Some((template, template.recognise(batch)?))) else {
            return Err(format!("void: what is at offset {base} of partition {partition} was not sent").into());
        };
        let producer = usize::from(stamp.producer);
        let found = self.batches[partition][producer];
        let wanted = self.plan.first(producer, partition) + found * self.plan.partitions as u64;
        if stamp.number != wanted {
            let got = stamp.number;
            return Err(
                format!("void: batch {got} of producer {producer} in partition {partition}, not {wanted}").into()
            );
        }
        self.batches[partition][producer] += 1;
        self.offsets[partition] = next + template.records;
        self.records += template.records;
        self.bytes += batch.len() as u64;
        Ok(stamp)
    }

    /// How many records there are of what was sent to these partitions: by producer, the number of batches.
    pub(crate) fn expected(&self, sent: &[u64], partitions: &[usize]) -> u64 {
        let producers = self.plan.templates.iter().zip(sent).enumerate();
        let of = |partition: usize| {
            producers
                .clone()
                .map(move |(nth, (template, sent))| self.plan.share(nth, partition, *sent) * template.records)
        };
        partitions.iter().flat_map(|partition| of(*partition)).sum()
    }

    /// # Errors
    /// When something that was sent to these partitions has not come: then the run is void.
    pub(crate) fn settle(&self, sent: &[u64], partitions: &[usize]) -> Outcome<()> {
        for partition in partitions {
            for (producer, found) in self.batches[*partition].iter().enumerate() {
                let share = self.plan.share(producer, *partition, sent[producer]);
                if *found != share {
                    return Err(format!(
                        "void: {found} of {share} batches of producer {producer} are in partition {partition}"
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::payload::Shape;

    const SHAPE: Shape = Shape { record: 100, batch: 1000, keyed: false, lz4: false };

    fn plan(producers: u16, partitions: usize) -> Plan {
        let templates = (0..producers).map(|producer| Template::new(SHAPE, producer).unwrap()).collect();
        Plan { templates, partitions }
    }

    /// A partition's batches at their offsets.
    fn partition(plan: &Plan, batches: &[(u16, u64)]) -> Bytes {
        let mut all = Vec::new();
        for (nth, (producer, number)) in batches.iter().enumerate() {
            let mut template = plan.templates[usize::from(*producer)].clone();
            let base = nth as u64 * template.records;
            let stamp = Stamp { producer: *producer, number: *number, nanos: 9 };
            let start = all.len();
            all.extend_from_slice(template.stamp(stamp, 5));
            all[start..][..8].copy_from_slice(&base.to_be_bytes());
        }
        all.into()
    }

    fn taken(plan: &Plan, batches: &[(u16, u64)]) -> Outcome<Ledger> {
        let mut ledger = Ledger::new(plan.clone());
        ledger.take(0, &partition(plan, batches), |_| {})?;
        Ok(ledger)
    }

    #[test]
    fn all_of_a_load_in_order_is_complete() {
        let plan = plan(3, 2);
        let mut ledger = Ledger::new(plan.clone());
        let sent = [4, 3, 5];
        for nth in 0..2 {
            let mut batches = Vec::new();
            for producer in 0..3u16 {
                let numbers = (0..sent[usize::from(producer)]).filter(|n| plan.partition(producer.into(), *n) == nth);
                batches.extend(numbers.map(|number| (producer, number)));
            }
            assert!(ledger.settle(&sent, &[nth]).is_err());
            ledger.take(nth, &partition(&plan, &batches), |stamp| assert_eq!(stamp.nanos, 9)).unwrap();
        }
        ledger.settle(&sent, &[0, 1]).unwrap();
        assert_eq!(ledger.expected(&sent, &[0, 1]), ledger.records);
        assert_eq!(ledger.records, 12 * plan.templates[0].records);
    }

    #[test]
    fn lost_doubled_and_swapped_batches_are_void() {
        let plan = plan(1, 1);
        assert!(taken(&plan, &[(0, 0), (0, 2)]).is_err(), "lost in the middle");
        assert!(taken(&plan, &[(0, 0), (0, 0)]).is_err(), "doubled");
        assert!(taken(&plan, &[(0, 1), (0, 0)]).is_err(), "swapped");
        let short = taken(&plan, &[(0, 0), (0, 1)]).unwrap();
        assert!(short.settle(&[3], &[0]).is_err(), "lost at the end");
        assert!(short.settle(&[1], &[0]).is_err(), "more than was sent");
        short.settle(&[2], &[0]).unwrap();
    }

    #[test]
    fn changed_batches_and_wrong_offsets_are_void() {
        let plan = plan(1, 1);
        let mut changed = partition(&plan, &[(0, 0)]).to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(Ledger::new(plan.clone()).take(0, &changed.into(), |_| {}).is_err());
        let mut moved = partition(&plan, &[(0, 0)]).to_vec();
        moved[7] = 1;
        assert!(Ledger::new(plan).take(0, &moved.into(), |_| {}).is_err());
    }

    #[test]
    fn a_batch_cut_off_comes_again() {
        let plan = plan(1, 1);
        let whole = partition(&plan, &[(0, 0), (0, 1)]);
        for cut in 0..whole.len() {
            let mut ledger = Ledger::new(plan.clone());
            ledger.take(0, &whole.slice(..cut), |_| {}).unwrap();
            assert_eq!(ledger.offset(0), (cut / (whole.len() / 2)) as u64 * plan.templates[0].records);
        }
    }
}
