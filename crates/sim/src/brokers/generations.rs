//! What members of groups were told of their generations: one leader each, shares as that leader gave them, and no
//! commit of one that is over.

use model::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of a generation.
#[derive(Debug, Default)]
struct Generation {
    leader: String,
    /// What its leader gave to whom; nothing before it did.
    shares: Option<BTreeMap<String, BTreeSet<StreamId>>>,
}

/// A group's.
#[derive(Debug, Default)]
struct Group {
    generations: BTreeMap<i32, Generation>,
    /// When somebody was told of a generation. Both ascend.
    told: Vec<(Duration, i32)>,
}

impl Group {
    /// Whether a newer one was known of before `asked`.
    fn newer(&self, generation: i32, asked: Duration) -> Option<&(Duration, i32)> {
        self.told.iter().rev().find(|(at, known)| *at < asked && *known > generation)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Generations(BTreeMap<String, Group>);

impl Generations {
    /// A member that asked at `asked` is told at `at` that it belongs to a generation.
    pub(super) fn joined(
        &mut self,
        group: &str,
        generation: i32,
        leader: &str,
        (asked, at): (Duration, Duration),
    ) -> Result<(), String> {
        let of = self.0.entry(group.to_owned()).or_default();
        if let Some((then, newer)) = of.newer(generation, asked) {
            return Err(format!("{group} is in generation {generation}, and was in {newer} at {then:?}"));
        }
        if of.told.last().is_none_or(|(_, before)| *before < generation) {
            of.told.push((at, generation));
        }
        let new = || Generation { leader: leader.to_owned(), shares: None };
        let known = of.generations.entry(generation).or_insert_with(new);
        match known.leader == leader {
            true => Ok(()),
            false => Err(format!("{leader} leads generation {generation} of {group}, and {} does, too", known.leader)),
        }
    }

    /// The leader of a generation gives everybody a share.
    pub(super) fn assigned(&mut self, group: &str, generation: i32, shares: BTreeMap<String, BTreeSet<StreamId>>) {
        let of = self.0.entry(group.to_owned()).or_default();
        if let Some(known) = of.generations.get_mut(&generation) {
            known.shares = Some(shares);
        }
    }

    /// A member is told its share.
    pub(super) fn synced(
        &self,
        group: &str,
        generation: i32,
        member: &str,
        share: &BTreeSet<StreamId>,
    ) -> Result<(), String> {
        let known = self.0.get(group).and_then(|of| of.generations.get(&generation));
        let given = known.and_then(|known| known.shares.as_ref()).and_then(|shares| shares.get(member));
        match given == Some(share) {
            true => Ok(()),
            false => {
                Err(format!("{member} in generation {generation} of {group} has {share:?}, and was given {given:?}"))
            }
        }
    }

    /// A commit that was asked for at `asked` was acknowledged.
    pub(super) fn committed(&self, group: &str, generation: i32, asked: Duration) -> Result<(), String> {
        match self.0.get(group).and_then(|of| of.newer(generation, asked)) {
            Some((then, newer)) => {
                Err(format!("{group} took a commit of generation {generation}, and was in {newer} at {then:?}"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_has_one_leader_and_its_shares_and_then_it_is_over() {
        let (mut generations, millis) = (Generations::default(), Duration::from_millis);
        assert!(generations.joined("g", 1, "a", (millis(1), millis(2))).is_ok());
        assert!(generations.joined("g", 1, "b", (millis(1), millis(3))).is_err(), "there is one leader");
        let share = |keys: &[u64]| keys.iter().map(|key| StreamId(*key)).collect::<BTreeSet<_>>();
        assert!(generations.synced("g", 1, "a", &share(&[1])).is_err(), "nobody has assigned anything");
        generations.assigned("g", 1, BTreeMap::from([("a".to_owned(), share(&[1])), ("b".to_owned(), share(&[]))]));
        assert!(generations.synced("g", 1, "a", &share(&[1])).is_ok());
        assert!(generations.synced("g", 1, "b", &share(&[1])).is_err(), "somebody else has it");
        assert!(generations.committed("g", 1, millis(5)).is_ok());
        assert!(generations.joined("g", 2, "b", (millis(6), millis(8))).is_ok());
        assert!(generations.committed("g", 1, millis(7)).is_ok(), "it was on its way");
        assert!(generations.committed("g", 1, millis(9)).is_err(), "that generation is over");
        assert!(generations.joined("g", 1, "a", (millis(9), millis(9))).is_err(), "and does not come back");
        assert!(generations.committed("h", 1, millis(9)).is_ok());
    }
}
