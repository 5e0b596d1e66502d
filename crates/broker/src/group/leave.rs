//! Leaving, of one's own will or removed by others.

use super::error::GroupError;
use super::group::{Group, Phase};
use super::output::{Token, Turn};
use super::reply::{GroupReply, LeftMember};
use super::request::LeavingMember;

impl Group {
    /// Members leave; one answer for all.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, token: Token, leaving: Vec<LeavingMember>) {
        if matches!(self.phase, Phase::Dead { .. }) {
            return turn.refuse(token, GroupError::CoordinatorNotAvailable);
        }
        let before = self.members.len();
        let mut left = Vec::with_capacity(leaving.len());
        for LeavingMember { member, instance } in leaving {
            let result = self.leave_one(turn, &member, instance.as_deref());
            left.push(LeftMember { member, instance, result });
        }
        if self.members.len() == before {
            // One that had only been given an id is waited for no longer.
            self.try_end_join_phase(turn);
        } else {
            self.rebalance(turn);
        }
        let left = GroupReply::Left(left);
        match self.phase {
            // The others are still to join: the log learns of it with the next generation.
            Phase::Preparing { .. } => turn.reply(token, left),
            _ if self.members.len() == before => turn.reply(token, left),
            _ => self.reply_stored(turn, token, left),
        }
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if self.pending.remove(member).is_some() {
            return Ok(());
        }
        let id = match instance {
            // An administrator knows the static id only (KIP-345).
            Some(instance) if member.is_empty() => self.members.static_id(instance).unwrap_or_default().to_owned(),
            _ => member.to_owned(),
        };
        self.check_member(&id, instance)?;
        self.remove_member(turn, &id);
        Ok(())
    }
}
