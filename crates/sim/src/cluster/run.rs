//! One run: start three replicas, or one that two others join, let clients work while things go wrong, heal,
//! compare.

use super::checker::{Content, Ledger, Promise};
use super::client::{Client, Manner, Replicas, World, now, propose};
use super::facts::Facts;
use super::growth::Growth;
use super::keyed::ledger::{Compacted, Read};
use super::keyed::reader::{self, Trouble};
use super::net::Net;
use super::node::Node;
use super::shape::{Keeping, Shape};
use super::states::States;
use super::{is_durable, record};
use crate::campaign::{Kind, rounds_of};
use crate::disk::Faults;
use crate::facts::Counts;
use crate::net::Weather;
use crate::outcome::Outcome;
use crate::rng::Rng;
use crate::trace::Trace;
use journal::canary::Fault;
use journal::scrub::ScrubCursor;
use journal::{Damage, ReadError};
use machine::Command;
use model::config::{Cleanup, Settlement};
use model::{Durability, NodeId, Offset, StreamConfig, StreamId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{Membership, Request, Role, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// What a run does besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A known fault, which has to be found.
    pub fault: Option<Fault>,
    /// Longer runs do more.
    pub rounds: u64,
    /// Whether there are compacted streams, too.
    pub compaction: bool,
    /// Whether bits flip after each trouble in files below the Raft log's floor, and not only now and then.
    pub flips: bool,
    /// Whether the shard begins with one replica, which two others join while things go wrong.
    pub grow: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { fault: None, rounds: 8, compaction: false, flips: false, grow: false }
    }
}

impl Plan {
    /// The plan that these of `sim`'s flags mean.
    ///
    /// # Errors
    /// When one of them means nothing here.
    pub fn of_flags(flags: &[&str]) -> Result<Self, String> {
        let mut plan = Plan::default();
        for flag in flags {
            match *flag {
                "--compaction" => plan.compaction = true,
                "--flips" => plan.flips = true,
                "--grow" => plan.grow = true,
                other => plan.rounds = rounds_of(other).ok_or_else(|| format!("{other} means nothing to a shard"))?,
            }
        }
        Ok(plan)
    }
}

impl Kind for Plan {
    type Facts = Facts;

    fn run(self, seed: u64, trace: &Trace) -> Outcome<Facts> {
        run(seed, self, trace)
    }

    fn arguments(self, seed: u64) -> String {
        let Plan { rounds, compaction, flips, grow, .. } = self;
        let more = [(compaction, " --compaction"), (flips, " --flips"), (grow, " --grow")];
        let more: String = more.into_iter().filter(|(wanted, _)| *wanted).map(|(_, more)| more).collect();
        format!("cluster --seed {seed} --rounds {rounds}{more}")
    }
}

/// How many replicas.
pub(super) const NODES: u64 = 3;
/// Message ids are remembered for so long.
const WINDOW_MILLIS: u64 = 8_000;
/// With bits that flip again and again, within which time everything is read again: what is damaged is to
/// be mended before more of the same file is.
const SCRUB_PERIOD: Duration = Duration::from_secs(2);
/// How long damage may take to be mended when everything works.
const REPAIR_SECONDS: u64 = 60;
/// How long clients go on after everything works again.
const CALM: Duration = Duration::from_secs(2);

/// The streams: how each is written to. Those with even numbers acknowledge from memory.
const STREAMS: [(u64, Manner); 6] = [
    (1, Manner::Plain),
    (2, Manner::Plain),
    (3, Manner::Numbering),
    (4, Manner::Numbering),
    (5, Manner::Naming),
    (7, Manner::Settling),
];
/// The compacted streams of a run that has any, and how many clients write to them.
const KEYED_STREAMS: [u64; 3] = [9, 10, 11];
const KEYED_CLIENTS: u64 = 2;
/// The clients, by what they do.
const CLIENTS: [Manner; 5] = [Manner::Plain, Manner::Plain, Manner::Numbering, Manner::Naming, Manner::Settling];

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, plan: Plan, trace: &Trace) -> Outcome<Facts> {
    Outcome::of(seed, trace, async {
        let mut run = Run::new(seed, plan, trace.clone());
        if let Err(broken) = run.all().await {
            run.outcome.violations.push(broken);
        }
        run.finish()
    })
}

