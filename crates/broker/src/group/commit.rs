//! Who may commit offsets.

use super::error::GroupError;
use super::group::{Group, Phase};
use super::output::Turn;

impl Group {
    /// Whether this member may commit now. A consumer outside of the group protocol, whose
    /// generation is less than 0, may only while there are no members.
    pub(super) fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        match self.phase {
            Phase::Dead { .. } => return Err(GroupError::CoordinatorNotAvailable),
            Phase::Empty { .. } if generation < 0 => {
                // Its offsets are going to be in the log, and somebody needs them.
                self.in_log = true;
                self.phase = Phase::Empty { since: turn.now };
                return Ok(());
            }
            _ => self.check_current(member, instance, generation)?,
        }
        self.refresh(member, turn.now);
        // Between join and sync it owns nothing that it could have consumed in this generation.
        match self.phase {
            Phase::Completing { .. } => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}
