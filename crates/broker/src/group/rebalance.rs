//! The turning of generations: when a join phase begins and ends, and who is removed.

use super::error::GroupError;
use super::group::{Group, Initial, Phase};
use super::output::Turn;
use super::reply::GroupReply;
use bytes::Bytes;

impl Group {
    /// Something has changed that asks for a new generation: begins a join phase, or ends one that
    /// only waited for this.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        let was = self.phase;
        match was {
            Phase::Dead { .. } => return,
            Phase::Preparing { .. } => return self.try_end_join_phase(turn),
            Phase::Completing { .. } => self.send_back_syncs(turn),
            Phase::Empty { .. } | Phase::Stable { .. } => {}
        }
        let timeout = self.members.rebalance_timeout();
        let delay = turn.config.initial_rebalance_delay;
        let (wait, initial) = match was {
            Phase::Empty { .. } => (delay, Some(Initial { remaining: timeout.saturating_sub(delay), joined: false })),
            _ => (timeout, None),
        };
        let ends = turn.now.plus(wait);
        self.phase = Phase::Preparing { ends, initial };
        self.wake_by(ends);
        if initial.is_some() && delay == 0 {
            self.end_join_phase(turn);
        } else {
            self.try_end_join_phase(turn);
        }
    }

    /// Ends the join phase if nobody is missing.
    pub(super) fn try_end_join_phase(&mut self, turn: &mut Turn<'_>) {
        let Phase::Preparing { initial, .. } = self.phase else { return };
        let complete = initial.is_none() && self.pending.is_empty() && self.members.all_joining();
        if self.members.is_empty() || complete {
            self.end_join_phase(turn);
        }
    }

    /// Begins the next generation with those who have joined.
    fn end_join_phase(&mut self, turn: &mut Turn<'_>) {
        let keep_static = !turn.config.remove_absent_static;
        let absent =
            self.members.ids(|member| member.joining().is_none() && !(keep_static && member.kept.instance.is_some()));
        for id in absent {
            self.remove_member(turn, &id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Static members only, none of which is here: they have until their sessions end.
            let ends = turn.now.plus(self.members.rebalance_timeout());
            self.phase = Phase::Preparing { ends, initial: None };
            self.wake_by(ends);
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.members.choose_protocol();
        if self.members.is_empty() {
            self.phase = Phase::Empty { since: turn.now };
            return self.save(turn, Vec::new());
        }
        let sync_ends = turn.now.plus(self.members.rebalance_timeout());
        self.phase = Phase::Completing { sync_ends };
        self.wake_by(sync_ends);
        for member in self.members.iter_mut() {
            member.synced = false;
            member.kept.assignment = Bytes::new();
        }
        let mut then = Vec::new();
        for id in self.members.ids(|member| member.joining().is_some()) {
            if let Some(token) = self.members.set_joining(&id, None) {
                then.push((token, GroupReply::Joined(self.joined(&id))));
            }
            self.refresh(&id, turn.now);
        }
        self.save(turn, then);
    }

    /// Sees to it that the leader is a member that has joined, if any has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &str| self.members.get(id).is_some_and(|member| member.joining().is_some());
        if !self.leader.as_deref().is_some_and(has_joined)
            && let Some(joined) = self.members.iter().find(|member| member.joining().is_some())
        {
            self.leader = Some(joined.kept.id.clone());
        }
        self.leader.as_deref().is_some_and(has_joined)
    }

    /// Removes a member. What it waits for is answered as to one that never was, so that a client
    /// that is still there starts over.
    pub(super) fn remove_member(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        for waiting in member.joining().into_iter().chain(member.syncing) {
            turn.refuse(waiting, GroupError::UnknownMember);
        }
        if self.is_leader(id) {
            self.leader = self.members.iter().next().map(|member| member.kept.id.clone());
        }
    }

    /// Members wait for assignments that will not come: they have to join again.
    fn send_back_syncs(&mut self, turn: &mut Turn<'_>) {
        for id in self.members.ids(|member| member.syncing.is_some()) {
            if let Some(token) = self.members.get_mut(&id).and_then(|member| member.syncing.take()) {
                turn.refuse(token, GroupError::RebalanceInProgress);
            }
            self.refresh(&id, turn.now);
        }
    }

    /// Does what is due: ends sessions and phases.
    pub(super) fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let pending = self.pending.len();
        self.pending.retain(|_, expires| *expires > now);
        let expired = self.members.ids(|member| member.session_end().is_some_and(|end| end <= now));
        for id in &expired {
            self.remove_member(turn, id);
        }
        if !expired.is_empty() {
            self.rebalance(turn);
        } else if self.pending.len() < pending {
            self.try_end_join_phase(turn);
        }
        match self.phase {
            Phase::Preparing { ends, initial } if ends <= now => self.end_or_prolong(turn, initial),
            Phase::Completing { sync_ends } if sync_ends <= now => self.end_sync_phase(turn),
            Phase::Stable { sync_ends: Some(sync_ends) } if sync_ends <= now => self.end_sync_phase(turn),
            _ => {}
        }
        self.set_wake();
    }

    /// The join phase is over, unless it is a first one that members keep joining.
    fn end_or_prolong(&mut self, turn: &mut Turn<'_>, initial: Option<Initial>) {
        match initial {
            Some(Initial { remaining, joined: true }) if remaining > 0 => {
                let delay = turn.config.initial_rebalance_delay.min(remaining);
                let initial = Initial { remaining: remaining - delay, joined: false };
                self.phase = Phase::Preparing { ends: turn.now.plus(delay), initial: Some(initial) };
            }
            _ => self.end_join_phase(turn),
        }
    }

    /// Who has not asked for its assignment by now does not work.
    fn end_sync_phase(&mut self, turn: &mut Turn<'_>) {
        let silent = self.members.ids(|member| !member.synced);
        for id in &silent {
            self.remove_member(turn, id);
        }
        if silent.is_empty() {
            self.phase = match self.phase {
                Phase::Stable { .. } => Phase::Stable { sync_ends: None },
                other => other,
            };
        } else {
            self.rebalance(turn);
        }
    }
}