/// See the module's documentation.
pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) shape: Shape,
    pub(super) net: Net,
    pub(super) nodes: Vec<Node>,
    pub(super) states: Arc<Mutex<States>>,
    pub(super) trace: Trace,
    pub(super) outcome: Outcome<Facts>,
    /// The node whose disk flips bits.
    pub(super) flipped: usize,
    /// Files in which a bit has flipped in turn.
    pub(super) has_flipped: BTreeSet<String>,
    replicas: Replicas,
    ledger: Arc<Mutex<Ledger>>,
    facts: Arc<Mutex<Facts>>,
}

impl Run {
    fn new(seed: u64, plan: Plan, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let mut shape = Shape::draw(&mut rng);
        shape.scrub_period = plan.flips.then_some(SCRUB_PERIOD);
        shape.has_others = !plan.grow;
        trace.line(format_args!("seed {seed}: {plan:?} {shape:?}"));
        let net = Net::new(rng.fork());
        let states = Arc::new(Mutex::new(States::default()));
        let nodes = (1..=NODES)
            .map(|id| Node::new(NodeId(id), net.clone(), rng.fork(), shape, trace.clone(), plan.fault, states.clone()));
        Run {
            nodes: nodes.collect(),
            plan,
            shape,
            net,
            states,
            trace,
            outcome: Outcome::new(seed),
            // What the first of a growing shard loses nobody else has yet.
            flipped: (if plan.grow { 1 + rng.below(NODES - 1) } else { rng.below(NODES) }) as usize,
            has_flipped: BTreeSet::new(),
            replicas: Replicas::default(),
            ledger: Arc::default(),
            facts: Arc::default(),
            rng,
        }
    }

    async fn all(&mut self) -> Result<(), String> {
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(broken) = self.work(&stop).await {
            // What clients were told is compared with whatever is left, for it says most.
            self.outcome.violations.push(broken);
            self.heal();
            stop.store(true, SeqCst);
            SimRuntime::sleep(CALM * 4).await;
            self.compare();
            return Ok(());
        }
        self.heal();
        SimRuntime::sleep(CALM).await;
        stop.store(true, SeqCst);
        let settled = self.settle().await;
        let mended = self.wait_for_repairs().await;
        self.compare();
        settled?;
        mended?;
        self.clean_up().await
    }

    async fn work(&mut self, stop: &Arc<AtomicBool>) -> Result<(), String> {
        let nodes: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let founders = if self.plan.grow { &nodes[..1] } else { &nodes[..] };
        for nth in 0..founders.len() {
            self.start(nth).await?;
        }
        if let Some(shard) = self.nodes[0].shard() {
            shard.initialize(founders.to_vec()).await.map_err(|error| error.to_string())?;
        }
        if self.plan.grow {
            self.ledger.lock().losses.alone(nodes[0]);
        }
        self.make_streams().await?;
        self.start_clients(stop);
        for nth in founders.len()..nodes.len() {
            self.start(nth).await?;
        }
        if self.plan.grow {
            let (replicas, ledger) = (self.replicas.clone(), self.ledger.clone());
            let (facts, trace) = (self.facts.clone(), self.trace.clone());
            let growth = Growth { nodes: nodes.into_iter().collect(), replicas, ledger, facts, trace };
            drop(SimRuntime::spawn(growth.run()));
        }
        for _ in 0..self.plan.rounds {
            self.trouble().await?;
        }
        Ok(())
    }

    async fn make_streams(&mut self) -> Result<(), String> {
        for (stream, manner) in STREAMS {
            let (stream, durable) = (StreamId(stream), is_durable(StreamId(stream)));
            let queue = manner == Manner::Settling;
            let config = StreamConfig {
                durability: if durable { Durability::QuorumFsync } else { Durability::QuorumMemory },
                settlement: if queue { Settlement::Each } else { Settlement::Position },
                dedup_window_millis: if manner == Manner::Naming { WINDOW_MILLIS } else { 0 },
                ..StreamConfig::default()
            };
            self.ledger.lock().add_stream(stream, Promise { durable, queue });
            self.command(Command::CreateStream { stream, config }).await?;
        }
        for stream in self.keyed_streams() {
            let (durable, keeping) = (is_durable(stream), Keeping::draw(&mut self.rng));
            self.trace.line(format_args!("{stream} is compacted: {keeping:?}"));
            let config = StreamConfig {
                durability: if durable { Durability::QuorumFsync } else { Durability::QuorumMemory },
                cleanup: Cleanup::Compact,
                compaction_lag_min_millis: keeping.lag_millis,
                tombstone_millis: keeping.removals_millis,
                dirty_permille: keeping.dirty_permille,
                ..StreamConfig::default()
            };
            self.ledger.lock().keys.add_stream(stream, durable, Duration::from_millis(keeping.removals_millis));
            self.command(Command::CreateStream { stream, config }).await?;
        }
        Ok(())
    }

