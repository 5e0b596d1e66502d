//! The groups of one place, and whose turn it is.

use super::config::GroupConfig;
use super::error::GroupError;
use super::expiry::Expirable;
use super::group::{Group, Phase};
use super::output::{Output, SaveNumber, Token, Turn};
use super::reply::{GroupReply, LeftMember};
use super::request::{GroupRequest, LeavingMember};
use model::{Timestamp, WireError, limit};
use std::collections::{BTreeMap, BTreeSet};

/// The groups of one place. Time comes in with every call and need not run evenly; when it runs
/// backwards, things end later.
#[derive(Debug)]
pub struct Coordinator {
    config: GroupConfig,
    groups: BTreeMap<String, Group>,
    /// When which group may have something to do.
    wakes: BTreeSet<(Timestamp, String)>,
    last_number: SaveNumber,
}

impl Coordinator {
    /// A coordinator without groups.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Coordinator { config, groups: BTreeMap::new(), wakes: BTreeSet::new(), last_number: 0 }
    }

    /// Takes over a group as the log has it (`SaveGroup`). Every member gets its full session
    /// timeout again, a generation that was not assigned yet its full rebalance timeout.
    ///
    /// # Errors
    /// When `stored` is not a group.
    pub fn load(&mut self, group: &str, stored: &[u8], now: Timestamp) -> Result<(), WireError> {
        let loaded = Group::load(group, stored, now)?;
        self.insert(loaded);
        Ok(())
    }

    /// Takes over a group of which the log has nothing but offsets: it has only ever had consumers
    /// outside of the group protocol. Does nothing to a group that is known.
    pub fn load_offsets_only(&mut self, group: &str, now: Timestamp) {
        if !self.groups.contains_key(group) {
            let mut loaded = Group::new(group, now);
            loaded.in_log = true;
            self.insert(loaded);
        }
    }

    /// Does what is asked. The answer to `token` is among the outputs of this call or a later one.
    pub fn handle(&mut self, now: Timestamp, token: Token, request: GroupRequest, out: &mut Vec<Output>) {
        let Some(id) = request.group().map(str::to_owned) else {
            let reply = GroupReply::Listed(self.groups.values().map(Group::listed).collect());
            return out.push(Output::Reply { token, reply });
        };
        if let Some(reply) = refuse_id(&request) {
            return out.push(Output::Reply { token, reply });
        }
        if !self.groups.contains_key(&id) {
            if !makes_group(&request) || self.groups.len() >= self.config.groups_max {
                return out.push(Output::Reply { token, reply: unknown_group(&request) });
            }
            self.groups.insert(id.clone(), Group::new(&id, now));
        }
        self.with_group(&id, now, out, |group, turn| answer(group, turn, token, request));
    }

    /// Ends sessions and phases that are due.
    pub fn on_timeout(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let due = self.wakes.iter().take_while(|(wake, _)| *wake <= now);
        let due: Vec<String> = due.map(|(_, group)| group.clone()).collect();
        for group in due {
            self.with_group(&group, now, out, Group::on_timeout);
        }
    }

    /// Nothing is due before. Something need not be due then: heartbeats do not move it.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// What became of an [`Output::Save`] or [`Output::Forget`]: `done` when it has committed, not
    /// `done` when it failed or nobody knows. To be told in the order of the numbers of a group,
    /// after its `then` or `failed` answers were given; more answers may follow.
    /// Verdicts on the saves of an earlier coordinator must not come here: numbers begin anew.
    pub fn saved(&mut self, group: &str, number: SaveNumber, done: bool, out: &mut Vec<Output>) {
        let gone = self.groups.get_mut(group).is_some_and(|group| group.saved(number, done, out));
        if gone {
            self.remove(group);
        }
    }

    /// The connection of a request that waits is gone: it will not be answered. Its member stays
    /// until its session ends, which begins anew.
    pub fn forget_token(&mut self, group: &str, token: Token, now: Timestamp) {
        self.with_group(group, now, &mut Vec::new(), |group, turn| group.forget_token(token, turn.now));
    }

    /// What of each group may be forgotten by `now` (KIP-211).
    #[must_use]
    pub fn expirable(&self, now: Timestamp) -> Vec<(String, Expirable)> {
        let before = now.minus(self.config.offsets_retention);
        self.groups.values().filter_map(|group| Some((group.id.clone(), group.expirable(before)?))).collect()
    }

    /// Forgets a group that has no members, and whatever is left of its offsets; not if it had members,
    /// or somebody committed an offset, a moment ago.
    pub fn expire(&mut self, group: &str, now: Timestamp, out: &mut Vec<Output>) {
        /// Longer than a commit is under way.
        const MOMENT_MILLIS: u64 = 60_000;
        let moment = MOMENT_MILLIS.min(self.config.offsets_retention);
        self.with_group(group, now, out, |group, turn| {
            if let Phase::Empty { since } = group.phase
                && since <= now.minus(moment)
                && group.pending.is_empty()
            {
                group.forget(turn, None, since);
            }
        });
    }

    /// Gives a group its turn and keeps the books about it.
    fn with_group(
        &mut self,
        id: &str,
        now: Timestamp,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>),
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let before = group.wake();
        act(group, &mut Turn { now, config: &self.config, last_number: &mut self.last_number, out });
        let (after, blank) = (group.wake(), group.is_blank());
        if before != after {
            self.wakes.extend(after.map(|wake| (wake, id.to_owned())));
            if let Some(before) = before {
                self.wakes.remove(&(before, id.to_owned()));
            }
        }
        if blank {
            self.remove(id);
        }
    }

    fn insert(&mut self, group: Group) {
        self.remove(&group.id);
        self.wakes.extend(group.wake().map(|wake| (wake, group.id.clone())));
        self.groups.insert(group.id.clone(), group);
    }

    fn remove(&mut self, id: &str) {
        if let Some(wake) = self.groups.remove(id).and_then(|group| group.wake()) {
            self.wakes.remove(&(wake, id.to_owned()));
        }
    }

    /// The groups, for tests that look inside.
    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }
}

