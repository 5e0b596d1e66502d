//! Transcripts: lines that begin with `>` go in, the others are what comes out.
//!
//! `> 500 join 7 id=m1 range:a` is a join at 500 ms with token 7. Member ids are written `m` and the
//! token of the join that made them. Unless a transcript says `hold`, saves commit at once.

use crate::group::*;
use bytes::Bytes;
use model::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Runs what goes in and compares what comes out.
#[track_caller]
pub(super) fn check(config: GroupConfig, transcript: &str) {
    let wanted: Vec<&str> = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut run = Run::new(config);
    for line in wanted.iter().filter(|line| line.starts_with('>')) {
        run.step(line);
    }
    let wanted = wanted.join("\n") + "\n";
    assert!(run.text == wanted, "wanted\n{wanted}\ngot\n{}", run.text);
}

/// What the caller of `saved` has to know about one.
struct Saving {
    group: String,
    /// Nothing for a deletion.
    state: Option<Bytes>,
    then: Vec<(Token, GroupReply)>,
    failed: Vec<(Token, GroupReply)>,
}

struct Run {
    config: GroupConfig,
    coordinator: Coordinator,
    /// Whether saves wait for a `saved` line.
    hold: bool,
    saving: BTreeMap<SaveNumber, Saving>,
    log: BTreeMap<String, Bytes>,
    /// Member id by its short form.
    ids: BTreeMap<String, String>,
    text: String,
}

impl Run {
    fn new(config: GroupConfig) -> Self {
        let coordinator = Coordinator::new(config.clone());
        let (saving, log, ids, text) = Default::default();
        Run { config, coordinator, hold: false, saving, log, ids, text }
    }

    fn step(&mut self, line: &str) {
        writeln!(self.text, "{line}").unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let now = Timestamp(words[0].parse().unwrap());
        let mut out = Vec::new();
        match words[1..] {
            ["hold"] => self.hold = true,
            ["timeout"] => self.coordinator.on_timeout(now, &mut out),
            ["next"] => writeln!(self.text, "next {:?}", self.coordinator.next_timeout().map(|time| time.0)).unwrap(),
            ["saved", number, verdict] => self.saved(number.parse().unwrap(), verdict == "ok"),
            ["gone", token] => self.coordinator.forget_token("g", token.parse().unwrap(), now),
            ["failover"] => {
                self.saving.clear();
                self.coordinator = Coordinator::new(self.config.clone());
                for (group, state) in &self.log {
                    self.coordinator.load(group, state, now).unwrap();
                }
            }
            [verb, token, ref rest @ ..] => {
                let request = self.request(verb, token, &Options::new(rest));
                self.coordinator.handle(now, token.parse().unwrap(), request, &mut out);
            }
            _ => panic!("no verb in {line}"),
        }
        self.outputs(out);
    }

    fn request(&self, verb: &str, token: &str, options: &Options<'_>) -> GroupRequest {
        let long = |id: &str| self.ids.get(id).cloned().unwrap_or_else(|| id.to_owned());
        let group = options.get("group").unwrap_or("g").to_owned();
        let member = long(options.get("id").unwrap_or(""));
        let instance = options.get("static").map(str::to_owned);
        let generation = options.number("gen", -1);
        let mut pairs = options.pairs();
        match verb {
            "join" => GroupRequest::Join(JoinRequest {
                group,
                member,
                instance,
                client_id: "c".to_owned(),
                client_host: "/here".to_owned(),
                protocol_type: options.get("type").unwrap_or("consumer").to_owned(),
                protocols: pairs.map(|(name, metadata)| Protocol { name, metadata }).collect(),
                session_timeout: options.number("session", 10_000),
                rebalance_timeout: options.number("rebalance", 60_000),
                member_id_required: options.has("need-id"),
                can_skip_assignment: options.has("can-skip"),
                random: token.parse().unwrap(),
            }),
            "sync" => GroupRequest::Sync(SyncRequest {
                group,
                member,
                instance,
                generation,
                protocol_type: None,
                protocol: options.get("protocol").map(str::to_owned),
                assignments: pairs
                    .map(|(member, assignment)| MemberAssignment { member: long(&member), assignment })
                    .collect(),
            }),
            "heartbeat" => GroupRequest::Heartbeat { group, member, instance, generation },
            "commit" => GroupRequest::CheckCommit { group, member, instance, generation },
            "leave" => {
                let (others, first) = (options.list("ids"), LeavingMember { member, instance });
                let others = others.map(|id| LeavingMember { member: long(id), instance: None });
                GroupRequest::Leave { group, members: std::iter::once(first).chain(others).collect() }
            }
            "describe" => GroupRequest::Describe { group },
            "list" => GroupRequest::List,
            "delete" => GroupRequest::Delete { group },
            other => panic!("{other} with {:?}", pairs.next()),
        }
    }

