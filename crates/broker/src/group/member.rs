//! Members, and what is counted over them.

use super::output::Token;
use super::request::Protocol;
use super::stored::StoredMember;
use model::Timestamp;
use std::collections::BTreeMap;

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    /// What survives of it.
    pub(super) kept: StoredMember,
    /// Its join that waits.
    joining: Option<Token>,
    /// Its sync that waits.
    pub(super) syncing: Option<Token>,
    /// It has asked for its assignment in this generation.
    pub(super) synced: bool,
    /// When its session ends, unless it waits for an answer.
    pub(super) expires: Timestamp,
}

impl Member {
    /// A member of which `now` is the first word.
    pub(super) fn new(kept: StoredMember, now: Timestamp) -> Self {
        let expires = now.plus(kept.session_timeout);
        Member { kept, joining: None, syncing: None, synced: false, expires }
    }

    pub(super) fn joining(&self) -> Option<Token> {
        self.joining
    }

    /// Starts its session anew; answers when it ends.
    pub(super) fn refresh(&mut self, now: Timestamp) -> Timestamp {
        self.expires = now.plus(self.kept.session_timeout);
        self.expires
    }

    /// When its session ends. Not while we are the one who owes a word.
    pub(super) fn session_end(&self) -> Option<Timestamp> {
        (self.joining.is_none() && self.syncing.is_none()).then_some(self.expires)
    }
}

/// The members of a group.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<String, Member>,
    /// Member by static id.
    instances: BTreeMap<String, String>,
    /// How many members support a protocol.
    supported: BTreeMap<String, usize>,
    /// How many have a join that waits.
    joining: usize,
    /// A bound of the bytes to store, without assignments.
    bytes: usize,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// For everything but `kept.protocols`, which is counted: see [`Members::update`].
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    /// See [`Members::get_mut`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut()
    }

    /// The ids of those that `chosen` picks.
    pub(super) fn ids(&self, chosen: impl Fn(&Member) -> bool) -> Vec<String> {
        self.iter().filter(|member| chosen(member)).map(|member| member.kept.id.clone()).collect()
    }

    /// The member with a static id.
    pub(super) fn static_id(&self, instance: &str) -> Option<&str> {
        self.instances.get(instance).map(String::as_str)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn all_joining(&self) -> bool {
        self.joining == self.by_id.len()
    }

    /// The longest rebalance timeout, in milliseconds.
    pub(super) fn rebalance_timeout(&self) -> u64 {
        self.iter().map(|member| member.kept.rebalance_timeout).max().unwrap_or(0)
    }

    pub(super) fn supported_by_all(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.by_id.len()
    }

    /// The protocol with the most votes, where each member votes for the one it likes best among
    /// those that all support.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.iter() {
            let mut liked = member.kept.protocols.iter().map(|protocol| protocol.name.as_str());
            if let Some(vote) = liked.find(|protocol| self.supported_by_all(protocol)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(protocol, _)| protocol.to_owned())
    }

    pub(super) fn insert(&mut self, member: Member) {
        debug_assert!(!self.contains(&member.kept.id), "ids are unique");
        if let Some(instance) = &member.kept.instance {
            self.instances.insert(instance.clone(), member.kept.id.clone());
        }
        self.count(&member);
        self.by_id.insert(member.kept.id.clone(), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        self.discount(&member);
        if let Some(instance) = &member.kept.instance {
            self.instances.remove(instance);
        }
        Some(member)
    }

    /// Gives a member other protocols and timeouts, in milliseconds.
    pub(super) fn update(&mut self, id: &str, protocols: Vec<Protocol>, session_timeout: u64, rebalance_timeout: u64) {
        let Some(mut member) = self.by_id.remove(id) else { return };
        self.discount(&member);
        member.kept.protocols = protocols;
        member.kept.session_timeout = session_timeout;
        member.kept.rebalance_timeout = rebalance_timeout;
        self.count(&member);
        self.by_id.insert(id.to_owned(), member);
    }

    /// Lets a member's join wait, or stop waiting; answers the one that waited until now.
    pub(super) fn set_joining(&mut self, id: &str, token: Option<Token>) -> Option<Token> {
        let member = self.by_id.get_mut(id)?;
        let before = std::mem::replace(&mut member.joining, token);
        self.joining -= usize::from(before.is_some());
        self.joining += usize::from(token.is_some());
        before
    }

    fn count(&mut self, member: &Member) {
        for protocol in &member.kept.protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
        self.joining += usize::from(member.joining.is_some());
        self.bytes += member.kept.bytes();
    }

    fn discount(&mut self, member: &Member) {
        for protocol in &member.kept.protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
        self.joining -= usize::from(member.joining.is_some());
        self.bytes -= member.kept.bytes();
    }
}