    fn keyed_streams(&self) -> impl Iterator<Item = StreamId> + use<> {
        KEYED_STREAMS
            .into_iter()
            .filter({
                let compaction = self.plan.compaction;
                move |_| compaction
            })
            .map(StreamId)
    }

    fn start_clients(&mut self, stop: &Arc<AtomicBool>) {
        let world = World {
            replicas: self.replicas.clone(),
            ledger: self.ledger.clone(),
            facts: self.facts.clone(),
            stop: stop.clone(),
            trace: self.trace.clone(),
            pause_micros: self.shape.pause_micros,
            window_millis: WINDOW_MILLIS,
        };
        for (number, manner) in CLIENTS.into_iter().enumerate() {
            let streams = STREAMS.into_iter().filter(|(_, of)| *of == manner).map(|(stream, _)| StreamId(stream));
            let client = Client::new(number as u64 + 1, manner, streams.collect(), world.clone(), self.rng.fork());
            drop(SimRuntime::spawn(client.run()));
        }
        let keyed: Vec<StreamId> = self.keyed_streams().collect();
        for nth in (0..KEYED_CLIENTS).filter(|_| !keyed.is_empty()) {
            let number = CLIENTS.len() as u64 + 1 + nth;
            let client = Client::new(number, Manner::Keyed, keyed.clone(), world.clone(), self.rng.fork());
            drop(SimRuntime::spawn(client.run()));
        }
    }

    /// A wall clock is wrong from now on.
    pub(super) fn clock_jumped(&self) {
        self.ledger.lock().keys.clocks_jumped = true;
    }

    pub(super) async fn start(&mut self, nth: usize) -> Result<(), String> {
        let node = &mut self.nodes[nth];
        node.start().await?;
        if let Some(shard) = node.shard() {
            self.replicas.lock().insert(node.id.0, shard.clone());
        }
        Ok(())
    }

    pub(super) async fn crash(&mut self, nth: usize, power: bool) {
        let node = &mut self.nodes[nth];
        let was_up = self.replicas.lock().remove(&node.id.0).is_some();
        let stable_at = node.crash(power).await;
        if power {
            self.ledger.lock().losses.add(node.id, stable_at, now());
        } else {
            self.outcome.facts.kills += u64::from(was_up);
        }
    }

    fn heal(&mut self) {
        self.trace.line(format_args!("{:?} everything works again", now()));
        self.net.heal();
        self.net.set_weather(Weather::FINE);
        for node in &self.nodes {
            node.clock_error.store(0, SeqCst);
            node.disk.set_faults(|faults| *faults = Faults::NONE);
        }
    }

    pub(super) fn running(&self) -> Vec<Shard> {
        self.replicas.lock().values().cloned().collect()
    }

    pub(super) fn leader(&self) -> Option<Shard> {
        self.running().into_iter().find(|shard| shard.role() == Role::Leader)
    }

    pub(super) fn leader_nth(&self) -> Option<usize> {
        let leads = |node: &Node| node.shard().is_some_and(|shard| shard.role() == Role::Leader);
        self.nodes.iter().position(leads)
    }

    async fn command(&self, command: Command) -> Result<(), String> {
        for _ in 0..300 {
            if let Some(shard) = self.leader()
                && let Some(Ok(_)) = propose(&shard, Request::Command(command.clone())).await
            {
                return Ok(());
            }
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("no leader comes about: {}", self.standings()))
    }

    fn standings(&self) -> String {
        let replicas = self.replicas.lock();
        let standing = |(id, shard): (&u64, &Shard)| {
            let (doubt, journal) = (if shard.is_in_doubt() { " in doubt" } else { "" }, shard.journal());
            let (role, last, applied) = (shard.role(), journal.last(), journal.applied());
            let Membership { voters, learners } = shard.membership();
            format!(
                "n{id} {role:?}{doubt} applied {applied} last {}/{} of {voters:?} {learners:?}",
                last.term, last.index
            )
        };
        replicas.iter().map(standing).collect::<Vec<_>>().join(", ")
    }

