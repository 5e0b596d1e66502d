//! Which shard the names of groups, transactional ids and sessions belong to.
//!
//! Before behaviour 2 that was their slot modulo the number of shards, so every shard that was added took
//! most names from where their state was. The table is filled by that rule once and changes only by
//! [`Command::AssignSlots`](crate::Command::AssignSlots).

use crate::refusal::{Fault, Refusal};
use model::checksum::crc32c;
use model::wire::{Input, Wire, WireError, put_varint};
use model::{ShardId, limit};

/// The slot of a name.
#[must_use]
pub fn slot_of(name: &str) -> u32 {
    crc32c(name.as_bytes()) % limit::SLOTS
}

/// Which of so many shards, ascending, had `slot` before behaviour 2.
pub(super) fn by_rule(slot: u32, shards: usize) -> usize {
    slot as usize % shards.max(1)
}

/// The shard of each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// How often slots were assigned since they were dealt out.
    pub revision: u64,
    /// By slot, exactly [`limit::SLOTS`] of them.
    owners: Vec<ShardId>,
}

impl Slots {
    /// Deals them out as the rule has it, which moves nothing; none when there are no shards.
    pub(super) fn deal(shards: &[ShardId]) -> Option<Self> {
        let owner = |slot| shards.get(by_rule(slot, shards.len())).copied();
        Some(Slots { revision: 0, owners: (0..limit::SLOTS).map(owner).collect::<Option<_>>()? })
    }

    /// The shard that `slot` belongs to, if there is such a slot.
    #[must_use]
    pub fn owner(&self, slot: u32) -> Option<ShardId> {
        self.owners.get(slot as usize).copied()
    }

    /// Slots in a row that belong to one shard: how many, and to which. Ascending, all of them.
    pub fn runs(&self) -> impl Iterator<Item = (u32, ShardId)> {
        self.owners.chunk_by(|one, next| one == next).map(|run| (run.len() as u32, run[0]))
    }

    /// Gives `count` slots from `first` on to `shard`, if nobody else assigned any since `revision`.
    pub(super) fn assign(&mut self, first: u32, count: u32, shard: ShardId, revision: u64) -> Result<(), Refusal> {
        if revision != self.revision {
            return Err(Refusal::Changed);
        }
        let range = first as usize..(first as usize).saturating_add(count as usize);
        let Some(owners) = self.owners.get_mut(range).filter(|owners| !owners.is_empty()) else {
            return Err(Refusal::Invalid(Fault::Slots));
        };
        owners.fill(shard);
        self.revision += 1;
        Ok(())
    }
}

impl Wire for Slots {
    fn put(&self, out: &mut Vec<u8>) {
        self.revision.put(out);
        put_varint(self.runs().count() as u64, out);
        for (count, shard) in self.runs() {
            put_varint(count.into(), out);
            shard.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, WireError> {
        let revision = u64::take(input)?;
        let mut owners = Vec::new();
        for _ in 0..input.count()? {
            let (count, shard) = (input.varint()?, ShardId::take(input)?);
            let left = limit::SLOTS as usize - owners.len();
            match usize::try_from(count) {
                Ok(count) if (1..=left).contains(&count) => owners.resize(owners.len() + count, shard),
                _ => return Err(WireError::Invalid("slots that there are not")),
            }
        }
        if owners.len() != limit::SLOTS as usize {
            return Err(WireError::Invalid("slots without a shard"));
        }
        Ok(Slots { revision, owners })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(numbers: &[u32]) -> Vec<ShardId> {
        numbers.iter().copied().map(ShardId).collect()
    }

    #[test]
    fn slots_survive_as_bytes_however_they_are_assigned() {
        assert_eq!(Slots::deal(&[]), None);
        let mut slots = Slots::deal(&shards(&[3, 5, 9])).unwrap();
        assert_eq!([0, 1, 2, 3].map(|slot| slots.owner(slot).unwrap().0), [3, 5, 9, 3]);
        assert_eq!(slots.owner(limit::SLOTS), None);
        assert_eq!(Slots::from_wire(&slots.to_wire()), Ok(slots.clone()));
        slots.assign(1, limit::SLOTS - 1, ShardId(3), 0).unwrap();
        assert_eq!(slots.runs().collect::<Vec<_>>(), [(limit::SLOTS, ShardId(3))]);
        slots.assign(10, 2, ShardId(7), 1).unwrap();
        let expected = [(10, ShardId(3)), (2, ShardId(7)), (limit::SLOTS - 12, ShardId(3))];
        assert_eq!(slots.runs().collect::<Vec<_>>(), expected);
        assert_eq!(Slots::from_wire(&slots.to_wire()), Ok(slots));
    }

    #[test]
    fn bytes_that_leave_a_slot_without_a_shard_or_have_more_are_refused() {
        let bytes = |runs: &[(u64, u32)]| {
            let mut out = 0u64.to_wire();
            put_varint(runs.len() as u64, &mut out);
            for (count, shard) in runs {
                put_varint(*count, &mut out);
                shard.put(&mut out);
            }
            out
        };
        let all = u64::from(limit::SLOTS);
        assert!(Slots::from_wire(&bytes(&[(1, 1), (all - 1, 2)])).is_ok());
        let wrong: [&[(u64, u32)]; 6] =
            [&[], &[(all - 1, 1)], &[(all + 1, 1)], &[(all, 1), (1, 2)], &[(0, 1), (all, 2)], &[(u64::MAX, 1)]];
        for runs in wrong {
            assert!(matches!(Slots::from_wire(&bytes(runs)), Err(WireError::Invalid(_))), "{runs:?}");
        }
    }
}