    fn outputs(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Reply { token, reply } => self.reply(token, &reply),
                Output::Save { group, number, state, then, failed } => {
                    let stored = stored::StoredGroup::from_bytes(&state).unwrap();
                    let stored::StoredGroup { generation, phase, leader, members, .. } = stored;
                    let leader = leader.map(|id| self.short(&id)).unwrap_or_default();
                    let one = |member: &stored::StoredMember| match text(&member.assignment) {
                        "" => self.short(&member.id),
                        assignment => format!("{}:{assignment}", self.short(&member.id)),
                    };
                    let members: Vec<_> = members.iter().map(one).collect();
                    let members = members.join(",");
                    writeln!(self.text, "save {number} {phase:?} gen={generation} leader={leader} members={members}")
                        .unwrap();
                    self.saving.insert(number, Saving { group, state: Some(state), then, failed });
                    self.commit_unless_held(number);
                }
                Output::Forget { group, number, then, failed } => {
                    writeln!(self.text, "forget {number} {group}").unwrap();
                    self.saving.insert(number, Saving { group, state: None, then, failed });
                    self.commit_unless_held(number);
                }
            }
        }
    }

    fn commit_unless_held(&mut self, number: SaveNumber) {
        if !self.hold {
            self.saved(number, true);
        }
    }

    fn saved(&mut self, number: SaveNumber, done: bool) {
        let Saving { group, state, then, failed } = self.saving.remove(&number).unwrap();
        match state {
            Some(state) if done => drop(self.log.insert(group.clone(), state)),
            None if done => drop(self.log.remove(&group)),
            _ => {}
        }
        for (token, reply) in if done { then } else { failed } {
            self.reply(token, &reply);
        }
        let mut out = Vec::new();
        self.coordinator.saved(&group, number, done, &mut out);
        self.outputs(out);
    }

    fn reply(&mut self, token: Token, reply: &GroupReply) {
        let text = match reply {
            GroupReply::Joined(joined) => {
                let seen = |member: &JoinedMember| {
                    let name = member.instance.as_ref().map(|instance| format!("/{instance}")).unwrap_or_default();
                    format!("{}{name}:{}", self.short_seen(&member.member), text(&member.metadata))
                };
                let members: Vec<_> = joined.members.iter().map(seen).collect();
                let Joined { generation, protocol, .. } = joined;
                let (member, leader) = (self.short(&joined.member), self.short(&joined.leader));
                let skip = if joined.skip_assignment { " skip" } else { "" };
                format!("{member} joined gen={generation} {protocol} leader={leader} [{}]{skip}", members.join(" "))
            }
            GroupReply::Synced(synced) => format!("synced {} [{}]", synced.protocol, text(&synced.assignment)),
            GroupReply::Left(left) => {
                let one = |left: &LeftMember| {
                    let name = left.instance.as_ref().map(|instance| format!("/{instance}")).unwrap_or_default();
                    let result = left.result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned());
                    format!("{}{name}={result}", self.short_seen(&left.member))
                };
                format!("left {}", left.iter().map(one).collect::<Vec<_>>().join(" "))
            }
            GroupReply::Described(Description { state, protocol_type, protocol, members, .. }) => {
                let one = |member: &MemberDescription| {
                    let (metadata, assignment) = (text(&member.metadata), text(&member.assignment));
                    format!("{}:{metadata}:{assignment}", self.short_seen(&member.member))
                };
                let members = members.iter().map(one).collect::<Vec<_>>().join(" ");
                format!("{} type={protocol_type} protocol={protocol} [{members}]", state.name())
            }
            GroupReply::Listed(groups) => {
                let one = |group: &ListedGroup| format!("{}/{}/{:?}", group.group, group.protocol_type, group.state);
                format!("listed {}", groups.iter().map(one).collect::<Vec<_>>().join(" "))
            }
            GroupReply::Refused { error, member } if member.is_empty() => format!("{error:?}"),
            GroupReply::Refused { error, member } => format!("{error:?} {}", self.short(member)),
            other => format!("{other:?}"),
        };
        writeln!(self.text, "{token}: {}", text.trim_end()).unwrap();
    }

    /// The short form of a member id: its UUID is the token.
    fn short(&mut self, id: &str) -> String {
        let short = self.short_seen(id);
        self.ids.insert(short.clone(), id.to_owned());
        short
    }

    fn short_seen(&self, id: &str) -> String {
        let token = id.get(id.len().saturating_sub(12)..).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        token.map_or_else(|| id.to_owned(), |token| format!("m{token}"))
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What follows the token: flags, `name=value` and `name:bytes`.
struct Options<'a>(Vec<&'a str>);

impl<'a> Options<'a> {
    fn new(words: &[&'a str]) -> Self {
        Options(words.to_vec())
    }

    fn has(&self, flag: &str) -> bool {
        self.0.contains(&flag)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str, otherwise: i32) -> i32 {
        self.get(name).map_or(otherwise, |value| value.parse().unwrap())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get(name).into_iter().flat_map(|list| list.split(','))
    }

    fn pairs(&self) -> impl Iterator<Item = (String, Bytes)> {
        let pairs = self.0.iter().filter_map(|word| word.split_once(':'));
        pairs.map(|(name, bytes)| (name.to_owned(), Bytes::copy_from_slice(bytes.as_bytes())))
    }
}
