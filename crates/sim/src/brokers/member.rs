//! Members of consumer groups: they join, share the logs among them, commit positions that only grow, and leave, or
//! are silent for too long. Some do not believe that they are out, and go on committing.

use super::caller::{Caller, Door};
use super::coordinator::Coordinator;
use super::logs::Log;
use crate::time::now;
use broker::group::reply::{Joined, JoinedMember};
use broker::group::request::{GroupRequest, JoinRequest, LeavingMember, MemberAssignment, Protocol, SyncRequest};
use broker::group::{GroupError, GroupReply};
use broker::request::{NewOffset, OffsetCommit, OffsetFetch};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use model::{Offset, StreamId};
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Milliseconds without a word after which a member is out, and for which the others are waited for.
const SESSION_MILLIS: u64 = 1_200;
const REBALANCE_MILLIS: u64 = 600;
/// How long a join may take, for it waits for others.
const PATIENCE: Duration = Duration::from_secs(4);
/// In how many of a hundred cases a member does not believe that it is out.
const STUBBORN_PERCENT: u64 = 35;
/// How often such a one commits then, at most.
const STUBBORN_COMMITS: u64 = 4;
const PROTOCOL: &str = "range";

/// See the module's documentation.
pub(super) struct Member {
    caller: Caller,
    group: String,
    coordinator: Coordinator,
    /// What it is called in the group; empty while it is new.
    member: String,
}

/// What a member has in a generation.
struct Tenure {
    generation: i32,
    /// What it is called there, also when it is out.
    member: String,
    share: BTreeSet<StreamId>,
}