/// Refuses names that are none. Kafka lets consumers outside of the group protocol commit under an
/// empty one.
fn refuse_id(request: &GroupRequest) -> Option<GroupReply> {
    let id = request.group()?;
    let needs_name = matches!(
        request,
        GroupRequest::Join(_)
            | GroupRequest::Sync(_)
            | GroupRequest::Heartbeat { .. }
            | GroupRequest::Leave { .. }
            | GroupRequest::CheckDelete { .. }
    );
    let invalid = id.len() > limit::NAME_BYTES_MAX || (id.is_empty() && needs_name);
    invalid.then(|| refuse(request, GroupError::InvalidGroupId))
}

/// Whether a group comes to be when it is not there.
fn makes_group(request: &GroupRequest) -> bool {
    match request {
        GroupRequest::Join(join) => join.member.is_empty(),
        GroupRequest::CheckCommit { generation, .. } => *generation < 0,
        _ => false,
    }
}

/// What is answered about a group that is not there.
fn unknown_group(request: &GroupRequest) -> GroupReply {
    let error = match request {
        _ if makes_group(request) => GroupError::TooManyGroups,
        GroupRequest::Describe { .. }
        | GroupRequest::Delete { .. }
        | GroupRequest::CheckDelete { .. }
        | GroupRequest::CheckCommit { .. } => GroupError::GroupIdNotFound,
        GroupRequest::Leave { members, .. } => {
            let left = members.iter().cloned().map(|LeavingMember { member, instance }| LeftMember {
                member,
                instance,
                result: Err(GroupError::UnknownMember),
            });
            return GroupReply::Left(left.collect());
        }
        _ => GroupError::UnknownMember,
    };
    refuse(request, error)
}

fn refuse(request: &GroupRequest, error: GroupError) -> GroupReply {
    let member = match request {
        GroupRequest::Join(join) => join.member.clone(),
        _ => String::new(),
    };
    GroupReply::Refused { error, member }
}

/// A group does what is asked of it.
fn answer(group: &mut Group, turn: &mut Turn<'_>, token: Token, request: GroupRequest) {
    let reply = match request {
        GroupRequest::Join(join) => return group.join(turn, token, join),
        GroupRequest::Sync(sync) => return group.sync(turn, token, sync),
        GroupRequest::Leave { members, .. } => return group.leave(turn, token, members),
        GroupRequest::Heartbeat { member, instance, generation, .. } => {
            let checked = group.heartbeat(turn, &member, instance.as_deref(), generation);
            checked.map(|()| GroupReply::Alive)
        }
        GroupRequest::CheckCommit { member, instance, generation, .. } => {
            let checked = group.check_commit(turn, &member, instance.as_deref(), generation);
            checked.map(|()| GroupReply::MayCommit)
        }
        GroupRequest::Describe { .. } => Ok(GroupReply::Described(group.described())),
        GroupRequest::CheckDelete { .. } => group.check_delete(),
        GroupRequest::Delete { .. } => match group.phase {
            Phase::Empty { since } => return group.forget(turn, Some(token), since),
            Phase::Dead { .. } => Err(GroupError::CoordinatorNotAvailable),
            _ => Err(GroupError::NonEmpty),
        },
        // Answered without a group.
        GroupRequest::List => Ok(GroupReply::Listed(vec![group.listed()])),
    };
    turn.reply(token, reply.unwrap_or_else(GroupReply::refused));
}
