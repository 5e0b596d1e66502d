//! What of a group the log has, and the answers that wait for it.

use super::group::{Group, Phase};
use super::output::{Output, SaveNumber, Token, Turn, failure, failures};
use super::reply::GroupReply;
use model::Timestamp;

/// What of a group the log has.
#[derive(Debug, Default)]
pub(super) struct Durable {
    state: State,
    /// Answers that reveal what the save of that number stores.
    held: Vec<(SaveNumber, Token, GroupReply)>,
}

/// How far the last save has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The log has it.
    #[default]
    Stored,
    /// The log will have it, once this save has committed.
    Storing(SaveNumber),
    /// The log may have an older one only: the save failed, or nobody knows.
    Failed,
}

impl Durable {
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Stored && self.held.is_empty()
    }

    pub(super) fn forget_token(&mut self, token: Token) {
        self.held.retain(|(_, held, _)| *held != token);
    }
}

impl Group {
    /// Stores the group as it is now, then gives these answers.
    pub(super) fn save(&mut self, turn: &mut Turn<'_>, then: Vec<(Token, GroupReply)>) {
        let number = turn.number();
        self.durable.state = State::Storing(number);
        self.in_log = true;
        let (state, failed) = (self.stored().into_bytes(), failures(&then));
        turn.out.push(Output::Save { group: self.id.clone(), number, state, then, failed });
    }

    /// Deletes the empty group from the log, then answers whoever asked. It is dead in the meantime.
    pub(super) fn forget(&mut self, turn: &mut Turn<'_>, token: Option<Token>, since: Timestamp) {
        let number = turn.number();
        self.durable.state = State::Storing(number);
        self.phase = Phase::Dead { since };
        self.pending.clear();
        let then: Vec<_> = token.map(|token| (token, GroupReply::Deleted)).into_iter().collect();
        let failed = failures(&then);
        turn.out.push(Output::Forget { group: self.id.clone(), number, then, failed });
    }

    /// Gives an answer that reveals the generation, as soon as the log has it. Not for a group that
    /// rebalances: its generation is over.
    pub(super) fn reply_stored(&mut self, turn: &mut Turn<'_>, token: Token, reply: GroupReply) {
        match self.durable.state {
            State::Stored => turn.reply(token, reply),
            State::Storing(number) => self.durable.held.push((number, token, reply)),
            State::Failed => self.save(turn, vec![(token, reply)]),
        }
    }

    /// The log has said what became of a save. Answers whether the group is gone with it.
    pub(super) fn saved(&mut self, number: SaveNumber, done: bool, out: &mut Vec<Output>) -> bool {
        let held = std::mem::take(&mut self.durable.held);
        let (ripe, held) = held.into_iter().partition(|(save, ..)| *save <= number);
        self.durable.held = held;
        for (_, token, reply) in ripe {
            let reply = if done { reply } else { failure(&reply) };
            out.push(Output::Reply { token, reply });
        }
        // An older one changes nothing: the last stores everything.
        if self.durable.state != State::Storing(number) {
            return false;
        }
        self.durable.state = if done { State::Stored } else { State::Failed };
        let Phase::Dead { since } = self.phase else { return false };
        if !done {
            self.phase = Phase::Empty { since };
        }
        done
    }
}