    /// Everything that was proposed is applied everywhere, and nobody is in doubt.
    async fn settle(&mut self) -> Result<(), String> {
        SimRuntime::sleep(Duration::from_secs(8)).await;
        self.command(Command::Tick).await?;
        // Whoever is too far behind copies a snapshot first, as slowly as it was told to, and then the next.
        for _ in 0..1_200 {
            let replicas = self.running();
            let applied: Vec<u64> = replicas.iter().map(|shard| shard.journal().applied()).collect();
            let together = replicas.len() == self.nodes.len() && applied.iter().all(|index| *index == applied[0]);
            let all_vote =
                replicas.iter().all(|shard| self.nodes.iter().all(|node| shard.membership().is_voter(node.id)));
            let settled = replicas.iter().all(|shard| !shard.is_in_doubt() && !shard.membership().is_joint());
            if together && all_vote && settled {
                return Ok(());
            }
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("replicas do not come together: {}", self.standings()))
    }

    /// Whatever is damaged is found and mended: the others have it whole. Where nobody reads again in time what was
    /// damaged, whoever compares would be the first to find it.
    async fn wait_for_repairs(&mut self) -> Result<(), String> {
        if self.outcome.facts.bit_flips == 0 {
            return Ok(());
        }
        let mut damaged = Vec::new();
        for _ in 0..REPAIR_SECONDS {
            damaged.clear();
            for (id, shard) in &*self.replicas.lock() {
                let journal = shard.journal();
                let mut cursor = ScrubCursor::default();
                while !journal.scrub(&mut cursor, 1 << 20) {}
                let wanted = journal.damage().into_iter().filter(|damage| is_wanted(shard, *damage));
                damaged.extend(wanted.map(|damage| format!("n{id} {damage}")));
            }
            if damaged.is_empty() {
                return Ok(());
            }
            SimRuntime::sleep(Duration::from_secs(1)).await;
        }
        Err(format!("damage stays: {}", damaged.join(", ")))
    }

    fn compare(&mut self) {
        let keyed: Vec<StreamId> = self.keyed_streams().collect();
        let mut ledger = self.ledger.lock();
        let mut digests = BTreeMap::new();
        let wrong = &mut self.outcome.violations;
        let replicas = self.replicas.lock();
        // One that lags or has stopped is told already, and has nothing to say about the others.
        let running = || replicas.iter().filter(|(_, shard)| shard.role() != Role::Stopped);
        let newest = running().map(|(_, shard)| shard.journal().applied()).max();
        for (id, shard) in running().filter(|(_, shard)| Some(shard.journal().applied()) == newest) {
            digests.entry(shard.machine().digest()).or_insert_with(Vec::new).push(*id);
            for (stream, _) in STREAMS {
                match content(shard, StreamId(stream)) {
                    Ok((content, _)) => {
                        wrong.extend(ledger.compare(&format!("n{id}"), StreamId(stream), &content));
                    }
                    Err(error) => wrong.push(format!("n{id} s{stream}: {error}")),
                }
            }
            for stream in &keyed {
                match compare_keys(shard, *stream, &mut ledger) {
                    Ok(compacted) => {
                        self.outcome.facts.records_compacted += compacted.records;
                        self.outcome.facts.removals_compacted += compacted.removals;
                    }
                    Err(error) => wrong.push(format!("n{id} {stream} in the end: {error}")),
                }
            }
        }
        if digests.len() > 1 {
            wrong.push(format!("the states of replicas differ: {digests:?}"));
        }
        wrong.extend(ledger.violations.iter().cloned());
    }

