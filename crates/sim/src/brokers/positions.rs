//! What groups committed, against what they are told when they read it back. A group has one client, or members.

use model::StreamId;
use std::collections::BTreeMap;

/// A group's position over a log.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// Asked to be committed, whatever came of it.
    asked: u64,
    /// Acknowledged, or read back.
    known: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<(String, StreamId), Position>);

impl Positions {
    fn at(&mut self, group: &str, log: StreamId) -> &mut Position {
        self.0.entry((group.to_owned(), log)).or_default()
    }

    /// The group asks to commit.
    pub(super) fn asked(&mut self, group: &str, log: StreamId, offset: u64) {
        let position = self.at(group, log);
        position.asked = position.asked.max(offset);
    }

    /// That was acknowledged.
    pub(super) fn committed(&mut self, group: &str, log: StreamId, offset: u64) {
        let position = self.at(group, log);
        position.known = position.known.max(Some(offset));
    }

    /// The furthest that anybody has asked for.
    pub(super) fn furthest(&self, group: &str, log: StreamId) -> u64 {
        self.0.get(&(group.to_owned(), log)).map_or(0, |position| position.asked)
    }

    /// What is known of where the group is at least.
    pub(super) fn known(&self, group: &str, log: StreamId) -> Option<u64> {
        self.0.get(&(group.to_owned(), log)).and_then(|position| position.known)
    }

    /// Judges what the group reads back, whose only client asked for that.
    pub(super) fn read(&mut self, group: &str, log: StreamId, offset: Option<u64>) -> Result<(), String> {
        let known = self.known(group, log);
        self.read_since(group, log, known, offset)
    }

    /// Judges what one of several clients of a group reads back. `known` was, when it asked.
    pub(super) fn read_since(
        &mut self,
        group: &str,
        log: StreamId,
        known: Option<u64>,
        offset: Option<u64>,
    ) -> Result<(), String> {
        let position = self.at(group, log);
        let asked = position.asked;
        if offset < known {
            return Err(format!("{group} is told that it is at {offset:?} of {log}, and was at {known:?}"));
        }
        if offset.is_some_and(|offset| offset > asked) {
            return Err(format!("{group} is told that it is at {offset:?} of {log}, and never asked beyond {asked}"));
        }
        position.known = position.known.max(offset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_does_not_go_back() {
        let (mut positions, log) = (Positions::default(), StreamId(3));
        assert_eq!(positions.read("g", log, None), Ok(()));
        positions.asked("g", log, 5);
        assert_eq!(positions.read("g", log, None), Ok(()), "it may not have been done");
        positions.committed("g", log, 5);
        assert!(positions.read("g", log, None).is_err());
        positions.asked("g", log, 8);
        assert_eq!(positions.read("g", log, Some(8)), Ok(()), "it may have been done");
        assert!(positions.read("g", log, Some(5)).is_err(), "what was read is known");
        assert!(positions.read("g", log, Some(9)).is_err(), "nobody asked for that");
        assert_eq!(positions.furthest("g", log), 8);
        positions.asked("g", log, 9);
        positions.committed("g", log, 9);
        assert_eq!(positions.read_since("g", log, Some(8), Some(8)), Ok(()), "it was asked for before");
        assert_eq!(positions.known("g", log), Some(9));
    }
}