impl Member {
    pub(super) fn new(caller: Caller, group: String) -> Self {
        Member { caller, coordinator: Coordinator::of(&group), group, member: String::new() }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            let Some(joined) = self.join().await else { continue };
            if let Some(tenure) = self.sync(&joined).await {
                self.work(&tenure).await;
            }
        }
    }

    /// What the coordinator answers; nothing when it does not, or another is to be asked.
    async fn ask(&mut self, door: &Door, request: GroupRequest) -> Option<GroupReply> {
        match door.ask(Request::Group(request)).await {
            Some(Reply::Group(Ok(reply))) => Some(reply),
            Some(Reply::Group(Err(error))) => {
                self.coordinator.heed(&error);
                None
            }
            _ => {
                self.coordinator.forget();
                None
            }
        }
    }

    async fn join(&mut self) -> Option<Joined> {
        let door = Door { patience: PATIENCE, ..self.coordinator.door(&mut self.caller)? };
        let asked = now();
        let request = JoinRequest {
            group: self.group.clone(),
            member: self.member.clone(),
            instance: None,
            client_id: format!("c{}", self.caller.number),
            client_host: String::new(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: PROTOCOL.to_owned(), metadata: Bytes::new() }],
            session_timeout: SESSION_MILLIS as i32,
            rebalance_timeout: REBALANCE_MILLIS as i32,
            member_id_required: true,
            can_skip_assignment: false,
            random: u128::from(self.caller.rng.number()),
        };
        match self.ask(&door, GroupRequest::Join(request)).await? {
            GroupReply::Joined(joined) => {
                self.caller.scene.facts.lock().group_joins += 1;
                let (group, generation, leader) = (&self.group, joined.generation, &joined.leader);
                self.caller
                    .note(format_args!("{} is in generation {generation} of {group} by {}", joined.member, door.node));
                let outcome =
                    self.caller.scene.book.lock().generations.joined(group, generation, leader, (asked, now()));
                self.judge(&door, outcome);
                Some(joined)
            }
            GroupReply::Refused { error: GroupError::MemberIdRequired, member } => {
                self.member = member;
                None
            }
            GroupReply::Refused { error, .. } => {
                self.refused(error);
                None
            }
            other => {
                self.caller.violation(format!("a join of {} was told {other:?}", self.group));
                None
            }
        }
    }

    fn judge(&self, door: &Door, outcome: Result<(), String>) {
        if let Err(wrong) = outcome {
            self.caller.violation(format!("by {}: {wrong}", door.node));
        }
    }

    fn refused(&mut self, error: GroupError) {
        if error == GroupError::UnknownMember {
            self.member.clear();
        }
    }

    /// Gets its share; the leader gives everybody theirs first.
    async fn sync(&mut self, joined: &Joined) -> Option<Tenure> {
        let generation = joined.generation;
        let assignments =
            if joined.leader == self.member { self.assign(generation, &joined.members) } else { Vec::new() };
        let door = Door { patience: PATIENCE, ..self.coordinator.door(&mut self.caller)? };
        let request = SyncRequest {
            group: self.group.clone(),
            member: self.member.clone(),
            instance: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        match self.ask(&door, GroupRequest::Sync(request)).await? {
            GroupReply::Synced(synced) => {
                let share = share_of(&synced.assignment);
                let outcome =
                    self.caller.scene.book.lock().generations.synced(&self.group, generation, &self.member, &share);
                self.judge(&door, outcome);
                Some(Tenure { generation, member: self.member.clone(), share })
            }
            GroupReply::Refused { error, .. } => {
                self.refused(error);
                None
            }
            other => {
                self.caller.violation(format!("a sync of {} was told {other:?}", self.group));
                None
            }
        }
    }

    /// Divides the logs there are among all members.
    fn assign(&self, generation: i32, members: &[JoinedMember]) -> Vec<MemberAssignment> {
        let logs = self.caller.scene.logs.lock().all();
        let share = |nth: usize| -> BTreeSet<StreamId> {
            let mine = logs.iter().enumerate().filter(|(log, _)| log % members.len() == nth);
            mine.map(|(_, log)| log.key).collect()
        };
        let shares: BTreeMap<String, BTreeSet<StreamId>> =
            members.iter().enumerate().map(|(nth, member)| (member.member.clone(), share(nth))).collect();
        let written = |share: &BTreeSet<StreamId>| share.iter().flat_map(|key| key.0.to_be_bytes()).collect();
        let assignment = |(member, share): (&String, &BTreeSet<StreamId>)| MemberAssignment {
            member: member.clone(),
            assignment: written(share),
        };
        let assignments = shares.iter().map(assignment).collect();
        self.caller.scene.book.lock().generations.assigned(&self.group, generation, shares);
        assignments
    }

    /// Commits and tells that it lives, for a while.
    async fn work(&mut self, tenure: &Tenure) {
        let logs: Vec<Log> =
            self.caller.scene.logs.lock().all().into_iter().filter(|log| tenure.share.contains(&log.key)).collect();
        for log in &logs {
            self.read(log).await;
        }
        let mut left = None;
        for _ in 0..self.caller.rng.between(3, 30) {
            if self.caller.is_over() || left == Some(0) {
                return;
            }
            self.caller.pause().await;
            if self.caller.rng.percent(4) {
                // The others may take it for dead.
                let silence = self.caller.rng.between(SESSION_MILLIS / 2, 2 * SESSION_MILLIS);
                SimRuntime::sleep(Duration::from_millis(silence)).await;
            }
            let is_in = match self.caller.rng.pick(&logs).cloned() {
                Some(log) if left.is_some() || self.caller.rng.percent(60) => self.commit(&log, tenure).await,
                _ => self.beat(tenure).await,
            };
            left = match left {
                Some(left) => Some(left - 1),
                None if is_in => None,
                None if self.caller.rng.percent(STUBBORN_PERCENT) => Some(self.caller.rng.between(1, STUBBORN_COMMITS)),
                None => return,
            };
        }
        match self.caller.rng.below(4) {
            0 if !self.member.is_empty() => self.leave().await,
            // Nobody hears of it any more.
            1 => self.member.clear(),
            _ => {}
        }
    }

    /// Returns whether it is in the group still, as far as it knows.
    async fn beat(&mut self, tenure: &Tenure) -> bool {
        let Some(door) = self.coordinator.door(&mut self.caller) else { return true };
        let (group, member) = (self.group.clone(), tenure.member.clone());
        let beat = GroupRequest::Heartbeat { group, member, instance: None, generation: tenure.generation };
        match self.ask(&door, beat).await {
            Some(GroupReply::Refused { error, .. }) => {
                self.refused(error);
                false
            }
            _ => true,
        }
    }

    async fn leave(&mut self) {
        let Some(door) = self.coordinator.door(&mut self.caller) else { return };
        let member = std::mem::take(&mut self.member);
        let members = vec![LeavingMember { member, instance: None }];
        let _ = self.ask(&door, GroupRequest::Leave { group: self.group.clone(), members }).await;
    }

    /// Returns whether it is in the group still, as far as it knows.
    async fn commit(&mut self, log: &Log, tenure: &Tenure) -> bool {
        let Some(door) = self.coordinator.door(&mut self.caller) else { return true };
        let step = self.caller.rng.between(1, 20);
        let offset = {
            let mut book = self.caller.scene.book.lock();
            let offset = book.positions.furthest(&self.group, log.key) + step;
            book.positions.asked(&self.group, log.key, offset);
            offset
        };
        let new = NewOffset {
            partition: log.partition.clone(),
            offset: Offset(offset),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let (group, member, generation) = (self.group.clone(), tenure.member.clone(), tenure.generation);
        let commit = OffsetCommit { group, member, instance: None, generation, offsets: vec![new] };
        let asked = now();
        let answer = match door.ask(Request::CommitOffsets(commit)).await {
            Some(Reply::OffsetsCommitted(committed)) => committed.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(())) => {
                self.caller.note(format_args!(
                    "{} of generation {generation} is at {offset} of {} by {}",
                    self.group, log.key, door.node
                ));
                let outcome = {
                    let mut book = self.caller.scene.book.lock();
                    book.positions.committed(&self.group, log.key, offset);
                    book.generations.committed(&self.group, generation, asked)
                };
                self.judge(&door, outcome);
                self.caller.scene.facts.lock().member_commits += 1;
                true
            }
            Some(Err(BrokerError::Group(error))) => {
                self.caller.scene.facts.lock().member_commits_refused += 1;
                self.coordinator.forget();
                self.refused(error);
                error == GroupError::CoordinatorNotAvailable || error == GroupError::CoordinatorMoving
            }
            Some(Err(error)) => {
                self.coordinator.heed(&error);
                true
            }
            None => {
                self.coordinator.forget();
                true
            }
        }
    }

    /// Reads where the group is in a log.
    async fn read(&mut self, log: &Log) {
        let Some(door) = self.coordinator.door(&mut self.caller) else { return };
        // Others may have committed by the time that this is answered.
        let known = self.caller.scene.book.lock().positions.known(&self.group, log.key);
        let fetch = OffsetFetch { group: self.group.clone(), partitions: Some(vec![log.partition.clone()]) };
        let answer = match door.ask(Request::FetchOffsets(vec![fetch])).await {
            Some(Reply::OffsetsFetched(fetched)) => fetched.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(fetched)) => {
                let Some(fetched) = fetched.into_iter().next().filter(|fetched| fetched.known) else { return };
                let offset = fetched.committed.map(|committed| committed.offset.0);
                self.caller.scene.facts.lock().positions += 1;
                let outcome = self.caller.scene.book.lock().positions.read_since(&self.group, log.key, known, offset);
                self.judge(&door, outcome);
            }
            Some(Err(error)) => self.coordinator.heed(&error),
            None => self.coordinator.forget(),
        }
    }
}

/// The logs of a share as its leader wrote it.
fn share_of(assignment: &Bytes) -> BTreeSet<StreamId> {
    assignment.as_chunks().0.iter().map(|key| StreamId(u64::from_be_bytes(*key))).collect()
}
