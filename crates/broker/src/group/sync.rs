//! Syncing: the second half of a rebalance; and heartbeats after it.

use super::error::GroupError;
use super::group::{Group, Phase};
use super::output::{Token, Turn};
use super::reply::GroupReply;
use super::request::{MemberAssignment, SyncRequest};
use super::stored::ASSIGNMENTS_BYTES_MAX;
use bytes::Bytes;
use std::collections::BTreeMap;

impl Group {
    /// A member asks for its assignment; the leader brings everyone's.
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>, token: Token, request: SyncRequest) {
        if let Err(error) = self.try_sync(turn, token, request) {
            turn.refuse(token, error);
        }
    }

    /// Refuses, or takes care of the answer.
    fn try_sync(&mut self, turn: &mut Turn<'_>, token: Token, request: SyncRequest) -> Result<(), GroupError> {
        let SyncRequest { member, instance, generation, protocol_type, protocol, assignments, .. } = request;
        self.check_current(&member, instance.as_deref(), generation)?;
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&protocol_type, &self.protocol_type) || differs(&protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Completing { sync_ends } if self.is_leader(&member) => {
                let assignments = self.assignments(assignments)?;
                self.wait_to_sync(turn, token, &member);
                self.assign(assignments);
                self.phase = Phase::Stable { sync_ends: Some(sync_ends) };
                self.answer_syncs(turn);
            }
            Phase::Completing { .. } => self.wait_to_sync(turn, token, &member),
            Phase::Stable { .. } => {
                self.refresh(&member, turn.now);
                if let Some(found) = self.members.get_mut(&member) {
                    found.synced = true;
                }
                self.reply_stored(turn, token, GroupReply::Synced(self.synced(&member)));
            }
            _ => return Err(GroupError::RebalanceInProgress),
        }
        Ok(())
    }

    /// The assignments by member, if they can be stored.
    fn assignments(&self, assignments: Vec<MemberAssignment>) -> Result<BTreeMap<String, Bytes>, GroupError> {
        let by_member = assignments.into_iter().filter(|given| self.members.contains(&given.member));
        let by_member: BTreeMap<_, _> = by_member.map(|given| (given.member, given.assignment)).collect();
        let bytes: usize = by_member.values().map(Bytes::len).sum();
        if bytes > ASSIGNMENTS_BYTES_MAX { Err(GroupError::TooLarge) } else { Ok(by_member) }
    }

    /// Gives every member its share; nothing to whom the leader has forgotten.
    fn assign(&mut self, mut assignments: BTreeMap<String, Bytes>) {
        for member in self.members.iter_mut() {
            let given = assignments.remove(&member.kept.id).unwrap_or_default();
            // In memory of its own: a slice would pin its network buffer.
            member.kept.assignment = Bytes::copy_from_slice(&given);
        }
    }

    /// Stores the assignments, then answers those who wait for them.
    fn answer_syncs(&mut self, turn: &mut Turn<'_>) {
        let mut then = Vec::new();
        for id in self.members.ids(|member| member.syncing.is_some()) {
            if let Some(token) = self.members.get_mut(&id).and_then(|member| member.syncing.take()) {
                then.push((token, GroupReply::Synced(self.synced(&id))));
            }
            self.refresh(&id, turn.now);
        }
        self.save(turn, then);
    }

    /// Lets a sync wait for the leader's. One that waited before is a repeated request.
    fn wait_to_sync(&mut self, turn: &mut Turn<'_>, token: Token, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.synced = true;
        if let Some(before) = member.syncing.replace(token) {
            turn.refuse(before, GroupError::RebalanceInProgress);
        }
    }

    /// A member says that it is alive.
    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.check_current(member, instance, generation)?;
        self.refresh(member, turn.now);
        match self.phase {
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}
