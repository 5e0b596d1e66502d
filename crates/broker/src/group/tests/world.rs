//! What [`super::chance`] plays with: clients, a log and a coordinator, and what has to hold.

use super::chance::Step;
use crate::group::group::{Group, Phase};
use crate::group::*;
use bytes::Bytes;
use model::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Static ids of the clients.
pub(super) const CLIENTS: [Option<&str>; 5] = [None, None, None, Some("i"), Some("j")];
pub(super) const PROTOCOLS: [&[&str]; 3] = [&["range", "rr"], &["rr", "range"], &["range"]];

/// What a client would do.
#[derive(Clone, Copy, Default)]
enum Next {
    #[default]
    Join,
    Sync,
    Heartbeat,
}

#[derive(Clone, Default)]
struct Client {
    next: Next,
    member: String,
    generation: i32,
    /// As the leader of that generation: all members.
    members: Vec<String>,
    waits: Option<Token>,
}

/// Number, state, answers when done, answers when not.
type Saving = (SaveNumber, Bytes, Vec<(Token, GroupReply)>, Vec<(Token, GroupReply)>);

pub(super) struct World {
    config: GroupConfig,
    coordinator: Coordinator,
    now: Timestamp,
    clients: Vec<Client>,
    last_token: Token,
    /// Requests that are to be answered, with the client and the generation it was in.
    open: BTreeMap<Token, (usize, i32)>,
    /// Saves the log has not answered.
    saving: VecDeque<Saving>,
    log: Option<Bytes>,
    /// The highest generation anyone was told.
    told: i32,
    /// Leader and members by generation; static members by their static id.
    leaders: BTreeMap<i32, String>,
    memberships: BTreeMap<i32, BTreeSet<String>>,
    /// What tells one assignment by the leader from another, by generation: as sent, as received.
    sent: BTreeMap<i32, BTreeSet<Token>>,
    received: BTreeMap<i32, Token>,
    /// Everyone who was ever in a generation.
    past: BTreeSet<(i32, usize, String)>,
}

/// What stays the same when a static member restarts.
fn identity(member: &str) -> String {
    let name = member.split('-').next().unwrap();
    if name == "c" { member.to_owned() } else { name.to_owned() }
}

