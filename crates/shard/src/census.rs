//! What the standings of those who vote mean for a replica in doubt.
//!
//! Some of its log is gone that it had acknowledged, perhaps, and others may have told clients so. Its vote could elect
//! somebody who lacks that, too. So it gives none where others can do without, and else only to a log that is as long as
//! the longest of all who vote.
//!
//! # Why nothing that was acknowledged is lost by such a vote
//!
//! Say that the replica had acknowledged an entry to the leader of a term, forgot it, and that the entry is committed, or
//! may yet be for that acknowledgement. What a term begins with and who votes is acknowledged from stable storage alone,
//! with all that comes before, and so is not forgotten. So the replica has an entry of this term still, and has the
//! members by which the leader went. The longest log ends in no earlier term.
//!
//! - It ends in a later one. Then the leader of that one had the entry, and so has the longest log: Raft's own argument,
//!   for of those who acknowledged the entry, one voted for that leader, and either had it still or gave its vote in
//!   doubt, to a log that had it.
//! - It ends in the same term. Then it is a part of the log of that term's leader, and has the entry unless it ends
//!   before. But then it goes by the same members, since whoever logs others logs them behind. All who vote were asked,
//!   and not one has the entry: the leader neither, so it has lost power itself and lets nobody have the entry any more.
//!   (One that has no vote counts only until the others know that it has none. It hands over as soon as it has none.)
//!   Nobody but the clients knows of the entry. It is lost whatever is done now, and that is told and counted.
//!
//! What is acknowledged from now on is not forgotten: it is in the log that the replica holds against whoever wants its
//! vote.
//!
//! # Why those who are free are enough by their own logs alone
//!
//! Whether others can do without depends on the members that each of them goes by, not on those of the longest log. A
//! leader that was alone and lost power while two others were to vote, too, may have logged that they do where they
//! have not: they know that they need it, and it must not wait for them to elect somebody. Of two sets of voters both
//! have to do without. Whoever they elect has all that was acknowledged: they never forgot anything, and the one in doubt
//! was not needed.

use crate::rpc::Standing;
use journal::LogPosition;
use model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// How replicas stand.
pub(crate) type Standings = BTreeMap<NodeId, Standing>;

/// What they mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Census {
    /// Not everybody has answered, somebody leads, or those who are free can elect a leader by themselves.
    Wait,
    /// No leader can come about otherwise: this is the longest surviving log.
    Longest(LogPosition),
}

/// How the replica stands that has the longest log of those that count.
///
/// One that has logged that it votes no more does not, if the longest of the other logs has that, too: what lies before
/// it is in that log, and what lies behind was not acknowledged by its vote. It could lead nobody by it, and nobody else
/// would have as much. Where the others do not know that it votes no more, its log may be the only one with what they
/// acknowledged together.
fn longest(standings: &Standings) -> Option<&Standing> {
    let mut by_length: Vec<_> = standings.iter().collect();
    by_length.sort_by_key(|(_, standing)| standing.last);
    while let Some((node, standing)) = by_length.pop() {
        let votes = |of: &Standing| of.voters.iter().flatten().any(|voter| voter == node);
        if votes(standing) || by_length.last().is_none_or(|(_, next)| votes(next)) {
            return Some(standing);
        }
    }
    None
}

/// Who votes according to the longest log.
fn voters(standings: &Standings) -> &[Vec<NodeId>] {
    longest(standings).map_or(&[][..], |longest| longest.voters.as_slice())
}

/// Voters that have not been asked yet.
pub(crate) fn unasked(standings: &Standings, silent: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let asked = |node: &NodeId| standings.contains_key(node) || silent.contains(node);
    voters(standings).iter().flatten().copied().filter(|node| !asked(node)).collect()
}

/// Judges; see the module's documentation.
pub(crate) fn census(standings: &Standings) -> Census {
    let voters = voters(standings);
    let all_answered = voters.iter().flatten().all(|node| standings.contains_key(node));
    // Somebody may be answered yet, on the word of this replica, by whoever leads.
    let led = standings.values().any(|standing| standing.leading.is_some());
    if voters.is_empty() || !all_answered || led || the_free_suffice(standings) {
        return Census::Wait;
    }
    longest(standings).map_or(Census::Wait, |longest| Census::Longest(longest.last))
}

/// Whether one of those who are free of doubt can be elected by them alone, by what it has logged itself: in each set
/// of voters that it knows of, most are free and have no longer logs.
fn the_free_suffice(standings: &Standings) -> bool {
    let is_free = |standing: &&Standing| !standing.in_doubt;
    standings.iter().filter(|(_, standing)| is_free(standing)).any(|(candidate, Standing { last, voters, .. })| {
        let votes = |node: &&NodeId| standings.get(*node).filter(is_free).is_some_and(|voter| voter.last <= *last);
        let most_vote = |config: &Vec<NodeId>| 2 * config.iter().filter(votes).count() > config.len();
        voters.iter().flatten().any(|node| node == candidate) && voters.iter().all(most_vote)
    })
}

#[cfg(test)]
mod tests;
