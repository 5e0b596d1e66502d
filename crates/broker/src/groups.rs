//! Drives the group coordinators: one task for each shard, which owns that shard's coordinator.
//!
//! The task decides nothing. It hands requests and times to the coordinator, proposes what the
//! coordinator wants stored, in order, and answers when told to. Being one task, it also orders a
//! commit behind the check that allowed it and before the generation that would forbid it.

use crate::broker::{Broker, Inner};
use crate::group::{
    Coordinator, Expirable, GroupConfig, GroupError, GroupReply, GroupRequest, ListedGroup, Output, SaveNumber, Token,
};
use crate::group_usage::Coordinated;
use crate::request::{BrokerError, OffsetCommit, OffsetDelete, Reply};
use crate::world::{Moment, World};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use journal::canary::Fault;
use machine::command::CommittedOffset;
use machine::{Command, Reply as MachineReply};
use model::limit;
use model::{NodeId, ShardId, StreamId, Timestamp, TopicId};
use parking_lot::RwLock;
use shard::{ProposeError, Request as ShardRequest, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The coordinator is woken at least this often.
const IDLE: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<Result<GroupReply, BrokerError>>;

enum Ask {
    Group { request: GroupRequest, answer: Answer },
    Commit { check: GroupRequest, group: String, offsets: Vec<CommittedOffset>, answer: Answer },
}

/// For so long after another node began to lead a shard, who asks here where a group begins may not have heard of it.
///
/// A member that is told then that it asks the wrong node may give that up for good: librdkafka does. It has to be
/// brought to look for the coordinator in another way; later it has learnt by its heartbeats who is the right one.
const MOVING: Duration = Duration::from_secs(10);

type Seen = Arc<RwLock<BTreeMap<ShardId, (Option<NodeId>, Moment)>>>;

/// The coordinators' tasks, by shard. They end when they are closed.
pub(crate) struct Groups {
    tasks: RwLock<BTreeMap<ShardId, mpsc::Sender<Ask>>>,
    /// Who leads shards, as the coordinators' tasks have seen it: nobody where it is this node, and since when. Of a
    /// shard that this node has no replica of any more, since when that is so.
    seen: Seen,
    /// The catalog, for the names of streams.
    catalog: Shard,
    config: GroupConfig,
    world: World,
}

impl Groups {
    /// No coordinators yet.
    pub(crate) fn new(catalog: Shard, config: GroupConfig, world: World) -> Self {
        Groups { tasks: RwLock::default(), seen: Arc::default(), catalog, config, world }
    }

    /// Starts the coordinator of a shard that has groups.
    pub(crate) fn open(&self, shard: &Shard) {
        let (asks, receiver) = mpsc::channel(limit::GROUP_REQUESTS_WAITING_MAX);
        let (catalog, config, world) = (self.catalog.clone(), self.config.clone(), self.world.clone());
        let task = Task::new(shard.clone(), self.seen.clone(), catalog, config, world, receiver);
        self.world.spawn(task.run());
        self.tasks.write().insert(shard.id(), asks);
    }

    /// Ends the coordinator of a shard: who asks it is answered that it is not here.
    pub(crate) fn close(&self, shard: ShardId) {
        self.tasks.write().remove(&shard);
        self.seen.write().insert(shard, (None, self.world.now()));
    }

    /// What to answer who asks where a group begins, when this node does not lead the shard: that it is the wrong one
    /// to ask only if somebody else has led for a while, or this node has long had no replica.
    pub(crate) fn while_moving(&self, shard: ShardId, error: BrokerError) -> BrokerError {
        let leader = match error {
            BrokerError::NotLeader(Some(leader)) => leader,
            BrokerError::NotLeader(None) => return GroupError::CoordinatorMoving.into(),
            error => return error,
        };
        let is_here = self.tasks.read().contains_key(&shard);
        let is_settled = match self.seen.read().get(&shard) {
            Some((seen, since)) => (!is_here || *seen == Some(leader)) && self.world.now().since(*since) >= MOVING,
            None => !is_here,
        };
        if is_settled { error } else { GroupError::CoordinatorMoved(leader).into() }
    }

    fn task(&self, shard: ShardId) -> Option<mpsc::Sender<Ask>> {
        self.tasks.read().get(&shard).cloned()
    }

    fn tasks(&self) -> Vec<(ShardId, mpsc::Sender<Ask>)> {
        self.tasks.read().iter().map(|(shard, task)| (*shard, task.clone())).collect()
    }
}

/// A save on its way: what it was, and whether it came to be.
struct Saved {
    group: String,
    number: SaveNumber,
    then: Vec<(Token, GroupReply)>,
    failed: Vec<(Token, GroupReply)>,
    done: bool,
}

struct Task {
    shard: Shard,
    seen: Seen,
    asks: mpsc::Receiver<Ask>,
    /// The coordinator, and the Raft term it leads in.
    coordinator: Option<(u64, Coordinator)>,
    waiting: BTreeMap<Token, Waiting>,
    last_token: Token,
    saving: FuturesOrdered<BoxFuture<'static, Saved>>,
    /// The catalog, for the names of streams.
    catalog: Shard,
    config: GroupConfig,
    world: World,
    expire_next: Moment,
}

enum Waiting {
    Reply { group: String, answer: Answer },
    Commit { group: String, offsets: Vec<CommittedOffset>, answer: Answer },
}

impl Waiting {
    fn answer(self, result: Result<GroupReply, BrokerError>) {
        let (Waiting::Reply { answer, .. } | Waiting::Commit { answer, .. }) = self;
        // Nobody may wait any more.
        let _ = answer.send(result);
    }

    fn is_gone(&self) -> bool {
        match self {
            Waiting::Reply { answer, .. } => answer.is_closed(),
            Waiting::Commit { .. } => false,
        }
    }
}

impl Task {
    fn new(
        shard: Shard,
        seen: Seen,
        catalog: Shard,
        config: GroupConfig,
        world: World,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        Task {
            shard,
            seen,
            asks,
            coordinator: None,
            waiting: BTreeMap::new(),
            last_token: 0,
            saving: FuturesOrdered::new(),
            catalog,
            expire_next: world.now() + config.expiry_period(),
            config,
            world,
        }
    }

    async fn run(mut self) {
        loop {
            let next = self.coordinator.as_ref().and_then(|(_, coordinator)| coordinator.next_timeout());
            let wait =
                next.map_or(IDLE, |at| Duration::from_millis((at.0 - self.world.wall().0).max(0) as u64).min(IDLE));
            let sleep = self.world.sleep(wait);
            tokio::select! {
                biased;
                Some(saved) = self.saving.next(), if !self.saving.is_empty() => self.on_saved(saved).await,
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask).await,
                    None => return,
                },
                () = sleep => self.on_timeout().await,
            }
        }
    }

    /// The coordinator, if this node leads the shard; one that has just begun to lead starts from
    /// what the log has, all of it.
    fn lead(&mut self) -> Result<(), BrokerError> {
        let leading = self.shard.leading();
        self.see(leading.err().flatten());
        let term = match leading {
            Ok(term) => term,
            Err(leader) => {
                self.coordinator = None;
                self.saving = FuturesOrdered::new();
                for (_, waiting) in std::mem::take(&mut self.waiting) {
                    waiting.answer(Err(BrokerError::NotLeader(leader)));
                }
                return Err(BrokerError::NotLeader(leader));
            }
        };
        if self.coordinator.as_ref().is_some_and(|(led, _)| *led == term) {
            return Ok(());
        }
        let machine = self.shard.machine();
        let mut coordinator = Coordinator::new(self.config.clone());
        let now = self.world.wall();
        for (group, stored) in machine.messaging.groups.states() {
            if let Err(error) = coordinator.load(group, stored, now) {
                tracing::error!(group, %error, "a stored group cannot be read; it starts afresh");
            }
        }
        for group in machine.messaging.groups.with_offsets() {
            coordinator.load_offsets_only(group, now);
        }
        drop(machine);
        // What was being saved concerns the coordinator before: its verdicts mean nothing to this one.
        self.saving = FuturesOrdered::new();
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            waiting.answer(Err(GroupError::CoordinatorNotAvailable.into()));
        }
        self.coordinator = Some((term, coordinator));
        Ok(())
    }

    /// Notes who leads, and since when that is so.
    fn see(&self, leader: Option<NodeId>) {
        let shard = self.shard.id();
        if self.seen.read().get(&shard).is_none_or(|(seen, _)| *seen != leader) {
            self.seen.write().insert(shard, (leader, self.world.now()));
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        let (request, waiting) = match ask {
            Ask::Group { request, answer } => {
                let group = request.group().unwrap_or_default().to_owned();
                (request, Waiting::Reply { group, answer })
            }
            Ask::Commit { check, group, offsets, answer } => (check, Waiting::Commit { group, offsets, answer }),
        };
        if let Err(error) = self.lead() {
            return waiting.answer(Err(error));
        }
        if !self.shard.is_sure_to_lead() {
            // Another coordinator may know other members meanwhile. This one may yet turn out to be the only one,
            // so it keeps what it knows.
            return waiting.answer(Err(BrokerError::NotLeader(None)));
        }
        self.last_token += 1;
        let token = self.last_token;
        self.waiting.insert(token, waiting);
        let mut outputs = Vec::new();
        if let Some((_, coordinator)) = &mut self.coordinator {
            coordinator.handle(self.world.wall(), token, request, &mut outputs);
        }
        self.act(outputs).await;
    }

    async fn on_timeout(&mut self) {
        if self.lead().is_err() {
            return;
        }
        let gone: Vec<Token> = self.waiting.iter().filter(|(_, w)| w.is_gone()).map(|(token, _)| *token).collect();
        let (now, mut outputs) = (self.world.wall(), Vec::new());
        if let Some((_, coordinator)) = &mut self.coordinator {
            for token in gone {
                if let Some(Waiting::Reply { group, .. }) = self.waiting.remove(&token) {
                    coordinator.forget_token(&group, token, now);
                }
            }
            coordinator.on_timeout(now, &mut outputs);
        }
        self.act(outputs).await;
        if self.world.now() >= self.expire_next {
            self.expire_next = self.world.now() + self.config.expiry_period();
            self.expire().await;
        }
    }

    /// Forgets offsets that nobody needs any more, and groups that have none and no members.
    async fn expire(&mut self) {
        let now = self.world.wall();
        let Some((_, coordinator)) = &mut self.coordinator else { return };
        let mut outputs = Vec::new();
        let mut commands = Vec::new();
        for (group, expirable) in coordinator.expirable(now) {
            let positions: Vec<(StreamId, Timestamp)> = {
                let machine = self.shard.machine();
                machine.messaging.groups.offsets(&group).map(|(stream, at)| (stream, at.time.timestamp())).collect()
            };
            match expirable {
                _ if positions.is_empty() => coordinator.expire(&group, now, &mut outputs),
                Expirable::All => coordinator.expire(&group, now, &mut outputs),
                Expirable::Before { time, subscribed } => {
                    let old = positions.into_iter().filter(|(_, at)| *at <= time).map(|(stream, _)| stream);
                    let old: Vec<StreamId> = old.collect();
                    let named = name_streams(&self.catalog, &old);
                    let needed =
                        |stream: &StreamId| named.get(stream).is_some_and(|named| subscribed.contains(&named.topic));
                    let streams: Vec<StreamId> = old.into_iter().filter(|stream| !needed(stream)).collect();
                    if !streams.is_empty() {
                        commands.push(Command::DeleteOffsets { group, streams, committed_until: Some(time) });
                    }
                }
            }
        }
        for command in commands {
            // What fails is tried again the next time.
            drop(propose(&self.shard, command).await);
        }
        self.act(outputs).await;
    }

    async fn on_saved(&mut self, saved: Saved) {
        let Saved { group, number, then, failed, done } = saved;
        for (token, reply) in if done { then } else { failed } {
            self.answer(token, reply).await;
        }
        let mut outputs = Vec::new();
        if let Some((_, coordinator)) = &mut self.coordinator {
            coordinator.saved(&group, number, done, &mut outputs);
        }
        self.act(outputs).await;
    }

    async fn act(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Reply { token, reply } => self.answer(token, reply).await,
                Output::Save { group, number, state, then, failed } => {
                    let command = Command::SaveGroup { group: group.clone(), state };
                    self.save(command, Saved { group, number, then, failed, done: false }).await;
                }
                Output::Forget { group, number, then, failed } => {
                    let command = Command::DeleteGroup { group: group.clone() };
                    self.save(command, Saved { group, number, then, failed, done: false }).await;
                }
            }
        }
    }

    /// Puts a command into the shard's queue, and its outcome behind the ones before it.
    async fn save(&mut self, command: Command, mut saved: Saved) {
        let outcome = propose(&self.shard, command).await;
        self.saving.push_back(Box::pin(async move {
            saved.done = matches!(outcome.await, Ok(Ok(reply)) if !matches!(reply, MachineReply::Refused(_)));
            saved
        }));
    }

    async fn answer(&mut self, token: Token, reply: GroupReply) {
        let may_commit = reply == GroupReply::MayCommit || self.shard.journal().faulty(Fault::CommitOfFormerMember);
        match self.waiting.remove(&token) {
            Some(Waiting::Commit { group, offsets, answer }) if may_commit => {
                let outcome = propose(&self.shard, Command::CommitOffsets { group, offsets }).await;
                self.world.spawn(async move {
                    let result = match outcome.await.unwrap_or(Err(ProposeError::Unknown)) {
                        Ok(MachineReply::Refused(refusal)) => Err(refusal.into()),
                        Ok(_) => Ok(GroupReply::MayCommit),
                        Err(error) => Err(error.into()),
                    };
                    let _ = answer.send(result);
                });
            }
            Some(waiting) => waiting.answer(Ok(self.spoil(reply))),
            None => {}
        }
    }

    /// What known faults make of an answer.
    fn spoil(&self, reply: GroupReply) -> GroupReply {
        let has = |fault| self.shard.journal().faulty(fault);
        match reply {
            GroupReply::Joined(mut joined) if has(Fault::EveryMemberLeads) => {
                joined.leader.clone_from(&joined.member);
                GroupReply::Joined(joined)
            }
            GroupReply::Synced(mut synced) if has(Fault::ForgetShares) => {
                synced.assignment.clear();
                GroupReply::Synced(synced)
            }
            reply => reply,
        }
    }
}

