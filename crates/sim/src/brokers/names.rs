//! Which topics there are, as far as those know who made and deleted them. Each name has one client.

use model::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A request whose outcome is unknown may come about for so long after nobody waits any more.
const LATE: Duration = Duration::from_secs(30);

/// A topic that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    /// It has so many partitions, or more.
    pub(super) partitions: usize,
    /// What it was set to last; nothing when nobody can tell.
    pub(super) retention: Option<u64>,
}

/// What a node says of a name: a topic, with the number it is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: TopicId,
    pub(super) partitions: usize,
    pub(super) retention: Option<u64>,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Absent,
    Present(Topic),
    /// Something may or may not have been done.
    Unsure,
}

#[derive(Debug)]
struct Name {
    known: Known,
    /// Topics that were asked to be deleted, without an answer.
    doubtful: BTreeSet<TopicId>,
    /// Until then a topic may come about that somebody asked for.
    late: Duration,
}

/// All names that clients use.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: BTreeMap<String, Name>,
    /// Topics that were deleted.
    dead: BTreeSet<TopicId>,
}

impl Names {
    fn name(&mut self, name: &str) -> &mut Name {
        let new = || Name { known: Known::Absent, doubtful: BTreeSet::new(), late: Duration::ZERO };
        self.names.entry(name.to_owned()).or_insert_with(new)
    }

    pub(super) fn known(&mut self, name: &str) -> Known {
        self.name(name).known
    }

    /// A topic that may be there and that somebody has asked to delete.
    pub(super) fn doubtful(&mut self, name: &str) -> Option<TopicId> {
        self.name(name).doubtful.first().copied()
    }

    /// The making of a topic was acknowledged.
    pub(super) fn made(&mut self, name: &str, topic: Topic) -> Result<(), String> {
        let before = std::mem::take(&mut self.name(name).doubtful);
        // There is one topic of a name, so those before it are gone.
        self.dead.extend(before);
        self.name(name).known = Known::Present(topic);
        match self.dead.contains(&topic.id) {
            true => Err(format!("{name} was made as a topic that was deleted: {}", topic.id)),
            false => Ok(()),
        }
    }

    /// The making of a topic was not acknowledged.
    pub(super) fn may_be_made(&mut self, name: &str, now: Duration) {
        let entry = self.name(name);
        (entry.known, entry.late) = (Known::Unsure, now + LATE);
    }

    /// The deletion of a topic was acknowledged.
    pub(super) fn deleted(&mut self, name: &str, id: TopicId, now: Duration) {
        self.dead.insert(id);
        let entry = self.name(name);
        entry.doubtful.remove(&id);
        let sure = entry.doubtful.is_empty() && entry.late < now;
        entry.known = if sure { Known::Absent } else { Known::Unsure };
    }

    /// The deletion of a topic was not acknowledged.
    pub(super) fn may_be_deleted(&mut self, name: &str, id: TopicId) {
        let entry = self.name(name);
        entry.doubtful.insert(id);
        entry.known = Known::Unsure;
    }

    /// Partitions were added, or what the topic is set to was changed.
    pub(super) fn changed(&mut self, name: &str, change: impl FnOnce(&mut Topic)) {
        if let Known::Present(topic) = &mut self.name(name).known {
            change(topic);
        }
    }

    /// A node says that there is a topic, and may be wrong about that as long as it lags.
    pub(super) fn seen(&mut self, name: &str, seen: Seen) -> Result<(), String> {
        let is_dead = self.dead.contains(&seen.id);
        let entry = self.name(name);
        if is_dead || entry.doubtful.contains(&seen.id) {
            return Ok(());
        }
        match entry.known {
            Known::Absent => Err(format!("there is a topic {name} that nobody has made: {seen:?}")),
            Known::Present(topic) if topic.id != seen.id => Err(format!("{name} is {topic:?}, and there is {seen:?}")),
            Known::Present(_) => Ok(()),
            Known::Unsure => {
                let topic = Topic { id: seen.id, partitions: seen.partitions, retention: None };
                entry.known = Known::Present(topic);
                Ok(())
            }
        }
    }

    /// Judges what a node says that has to know.
    pub(super) fn check(&mut self, name: &str, seen: Option<Seen>) -> Result<(), String> {
        let is_dead = seen.is_some_and(|seen| self.dead.contains(&seen.id));
        if is_dead {
            return Err(format!("{name} was deleted, and there is {seen:?}"));
        }
        match (self.name(name).known, seen) {
            (Known::Absent, Some(seen)) => Err(format!("there is no {name}, and there is {seen:?}")),
            (Known::Present(topic), None) => Err(format!("there is {topic:?}, and {name} is not known")),
            (Known::Present(topic), Some(seen)) => {
                let set = topic.retention.is_none() || topic.retention == seen.retention;
                let same = topic.id == seen.id && topic.partitions <= seen.partitions && set;
                if same { Ok(()) } else { Err(format!("{name} is {topic:?}, and it is said to be {seen:?}")) }
            }
            (Known::Absent, None) | (Known::Unsure, _) => Ok(()),
        }
    }

    /// All names.
    pub(super) fn list(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TopicId {
        TopicId([number; 16])
    }

    fn topic(number: u8) -> Topic {
        Topic { id: id(number), partitions: 2, retention: Some(5) }
    }

    fn seen(number: u8) -> Seen {
        Seen { id: id(number), partitions: 2, retention: Some(5) }
    }

    #[test]
    fn what_was_made_is_there_and_what_was_deleted_is_not() {
        let (mut names, now) = (Names::default(), Duration::from_secs(1));
        assert!(names.check("a", None).is_ok() && names.check("a", Some(seen(1))).is_err());
        names.made("a", topic(1)).unwrap();
        assert!(names.check("a", None).is_err() && names.check("a", Some(seen(1))).is_ok());
        names.changed("a", |topic| (topic.partitions, topic.retention) = (3, None));
        assert!(names.check("a", Some(seen(1))).is_err(), "it has more partitions");
        assert!(names.check("a", Some(Seen { partitions: 3, retention: Some(9), ..seen(1) })).is_ok());
        names.deleted("a", id(1), now);
        assert!(names.check("a", None).is_ok() && names.check("a", Some(seen(1))).is_err());
        assert!(names.seen("a", seen(1)).is_ok(), "a node may lag");
        assert!(names.seen("a", seen(2)).is_err(), "nobody made that");
        assert!(names.made("a", topic(1)).is_err(), "a new topic is another one");
    }

    #[test]
    fn what_may_have_been_done_is_found_out() {
        let (mut names, now) = (Names::default(), Duration::from_secs(1));
        names.may_be_made("a", now);
        assert!(names.check("a", None).is_ok() && names.check("a", Some(seen(1))).is_ok());
        names.seen("a", seen(1)).unwrap();
        assert_eq!(names.known("a"), Known::Present(Topic { retention: None, ..topic(1) }));
        names.may_be_deleted("a", id(1));
        names.seen("a", seen(1)).unwrap();
        assert_eq!((names.known("a"), names.doubtful("a")), (Known::Unsure, Some(id(1))));
        names.deleted("a", id(1), now);
        assert_eq!(names.known("a"), Known::Unsure, "the first making may have been late");
        names.made("a", topic(2)).unwrap();
        names.deleted("a", id(2), now + LATE * 2);
        assert_eq!(names.known("a"), Known::Absent);
        names.may_be_deleted("b", id(3));
        names.made("b", topic(4)).unwrap();
        assert!(names.check("b", Some(seen(3))).is_err(), "there is one topic of a name");
        assert_eq!(names.list(), ["a", "b"]);
    }
}
