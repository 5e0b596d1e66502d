//! One run: found a cluster, let nodes join it and clients work while things go wrong, heal, compare.

use super::book::Book;
use super::caller::{Caller, Doors, Scene};
use super::facts::Facts;
use super::flips::Flips;
use super::group::Group;
use super::logs::{Logs, PARTITIONS, TOPICS};
use super::member::Member;
use super::mover::Mover;
use super::net::Net;
use super::node::{Ground, Node};
use super::operator::{self, Operator};
use super::process::AllStates;
use super::producer::{Manner, Producer};
use super::reader::Reader;
use super::register::Register;
use super::shape::Shape;
use super::trimmer::Trimmer;
use crate::campaign::{Kind, rounds_of};
use crate::facts::Counts;
use crate::net::Weather;
use crate::outcome::Outcome;
use crate::rng::Rng;
use crate::time::now;
use crate::trace::Trace;
use broker::request::{CreateTopic, TopicRef};
use broker::setting::Settings;
use broker::{Broker, Reply, Request};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use journal::canary::Fault;
use model::{NodeId, ShardId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::Role;
use shard::runtime::Runtime;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// What a run does besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A known fault, which has to be found.
    pub fault: Option<Fault>,
    /// Longer runs do more.
    pub rounds: u64,
    /// Whether bits flip after each trouble, in files below the Raft log's floor. Then there are three nodes, of which
    /// each has all there is and none is replaced: what one loses, two others have.
    pub flips: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { fault: None, rounds: 6, flips: false }
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
                "--flips" => plan.flips = true,
                other => plan.rounds = rounds_of(other).ok_or_else(|| format!("{other} means nothing to brokers"))?,
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
        let flips = if self.flips { " --flips" } else { "" };
        format!("brokers --seed {seed} --rounds {}{flips}", self.rounds)
    }
}

/// How long the first node may take to found a cluster.
const FOUNDING: Duration = Duration::from_secs(60);
/// How long clients go on after everything works again.
const CALM: Duration = Duration::from_secs(2);
/// How long they may take to end what they have begun.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at again that is waited for.
const AGAIN: Duration = Duration::from_millis(100);
/// How often the making of a topic is tried.
const TRIES: usize = 300;

/// Clients by what they do, the producers of each manner counted once.
const PRODUCERS: u64 = 2;
const READERS: u64 = 2;
const GROUPS: u64 = 2;
const OPERATORS: u64 = 2;
/// Clients of registers, and members of a group. Registers are over a position of a topic's first log.
const REGISTERS: u64 = 3;
const MEMBERS: u64 = 3;
/// Groups are numbered from here, so that they can be asked about in the end.
const FIRST_GROUP: u64 = 100;
/// The group that has members.
const MEMBERS_GROUP: &str = "m";

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, plan: Plan, trace: &Trace) -> Outcome<Facts> {
    Outcome::of(seed, trace, async {
        let mut run = Run::new(seed, plan, trace.clone());
        if let Err(broken) = run.all().await {
            run.outcome.violations.push(broken);
        }
        run.finish().await
    })
}

/// See the module's documentation.
pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) shape: Shape,
    pub(super) nodes: Vec<Node>,
    /// So many of them have been started.
    pub(super) begun: usize,
    pub(super) ground: Ground,
    pub(super) scene: Scene,
    pub(super) outcome: Outcome<Facts>,
    /// All shards have three voters.
    pub(super) has_grown: bool,
    /// The last place that a node was put at, and the most nodes that there have been.
    pub(super) place: u64,
    pub(super) most_nodes: usize,
    /// The node that is to be removed.
    pub(super) leaving: Option<NodeId>,
    /// Where bits flip, and in which files they have.
    pub(super) flips: Flips,
    /// What clients do.
    clients: Vec<BoxFuture<'static, bool>>,
}

impl Run {
    fn new(seed: u64, plan: Plan, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let mut shape = Shape::draw(&mut rng);
        if plan.flips {
            shape.bear_flips();
        }
        trace.line(format_args!("seed {seed}: {plan:?} {shape:?}"));
        let (book, facts, doors): (Arc<Mutex<Book>>, Arc<Mutex<Facts>>, Doors) = Default::default();
        let ground = Ground {
            net: Net::new(rng.fork()),
            shape,
            fault: plan.fault,
            trace: trace.clone(),
            states: AllStates::default(),
            facts: facts.clone(),
            book: book.clone(),
            doors: doors.clone(),
        };
        let (logs, stop) = (Arc::new(Mutex::new(Logs::default())), Arc::new(AtomicBool::new(false)));
        let scene = Scene { doors, logs, book, facts, stop, trace, pause_micros: shape.pause_micros };
        let nodes = (1..=shape.nodes).map(|place| Node::new(place, ground.clone(), rng.fork())).collect();
        let flips = Flips::on(rng.below(shape.nodes) as usize);
        Run {
            rng,
            plan,
            shape,
            nodes,
            begun: 0,
            ground,
            scene,
            outcome: Outcome::new(seed),
            has_grown: false,
            place: shape.nodes,
            most_nodes: shape.nodes as usize,
            leaving: None,
            flips,
            clients: Vec::new(),
        }
    }

