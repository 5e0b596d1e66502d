//! What the coordinator wants done.

use super::config::GroupConfig;
use super::error::GroupError;
use super::reply::GroupReply;
use bytes::Bytes;
use model::Timestamp;

/// Names a request that waits for its answer; chosen by the caller, used once.
pub type Token = u64;

/// Names a [`Output::Save`] or [`Output::Forget`]; rising within a coordinator.
pub type SaveNumber = u64;

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer a request, now.
    Reply {
        /// The request.
        token: Token,
        /// The answer.
        reply: GroupReply,
    },
    /// Store a group in the log (`SaveGroup`). Saves of one group are to be logged in the order of
    /// their numbers, each over the one before. Once it has committed or failed, tell
    /// [`Coordinator::saved`](super::Coordinator::saved): later answers may hang on it.
    Save {
        /// The group.
        group: String,
        /// This save.
        number: SaveNumber,
        /// What to store; at most [`model::limit::GROUP_BYTES_MAX`] bytes.
        state: Bytes,
        /// Answers to give once it has committed.
        then: Vec<(Token, GroupReply)>,
        /// Answers to give instead when it failed, or nobody knows.
        failed: Vec<(Token, GroupReply)>,
    },
    /// Delete a group from the log, and its offsets (`DeleteGroup`). Everything said of
    /// [`Output::Save`] holds here too.
    Forget {
        /// The group.
        group: String,
        /// This deletion.
        number: SaveNumber,
        /// Answers to give once it has committed.
        then: Vec<(Token, GroupReply)>,
        /// Answers to give instead when it failed, or nobody knows.
        failed: Vec<(Token, GroupReply)>,
    },
}

/// The answers to give instead of `then` when the log did not take them.
pub(super) fn failures(then: &[(Token, GroupReply)]) -> Vec<(Token, GroupReply)> {
    then.iter().map(|(token, reply)| (*token, failure(reply))).collect()
}

/// The answer to give instead of `reply` when the log did not take it.
pub(super) fn failure(reply: &GroupReply) -> GroupReply {
    let member = match reply {
        GroupReply::Joined(joined) => joined.member.clone(),
        _ => String::new(),
    };
    GroupReply::Refused { error: GroupError::CoordinatorNotAvailable, member }
}

/// One call of the coordinator: what holds during it, and where its outputs go.
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    pub(super) config: &'a GroupConfig,
    pub(super) last_number: &'a mut SaveNumber,
    pub(super) out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    pub(super) fn number(&mut self) -> SaveNumber {
        *self.last_number += 1;
        *self.last_number
    }

    pub(super) fn reply(&mut self, token: Token, reply: GroupReply) {
        self.out.push(Output::Reply { token, reply });
    }

    pub(super) fn refuse(&mut self, token: Token, error: GroupError) {
        self.reply(token, GroupReply::refused(error));
    }
}