/// The groups of a coordinator, unless another node has it.
async fn list(task: &mpsc::Sender<Ask>) -> Result<Option<Vec<ListedGroup>>, BrokerError> {
    let (answer, wait) = oneshot::channel();
    let ask = Ask::Group { request: GroupRequest::List, answer };
    task.send(ask).await.map_err(|_| BrokerError::Unavailable)?;
    match wait.await {
        Ok(Ok(GroupReply::Listed(listed))) => Ok(Some(listed)),
        _ => Ok(None),
    }
}

async fn propose(shard: &Shard, command: Command) -> oneshot::Receiver<Result<MachineReply, ProposeError>> {
    let (answer, outcome) = oneshot::channel();
    let answer = Box::new(move |result| drop(answer.send(result)));
    shard.propose(ShardRequest::Command(command), answer).await;
    outcome
}

impl Broker {
    pub(crate) async fn group(self, request: GroupRequest) -> Reply {
        Reply::Group(match request.group().map(str::to_owned) {
            Some(group) => self.ask(&group, |answer| Ask::Group { request, answer }).await,
            None => self.list_groups().await,
        })
    }

    /// The groups of all shards this node leads.
    async fn list_groups(&self) -> Result<GroupReply, BrokerError> {
        let mut groups = Vec::new();
        for (_, task) in self.inner.groups.tasks() {
            groups.extend(list(&task).await?.unwrap_or_default());
        }
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(GroupReply::Listed(groups))
    }