    /// When nobody writes any more, each disk holds little besides what is alive.
    async fn clean_up(&mut self) -> Result<(), String> {
        let upkeep = self.shape.upkeep;
        for shard in self.running() {
            shard.checkpoint().await;
        }
        SimRuntime::sleep(upkeep.purge_delay + Duration::from_secs(2)).await;
        // Log that is kept for followers and that no checkpoint covers yet, the files that the ends
        // of it lie in, the reserve, and the checkpoints.
        let constant = upkeep.checkpoint_log_bytes
            + upkeep.log_kept_bytes
            + 4 * self.shape.log_file_bytes
            + self.shape.reserve_bytes
            + CHECKPOINTS_BYTES;
        for node in &self.nodes {
            let Some(shard) = node.shard() else { continue };
            let mut live = 0;
            for (stream, _) in STREAMS {
                live += content(shard, StreamId(stream)).map_or(0, |(_, bytes)| bytes);
            }
            for stream in self.keyed_streams() {
                let end = shard.machine().messaging.stream(stream).map_or(0, |state| state.end.0);
                live += reader::read(shard, stream, 0, end, 64 << 10).map_or(0, |found| found.bytes);
            }
            let used = node.disk.used();
            let (id, journal) = (node.id, shard.journal());
            let (counted, floor, at) = (journal.disk_bytes(), journal.floor().index, journal.checkpoint_at().index);
            self.trace.line(format_args!(
                "{id} uses {used} bytes, {counted} in files that count, for {live}; floor {floor}, checkpoint {at}"
            ));
            if used > 2 * live + constant {
                let what = format!("{} uses {used} bytes of disk for {live} that are alive", node.id);
                self.outcome.violations.push(what);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome<Facts> {
        self.outcome.facts.add(&self.facts.lock());
        let (counts, facts) = (self.net.counts(), &mut self.outcome.facts);
        (facts.messages, facts.messages_lost) = (counts.messages, counts.lost);
        facts.messages_doubled = counts.doubled;
        (facts.messages_late, facts.messages_twice) = (counts.late, counts.twice);
        self.outcome.facts.millis = now().as_millis() as u64;
        self.outcome.facts.states_compared = self.states.lock().compared;
        self.outcome.violations.extend(self.states.lock().violation.take());
        for node in &mut self.nodes {
            node.finish();
            self.outcome.facts.add(&node.facts);
            self.outcome.tally.add(&node.disk.tally());
        }
        self.outcome
    }
}

/// What checkpoints may take: increments since the last base, none of them large here.
const CHECKPOINTS_BYTES: u64 = 256 << 10;

/// Whether somebody may yet read what is damaged.
pub(crate) fn is_wanted(shard: &Shard, damage: Damage) -> bool {
    let Damage::Records { stream, from, to } = damage else { return true };
    let machine = shard.machine();
    let start = machine.messaging.stream(stream).map_or(to, |state| state.start);
    let settled = machine.messaging.settled(stream);
    (from.max(start).0..to.0).any(|offset| settled.is_none_or(|set| set.first_gap(offset) == offset))
}

/// Judges all of a compacted stream on a replica.
fn compare_keys(shard: &Shard, stream: StreamId, ledger: &mut Ledger) -> Result<Compacted, String> {
    let end = shard.machine().messaging.stream(stream).ok_or("the stream is gone")?.end.0;
    let found = reader::read(shard, stream, 0, end, 4096).map_err(|trouble| match trouble {
        Trouble::Refused(why) => format!("refused: {why}"),
        Trouble::Wrong(what) => what,
    })?;
    ledger.read_keys(&Read { stream, from: 0, end, found: &found.records, at: now() })
}

/// What a replica has of a stream, and the bytes of it that are alive.
fn content(shard: &Shard, stream: StreamId) -> Result<(Content, u64), String> {
    let (start, end, settled) = {
        let machine = shard.machine();
        let state = machine.messaging.stream(stream).ok_or("the stream is gone")?;
        let settled = machine.messaging.settled(stream).map(|set| set.iter().flatten().collect());
        (state.start.0, state.end.0, settled.unwrap_or_default())
    };
    let mut content = Content { start, end, found: BTreeMap::new(), settled };
    let (mut next, mut live) = (start, 0);
    while next < end {
        let slices = match shard.journal().read(stream, Offset(next), Offset(end), 64 << 10) {
            Err(ReadError::Damaged { from, to, .. }) if !is_wanted(shard, Damage::Records { stream, from, to }) => {
                next = to.0.max(next + 1);
                continue;
            }
            other => other.map_err(|error| error.to_string())?,
        };
        let Some(last) = slices.last() else { break };
        next = last.end().0;
        let found = record::take(&slices)?;
        let alive = found.records.iter().filter(|(offset, _)| *offset >= start && !content.settled.contains(offset));
        if alive.count() > 0 {
            live += found.bytes;
        }
        content.found.extend(found.records.into_iter().filter(|(offset, _)| *offset >= start));
    }
    Ok((content, live))
}