    async fn all(&mut self) -> Result<(), String> {
        if let Err(broken) = self.work().await {
            // What clients were told is compared with whatever is left, for it says most.
            self.outcome.violations.push(broken);
            self.heal();
            let _ = self.stop_clients().await;
            self.compare_records();
            return Ok(());
        }
        self.heal();
        self.start_all();
        SimRuntime::sleep(CALM).await;
        let stopped = self.stop_clients().await;
        let mut settled = self.settle().await;
        if settled.is_ok() {
            settled = self.wait_for_repairs().await;
        }
        self.compare_records();
        settled?;
        stopped?;
        self.compare_nodes().await;
        for nth in 0..GROUPS {
            Group::new(self.caller(FIRST_GROUP + nth)).check().await;
        }
        Group::named(self.caller(FIRST_GROUP), MEMBERS_GROUP.to_owned()).check().await;
        Ok(())
    }

    async fn work(&mut self) -> Result<(), String> {
        self.start(0);
        self.scene.book.lock().records.losses.alone(NodeId(1));
        if !self.is_up_within(0, FOUNDING).await? {
            return Err("the first node founds nothing".to_owned());
        }
        for topic in 0..TOPICS.len() {
            self.make_topic(topic).await?;
        }
        self.start_clients();
        for nth in 1..self.nodes.len() {
            self.join(nth).await?;
        }
        for _ in 0..self.plan.rounds {
            self.trouble().await?;
        }
        Ok(())
    }

    /// Makes a topic that clients write to.
    async fn make_topic(&mut self, topic: usize) -> Result<(), String> {
        // Records are stamped with times long past, and are to stay.
        let settings = Settings::stored(&[("retention.ms".to_owned(), "-1".to_owned())]);
        for _ in 0..TRIES {
            if let Some(door) = self.scene.doors.all().first() {
                let new = CreateTopic {
                    name: TOPICS[topic].to_owned(),
                    partitions: Some(PARTITIONS.0),
                    replicas: None,
                    settings: settings.clone(),
                    validate_only: false,
                };
                let answer = door.ask(Request::CreateTopics(vec![new])).await;
                let made = matches!(&answer, Some(Reply::TopicsCreated(made)) if matches!(made.first(), Some(Ok(_))));
                if made || matches!(door.look_up(TopicRef::Name(TOPICS[topic].to_owned())).await, Some(Ok(_))) {
                    operator::learn(&self.scene, topic, PARTITIONS.0);
                    return Ok(());
                }
            }
            SimRuntime::sleep(AGAIN).await;
        }
        Err(format!("the topic {} cannot be made", TOPICS[topic]))
    }

    fn caller(&mut self, number: u64) -> Caller {
        Caller::new(number, self.scene.clone(), self.rng.fork())
    }

    fn start_clients(&mut self) {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        for manner in [Manner::Plain, Manner::Numbering] {
            for _ in 0..PRODUCERS {
                let producer = Producer::new(self.caller(next()), manner);
                self.spawn(producer.run());
            }
        }
        for _ in 0..READERS {
            let reader = Reader::new(self.caller(next()));
            self.spawn(reader.run());
        }
        for nth in 0..OPERATORS {
            let operator = Operator::new(self.caller(next()), nth == 0);
            self.spawn(operator.run());
        }
        for _ in 0..REGISTERS {
            let register = Register::new(self.caller(next()), TOPICS[0]);
            self.spawn(register.run());
        }
        for _ in 0..MEMBERS {
            let member = Member::new(self.caller(next()), MEMBERS_GROUP.to_owned());
            self.spawn(member.run());
        }
        let trimmer = Trimmer::new(self.caller(next()));
        self.spawn(trimmer.run());
        // Some shards may be given up before they come to something, and have others in their place.
        let shards = self.shape.shards.max(self.shape.nodes as u32) + 2;
        let mover = Mover::new(self.caller(next()), shards);
        self.spawn(mover.run());
        for nth in 0..GROUPS {
            let group = Group::new(self.caller(FIRST_GROUP + nth));
            self.spawn(group.run());
        }
    }

    fn spawn(&mut self, client: impl Future<Output = ()> + Send + 'static) {
        self.clients.push(SimRuntime::spawn(client).map(|ended| ended.is_ok()).boxed());
    }