    /// The same, and of which shards those are all groups.
    pub async fn led_groups(&self) -> (BTreeSet<ShardId>, Vec<ListedGroup>) {
        let (mut shards, mut groups) = (BTreeSet::new(), Vec::new());
        for (shard, task) in self.inner.groups.tasks() {
            if let Ok(Some(listed)) = list(&task).await {
                shards.insert(shard);
                groups.extend(listed);
            }
        }
        (shards, groups)
    }

    /// The shards that groups belong to.
    #[must_use]
    pub fn group_shards(&self) -> BTreeSet<ShardId> {
        let machine = self.inner.catalog().machine();
        match machine.catalog.slots() {
            Some(slots) => slots.runs().map(|(_, shard)| shard).collect(),
            None => machine.catalog.shards().collect(),
        }
    }

    /// The same, and which shard each is in: by name, for a look at their positions.
    pub(crate) async fn coordinated_groups(&self) -> Vec<Coordinated> {
        let mut groups = Vec::new();
        for (shard, task) in self.inner.groups.tasks() {
            // One that has stopped has none.
            let listed = list(&task).await.ok().flatten().unwrap_or_default().into_iter();
            groups.extend(listed.map(|ListedGroup { group, state, members, .. }| Coordinated {
                shard,
                name: group,
                state,
                members,
            }));
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    async fn ask(&self, group: &str, ask: impl FnOnce(Answer) -> Ask) -> Result<GroupReply, BrokerError> {
        let shard = self.inner.shard_of(group)?;
        let task = self.inner.groups.task(shard.id()).ok_or(BrokerError::Unavailable)?;
        let (answer, wait) = oneshot::channel();
        task.send(ask(answer)).await.map_err(|_| BrokerError::Unavailable)?;
        wait.await.unwrap_or(Err(BrokerError::Unavailable))
    }

    pub(crate) async fn commit_offsets(self, commit: OffsetCommit) -> Reply {
        let OffsetCommit { group, member, instance, generation, offsets } = commit;
        let mut results = Vec::with_capacity(offsets.len());
        let mut known = Vec::new();
        for offset in offsets {
            let too_long = offset.metadata.len() > model::limit::OFFSET_METADATA_BYTES_MAX;
            let place = self.inner.resolve(&offset.partition);
            results.push(match place {
                Ok(_) if too_long => Err(BrokerError::LimitReached("offset metadata")),
                Ok(place) => {
                    known.push(CommittedOffset {
                        stream: place.stream,
                        offset: offset.offset,
                        leader_epoch: offset.leader_epoch,
                        metadata: offset.metadata,
                    });
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        let check = GroupRequest::CheckCommit { group: group.clone(), member, instance, generation };
        let outcome = self
            .ask(&group.clone(), |answer| Ask::Commit { check, group, offsets: known, answer })
            .await
            .and_then(|reply| match reply {
                GroupReply::Refused { error, .. } => Err(error.into()),
                _ => Ok(()),
            });
        if let Err(error) = outcome {
            results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
        }
        Reply::OffsetsCommitted(results)
    }

    pub(crate) async fn delete_offsets(self, delete: OffsetDelete) -> Reply {
        Reply::OffsetsDeleted(self.try_delete_offsets(delete).await)
    }

    async fn try_delete_offsets(&self, delete: OffsetDelete) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let OffsetDelete { group, partitions } = delete;
        let check = GroupRequest::CheckDelete { group: group.clone() };
        let subscribed = match self.ask(&group, |answer| Ask::Group { request: check, answer }).await? {
            GroupReply::MayDelete { subscribed } => subscribed,
            GroupReply::Refused { error, .. } => return Err(error.into()),
            _ => return Err(BrokerError::Unavailable),
        };
        let mut streams = Vec::new();
        let mut results = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let found = self.inner.resolve_with(partition, |_, topic| subscribed.contains(topic.name.as_str()));
            results.push(match found {
                Ok((_, true)) => Err(GroupError::Subscribed.into()),
                Ok((place, false)) => {
                    streams.push(place.stream);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        if !streams.is_empty() {
            let command = Command::DeleteOffsets { group: group.clone(), streams, committed_until: None };
            if let MachineReply::Refused(refusal) = self.inner.shard_of(&group)?.command(command).await? {
                return Err(refusal.into());
            }
        }
        Ok(results)
    }
}

impl Inner {
    /// The shard that has a group.
    pub(crate) fn shard_id_of(&self, group: &str) -> Result<ShardId, BrokerError> {
        self.catalog().machine().catalog.shard_of(group).ok_or(BrokerError::Unavailable)
    }

    /// The same, if this node has a replica of it.
    pub(crate) fn shard_of(&self, group: &str) -> Result<Shard, BrokerError> {
        self.shard(self.shard_id_of(group)?)
    }
}

/// Which partition a stream is.
pub(crate) struct Named {
    pub(crate) topic: String,
    pub(crate) id: TopicId,
    pub(crate) partition: u32,
}

/// The topic and partition of each stream; those of deleted topics are left out.
pub(crate) fn name_streams(catalog: &Shard, streams: &[StreamId]) -> BTreeMap<StreamId, Named> {
    if streams.is_empty() {
        return BTreeMap::new();
    }
    let machine = catalog.machine();
    let name = |stream: &StreamId| {
        let (id, topic, partition) = machine.catalog.partition_of(*stream)?;
        Some((*stream, Named { topic: topic.name.to_string(), id, partition }))
    };
    streams.iter().filter_map(name).collect()
}
