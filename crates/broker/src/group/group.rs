//! A group: its state, and what can be said of it without changing it.

use super::config::GroupConfig;
use super::durable::Durable;
use super::error::GroupError;
use super::member::{Member, Members};
use super::output::Token;
use super::reply::{Description, GroupState, Joined, JoinedMember, ListedGroup, MemberDescription, Synced};
use super::stored::{StoredGroup, StoredPhase};
use bytes::Bytes;
use model::{Timestamp, WireError};
use std::collections::BTreeMap;

/// A consumer group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: String,
    /// Rises with every join phase that ends.
    pub(super) generation: i32,
    /// Kind of group, of the first member since it was empty.
    pub(super) protocol_type: Option<String>,
    /// Chosen when the join phase ended.
    pub(super) protocol: Option<String>,
    /// A member, unless there is none.
    pub(super) leader: Option<String>,
    pub(super) members: Members,
    /// Ids given to members that have to join again with them (KIP-394), and until when they are kept.
    pub(super) pending: BTreeMap<String, Timestamp>,
    pub(super) phase: Phase,
    pub(super) durable: Durable,
    /// The log has something of this group, or soon will.
    pub(super) in_log: bool,
    /// Nothing has to be done before; perhaps nothing then either, for heartbeats do not move it.
    wake: Option<Timestamp>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty { since: Timestamp },
    /// Members are joining, until `ends` at the latest.
    Preparing { ends: Timestamp, initial: Option<Initial> },
    /// The leader has to assign, all have to sync, until `sync_ends` at the latest.
    Completing { sync_ends: Timestamp },
    /// Assigned. Who has not asked for its assignment at `sync_ends` is removed.
    Stable { sync_ends: Option<Timestamp> },
    /// Being deleted.
    Dead { since: Timestamp },
}

/// The first join phase of a group that was empty waits a while for members nobody knows of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initial {
    /// Milliseconds by which the wait may still be prolonged.
    pub(super) remaining: u64,
    /// A member has joined since it was last prolonged.
    pub(super) joined: bool,
}

impl Group {
    /// A group nobody has heard of.
    pub(super) fn new(id: &str, now: Timestamp) -> Self {
        Group {
            id: id.to_owned(),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            pending: BTreeMap::new(),
            phase: Phase::Empty { since: now },
            durable: Durable::default(),
            in_log: false,
            wake: None,
        }
    }

    /// The group that the log has. Everyone gets their full time again.
    pub(super) fn load(id: &str, stored: &[u8], now: Timestamp) -> Result<Self, WireError> {
        let stored = StoredGroup::from_bytes(stored)?;
        let mut group = Group::new(id, now);
        group.in_log = true;
        group.generation = stored.generation;
        group.protocol_type = stored.protocol_type;
        group.protocol = stored.protocol;
        group.leader = stored.leader;
        for kept in stored.members {
            let member = Member::new(kept, now);
            group.wake_by(member.expires);
            group.members.insert(member);
        }
        let sync_ends = now.plus(group.members.rebalance_timeout());
        group.phase = match stored.phase {
            StoredPhase::Empty { since } => Phase::Empty { since },
            // Nobody knows who has asked for its assignment; those who are gone lose their session.
            StoredPhase::Stable => Phase::Stable { sync_ends: None },
            StoredPhase::Completing => {
                group.wake_by(sync_ends);
                Phase::Completing { sync_ends }
            }
        };
        Ok(group)
    }

    /// The group as the log is to have it.
    pub(super) fn stored(&self) -> StoredGroup {
        let phase = match self.phase {
            Phase::Empty { since } | Phase::Dead { since } => StoredPhase::Empty { since },
            Phase::Stable { .. } => StoredPhase::Stable,
            Phase::Completing { .. } => StoredPhase::Completing,
            // Never stored: the last generation stands until the next begins.
            Phase::Preparing { .. } => unreachable!("a group is not stored while it rebalances"),
        };
        StoredGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            phase,
            members: self.members.iter().map(|member| member.kept.clone()).collect(),
        }
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_blank(&self) -> bool {
        let empty = matches!(self.phase, Phase::Empty { .. });
        empty && !self.in_log && self.pending.is_empty() && self.durable.is_settled()
    }