    /// Lets clients end what they have begun.
    async fn stop_clients(&mut self) -> Result<(), String> {
        self.scene.stop.store(true, SeqCst);
        let ending = join_all(std::mem::take(&mut self.clients));
        let ended = SimRuntime::timeout(PATIENCE, ending).await;
        ended.map(drop).map_err(|_| "clients are not answered although everything works".to_owned())
    }

    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        self.ground.trace.line(format_args!("{:?} {what}", now()));
    }

    /// Starts a process on a node that has none.
    pub(super) fn start(&mut self, nth: usize) {
        self.begun = self.begun.max(nth + 1);
        if !self.nodes[nth].is_running() {
            self.nodes[nth].start();
        }
    }

    /// Starts processes wherever there is none.
    pub(super) fn start_all(&mut self) {
        (0..self.begun).for_each(|nth| self.start(nth));
    }

    /// Waits until a node is up, or for so long.
    pub(super) async fn is_up_within(&mut self, nth: usize, patience: Duration) -> Result<bool, String> {
        let deadline = now() + patience;
        while now() < deadline {
            self.look().await?;
            if self.nodes[nth].broker().is_some() {
                return Ok(true);
            }
            SimRuntime::sleep(AGAIN).await;
        }
        Ok(false)
    }

    pub(super) fn heal(&mut self) {
        self.note(format_args!("everything works again"));
        self.ground.net.heal();
        self.ground.net.set_weather(Weather::FINE);
        for node in &self.nodes {
            node.clock_error.store(0, SeqCst);
            node.hardware.mend();
        }
    }

    /// The brokers that are up.
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.nodes.iter().filter_map(Node::broker).collect()
    }

    /// Notices what has ended by itself, and how far the cluster has come.
    pub(super) async fn look(&mut self) -> Result<(), String> {
        for nth in 0..self.begun {
            if let Some(why) = self.nodes[nth].failure() {
                let is_leaving = self.leaving.is_some() && self.nodes[nth].id() == self.leaving;
                if !self.nodes[nth].is_excused && !is_leaving {
                    return Err(format!("h{} does not start: {why}", self.nodes[nth].place));
                }
                self.nodes[nth].hardware.mend();
                self.nodes[nth].end().await;
                self.nodes[nth].start();
            }
            let node = &mut self.nodes[nth];
            node.is_excused &= node.broker().is_none() || node.hardware.is_faulty();
        }
        for broker in self.brokers() {
            if let Some(stopped) = broker.shards().iter().find(|shard| shard.role() == Role::Stopped) {
                return Err(format!("the replica of {} at {} has stopped", stopped.id(), broker.node()));
            }
        }
        let different = self.ground.states.lock().values_mut().find_map(|states| states.violation.take());
        if let Some(different) = different {
            return Err(different);
        }
        if !self.has_grown && self.all_have_three_voters() {
            self.has_grown = true;
            self.note(format_args!("every shard has three voters"));
            self.scene.book.lock().records.losses.not_alone_any_more(now());
        }
        Ok(())
    }

    /// The shards that any node has.
    pub(super) fn shards(&self) -> BTreeSet<ShardId> {
        self.brokers().iter().flat_map(Broker::shards).map(|shard| shard.id()).collect()
    }

    /// Whether no shard that was founded in the beginning is decided about by one node alone.
    fn all_have_three_voters(&self) -> bool {
        let brokers = self.brokers();
        (0..=self.shape.shards).map(ShardId).all(|id| {
            let replicas = brokers.iter().flat_map(Broker::shards).filter(|shard| shard.id() == id);
            replicas.filter(|shard| shard.leading().is_ok()).any(|shard| {
                let membership = shard.membership();
                !membership.is_joint() && membership.voters.iter().all(|voters| voters.len() >= 3)
            })
        })
    }

    async fn finish(mut self) -> Outcome<Facts> {
        for node in &mut self.nodes {
            node.end().await;
            self.outcome.tally.add(&node.hardware.tally());
        }
        let mut facts = self.ground.facts.lock();
        let counts = self.ground.net.counts();
        (facts.messages, facts.messages_lost) = (counts.messages, counts.lost);
        facts.messages_doubled = counts.doubled;
        (facts.messages_late, facts.messages_twice) = (counts.late, counts.twice);
        facts.millis = now().as_millis() as u64;
        for states in self.ground.states.lock().values_mut() {
            facts.states_compared += states.compared;
            self.outcome.violations.extend(states.violation.take());
        }
        self.outcome.facts.add(&facts);
        drop(facts);
        self.outcome.violations.append(&mut self.scene.book.lock().records.violations);
        self.outcome
    }
}