impl World {
    pub(super) fn new(config: GroupConfig) -> Self {
        World {
            coordinator: Coordinator::new(config.clone()),
            config,
            now: Timestamp(0),
            clients: vec![Client::default(); CLIENTS.len()],
            last_token: 0,
            open: BTreeMap::new(),
            saving: VecDeque::new(),
            log: None,
            told: 0,
            leaders: BTreeMap::new(),
            memberships: BTreeMap::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            past: BTreeSet::new(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Act { client } => match self.clients[client].next {
                _ if self.clients[client].waits.is_some() => {}
                Next::Join => self.join(client, false, true, PROTOCOLS[0], 0),
                Next::Sync => self.sync(client),
                Next::Heartbeat => self.step(&Step::Heartbeat { client }),
            },
            Step::Join { client, fresh, need_id, skip, protocols, metadata } => {
                if fresh {
                    self.clients[client].member.clear();
                }
                self.join(client, need_id, skip, PROTOCOLS[protocols], metadata);
            }
            Step::Sync { client } => self.sync(client),
            Step::Heartbeat { client } => {
                let (member, instance, generation) = self.self_of(client);
                let group = "g".to_owned();
                self.ask(client, GroupRequest::Heartbeat { group, member, instance, generation });
            }
            Step::Commit { client } => {
                let (member, instance, generation) = self.self_of(client);
                let group = "g".to_owned();
                self.ask(client, GroupRequest::CheckCommit { group, member, instance, generation });
            }
            Step::Leave { client } => {
                let (member, instance, _) = self.self_of(client);
                let members = vec![LeavingMember { member, instance }];
                self.ask(client, GroupRequest::Leave { group: "g".to_owned(), members });
            }
            Step::Gone { client } => {
                if let Some(token) = self.clients[client].waits.take() {
                    self.coordinator.forget_token("g", token, self.now);
                    // A save that is under way may still bring the answer; the caller drops it.
                    let under_way = self.saving.iter().any(|(_, _, then, _)| then.iter().any(|(t, _)| *t == token));
                    if !under_way {
                        self.open.remove(&token);
                    }
                }
            }
            Step::Wait { millis } => {
                self.now = Timestamp(self.now.0 + millis);
                let mut out = Vec::new();
                self.coordinator.on_timeout(self.now, &mut out);
                self.outputs(out);
            }
            Step::Saved { done, logged } => self.saved(done, logged),
            Step::Failover { logged } => {
                let taken = self.saving.drain(..).take(logged).last();
                self.log = taken.map(|(_, state, ..)| state).or(self.log.take());
                self.open.clear();
                self.clients.iter_mut().for_each(|client| client.waits = None);
                self.coordinator = Coordinator::new(self.config.clone());
                if let Some(state) = &self.log {
                    self.coordinator.load("g", state, self.now).unwrap();
                }
            }
        }
        self.check();
    }

    fn join(&mut self, client: usize, need_id: bool, skip: bool, protocols: &[&str], metadata: u8) {
        let offer = |name: &&str| Protocol { name: (*name).to_owned(), metadata: Bytes::from(vec![metadata]) };
        let request = GroupRequest::Join(JoinRequest {
            group: "g".to_owned(),
            member: self.clients[client].member.clone(),
            instance: CLIENTS[client].map(str::to_owned),
            client_id: "c".to_owned(),
            client_host: "/".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocols: protocols.iter().map(offer).collect(),
            session_timeout: 6_000,
            rebalance_timeout: 4_000 + 2_000 * client as i32,
            member_id_required: need_id,
            can_skip_assignment: skip,
            random: u128::from(self.last_token),
        });
        self.ask(client, request);
    }

    fn self_of(&self, client: usize) -> (String, Option<String>, i32) {
        let Client { member, generation, .. } = self.clients[client].clone();
        (member, CLIENTS[client].map(str::to_owned), generation)
    }

    fn sync(&mut self, client: usize) {
        let (member, instance, generation) = self.self_of(client);
        let nonce = self.last_token;
        let members = self.clients[client].members.iter();
        let share = |id: &String| Bytes::from(format!("{nonce}/{}", identity(id)));
        let assignments = members.map(|id| MemberAssignment { member: id.clone(), assignment: share(id) }).collect();
        self.sent.entry(generation).or_default().insert(nonce);
        let (group, protocol_type, protocol) = ("g".to_owned(), None, None);
        let sync = SyncRequest { group, member, instance, generation, protocol_type, protocol, assignments };
        self.ask(client, GroupRequest::Sync(sync));
    }

    fn ask(&mut self, client: usize, request: GroupRequest) {
        self.last_token += 1;
        let token = self.last_token;
        self.open.insert(token, (client, self.clients[client].generation));
        self.clients[client].waits = Some(token);
        let mut out = Vec::new();
        self.coordinator.handle(self.now, token, request, &mut out);
        self.outputs(out);
    }

    fn outputs(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Reply { token, reply } => self.reply(token, reply),
                Output::Save { number, state, then, failed, .. } => {
                    let generation = |state| stored::StoredGroup::from_bytes(state).unwrap().generation;
                    assert!(self.log.as_ref().is_none_or(|log| generation(log) <= generation(&state)));
                    self.saving.push_back((number, state, then, failed));
                }
                Output::Forget { .. } => unreachable!("nobody deletes"),
            }
        }
    }

    fn saved(&mut self, done: bool, logged: bool) {
        let Some((number, state, then, failed)) = self.saving.pop_front() else { return };
        if done || logged {
            self.log = Some(state);
        }
        for (token, reply) in if done { then } else { failed } {
            self.reply(token, reply);
        }
        let mut out = Vec::new();
        self.coordinator.saved("g", number, done, &mut out);
        self.outputs(out);
    }

    fn reply(&mut self, token: Token, reply: GroupReply) {
        let (asker, generation) = self.open.remove(&token).expect("answered once, and only what was asked");
        let client = &mut self.clients[asker];
        if client.waits == Some(token) {
            client.waits = None;
        }
        match reply {
            GroupReply::Joined(joined) => {
                assert!(joined.generation >= self.told, "generations do not go back");
                self.told = joined.generation;
                let leader = self.leaders.entry(joined.generation).or_insert_with(|| identity(&joined.leader));
                assert_eq!(*leader, identity(&joined.leader), "a generation has one leader");
                let members: Vec<_> = joined.members.iter().map(|member| member.member.clone()).collect();
                if !members.is_empty() {
                    assert_eq!(joined.member, joined.leader, "only the leader sees the members");
                    assert!(members.contains(&joined.leader), "the leader is a member");
                    let identities: BTreeSet<_> = members.iter().map(|id| identity(id)).collect();
                    let known = self.memberships.entry(joined.generation).or_insert_with(|| identities.clone());
                    assert_eq!(*known, identities, "a generation names one membership");
                }
                self.past.insert((joined.generation, asker, joined.member.clone()));
                let (member, generation, waits) = (joined.member, joined.generation, client.waits);
                *client = Client { next: Next::Sync, member, generation, members, waits };
            }
            GroupReply::Synced(synced) => {
                client.next = Next::Heartbeat;
                let share = std::str::from_utf8(&synced.assignment).unwrap();
                let (nonce, _) = share.split_once('/').expect("the leader assigned to everyone");
                let nonce = nonce.parse().unwrap();
                assert!(self.sent[&generation].contains(&nonce), "it is of the generation");
                assert_eq!(*self.received.entry(generation).or_insert(nonce), nonce, "it is everyone's");
            }
            GroupReply::MayCommit => assert!(generation >= self.told, "nobody of an old generation may commit"),
            GroupReply::Refused { error: GroupError::MemberIdRequired, member } => client.member = member,
            GroupReply::Refused { error, .. } => {
                client.next = Next::Join;
                if matches!(error, GroupError::UnknownMember | GroupError::FencedInstance) {
                    client.member.clear();
                }
            }
            _ => {}
        }
    }

    /// What holds after every step.
    fn check(&mut self) {
        for group in self.coordinator.groups() {
            check_group(group);
        }
        for (generation, client, member) in self.past.range(..(self.told, 0, String::new())) {
            let mut out = Vec::new();
            let (member, instance) = (member.clone(), CLIENTS[*client].map(str::to_owned));
            let request =
                GroupRequest::CheckCommit { group: "g".to_owned(), member, instance, generation: *generation };
            self.coordinator.handle(self.now, 0, request, &mut out);
            assert!(matches!(out[..], [Output::Reply { reply: GroupReply::Refused { .. }, .. }]), "{out:?}");
        }
    }

    /// The log catches up, time passes, nobody asks any more.
    pub(super) fn drain(&mut self) {
        for _ in 0..1_000 {
            while !self.saving.is_empty() {
                self.saved(true, true);
            }
            let Some(next) = self.coordinator.next_timeout() else { break };
            self.now = self.now.max(next);
            let mut out = Vec::new();
            self.coordinator.on_timeout(self.now, &mut out);
            self.outputs(out);
        }
        assert_eq!(self.coordinator.next_timeout(), None, "it comes to rest");
        assert!(self.open.is_empty(), "all are answered: {:?}", self.open);
        assert!(self.coordinator.groups().all(|group| group.members.is_empty() && group.pending.is_empty()));
    }
}

fn check_group(group: &Group) {
    let members = &group.members;
    assert_eq!(group.leader.is_some(), !members.is_empty());
    assert!(group.leader.as_ref().is_none_or(|leader| members.contains(leader)), "the leader is a member");
    assert_eq!(members.all_joining(), members.iter().all(|member| member.joining().is_some()));
    assert_eq!(members.bytes(), members.iter().map(|member| member.kept.bytes()).sum::<usize>());
    assert!(members.is_empty() || members.choose_protocol().is_some(), "all share a protocol");
    let phase = match group.phase {
        Phase::Preparing { ends, .. } => Some(ends),
        Phase::Completing { sync_ends } => Some(sync_ends),
        Phase::Stable { sync_ends } => sync_ends,
        _ => None,
    };
    let ends =
        members.iter().filter_map(|member| member.session_end()).chain(group.pending.values().copied()).chain(phase);
    let wakes_by = |end| group.wake().is_some_and(|wake| wake <= end);
    assert!(ends.min().is_none_or(wakes_by), "nothing is slept through");
}