    /// When to call [`Group::on_timeout`].
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.wake
    }

    /// Something has to be done then, if not earlier.
    pub(super) fn wake_by(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    /// Finds out anew when something has to be done.
    pub(super) fn set_wake(&mut self) {
        let phase = match self.phase {
            Phase::Preparing { ends, .. } => Some(ends),
            Phase::Completing { sync_ends } => Some(sync_ends),
            Phase::Stable { sync_ends } => sync_ends,
            Phase::Empty { .. } | Phase::Dead { .. } => None,
        };
        let sessions = self.members.iter().filter_map(Member::session_end);
        self.wake = sessions.chain(self.pending.values().copied()).chain(phase).min();
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether one more id can be given out.
    pub(super) fn has_room(&self, config: &GroupConfig) -> bool {
        self.members.len() + self.pending.len() < config.members_max()
    }

    /// Whether `member` is one, and the one of its static id (KIP-345).
    pub(super) fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.members.static_id(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(current) if current != member => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains(member) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// The same, and of the current generation.
    pub(super) fn check_current(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if matches!(self.phase, Phase::Dead { .. }) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(member, instance)?;
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    /// Puts off the end of a member's session.
    pub(super) fn refresh(&mut self, member: &str, now: Timestamp) {
        // An end put off needs no earlier wake, but a shorter timeout than the last may.
        if let Some(end) = self.members.get_mut(member).map(|member| member.refresh(now)) {
            self.wake_by(end);
        }
    }

    /// The current generation, as `member` is told of it.
    pub(super) fn joined(&self, member: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let seen = |member: &Member| JoinedMember {
            member: member.kept.id.clone(),
            instance: member.kept.instance.clone(),
            metadata: member.kept.metadata(&protocol),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: member.to_owned(),
            members: if self.is_leader(member) { self.members.iter().map(seen).collect() } else { Vec::new() },
            protocol,
        }
    }

    /// A member's assignment, as it is told of it.
    pub(super) fn synced(&self, member: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: self.members.get(member).map(|member| member.kept.assignment.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty { .. } => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
            Phase::Dead { .. } => GroupState::Dead,
        }
    }

    pub(super) fn listed(&self) -> ListedGroup {
        let protocol_type = self.protocol_type.clone().unwrap_or_default();
        let members = self.members.len();
        ListedGroup { group: self.id.clone(), protocol_type, state: self.state(), members }
    }

    pub(super) fn described(&self) -> Description {
        let ListedGroup { group, protocol_type, state, .. } = self.listed();
        let stable = state == GroupState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.iter().map(|Member { kept, .. }| MemberDescription {
            member: kept.id.clone(),
            instance: kept.instance.clone(),
            client_id: kept.client_id.clone(),
            client_host: kept.client_host.clone(),
            metadata: kept.metadata(&protocol),
            assignment: if stable { kept.assignment.clone() } else { Bytes::new() },
        });
        let members = members.collect();
        Description { group, state, protocol_type, protocol, members }
    }

    /// The connection of a request is gone: nobody waits for its answer. The member stays until its
    /// session ends.
    pub(super) fn forget_token(&mut self, token: Token, now: Timestamp) {
        self.durable.forget_token(token);
        for id in self.members.ids(|member| member.joining() == Some(token) || member.syncing == Some(token)) {
            if self.members.get(&id).is_some_and(|member| member.joining() == Some(token)) {
                self.members.set_joining(&id, None);
            } else if let Some(member) = self.members.get_mut(&id) {
                member.syncing = None;
            }
            self.refresh(&id, now);
        }
    }
}
