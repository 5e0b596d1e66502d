//! One run: start three replicas, let clients work while things go wrong, heal, compare.

use super::checker::{Ledger, records};
use super::client::{Client, Replicas, propose};
use super::net::{Net, Weather};
use super::node::Node;
use crate::disk::Tally;
use crate::rng::Rng;
use crate::trace::Trace;
use journal::canary::Fault;
use machine::Command;
use model::{Durability, NodeId, Offset, StreamConfig, StreamId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{Request, Role, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// What a run does besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// A known fault, which has to be found.
    pub fault: Option<Fault>,
    /// Longer runs do more.
    pub rounds: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was found.
    pub violations: Vec<String>,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Virtual seconds.
    pub seconds: f64,
    /// Times a node was killed, lost power, was cut off.
    pub crashes: (u64, u64, u64),
    /// Starts that found a replica in doubt.
    pub doubts: u64,
    /// Messages sent, and lost.
    pub messages: (u64, u64),
    /// What the disks did.
    pub tally: Tally,
}

const STREAMS: u64 = 4;
const NODES: u64 = 3;

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, plan: Plan, trace: &Trace) -> Outcome {
    let mut runtime = SimRuntime::with_seed(seed);
    let trace = trace.clone();
    runtime.block_on(async move {
        let mut run = Run::new(seed, plan, trace);
        if let Err(broken) = run.all().await {
            run.outcome.violations.push(broken);
        }
        run.finish()
    })
}

struct Run {
    rng: Rng,
    plan: Plan,
    net: Net,
    nodes: Vec<Node>,
    replicas: Replicas,
    ledger: Arc<Mutex<Ledger>>,
    trace: Trace,
    outcome: Outcome,
    /// A majority was without power at once: what was acknowledged from memory may be gone.
    may_lose_memory: bool,
}

impl Run {
    fn new(seed: u64, plan: Plan, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let net = Net::new(rng.fork());
        let nodes = (1..=NODES).map(|id| Node::new(NodeId(id), net.clone(), rng.fork(), trace.clone(), plan.fault));
        Run {
            nodes: nodes.collect(),
            plan,
            net,
            replicas: Replicas::default(),
            ledger: Arc::default(),
            trace,
            outcome: Outcome { seed, ..Outcome::default() },
            may_lose_memory: false,
            rng,
        }
    }

    async fn all(&mut self) -> Result<(), String> {
        for nth in 0..self.nodes.len() {
            self.start(nth).await?;
        }
        let voters: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        if let Some(shard) = self.nodes[0].shard() {
            shard.initialize(voters).await.map_err(|error| error.to_string())?;
        }
        for stream in 1..=STREAMS {
            let durability = if is_durable(stream) { Durability::QuorumFsync } else { Durability::QuorumMemory };
            let config = StreamConfig { durability, ..StreamConfig::default() };
            self.command(Command::CreateStream { stream: StreamId(stream), config }).await?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        for number in 1..=4 {
            let (replicas, ledger, stop) = (self.replicas.clone(), self.ledger.clone(), stop.clone());
            let client = Client { number, replicas, ledger, rng: self.rng.fork(), stop, streams: STREAMS };
            drop(SimRuntime::spawn(client.run()));
        }
        for _ in 0..self.plan.rounds {
            self.trouble().await?;
        }
        self.calm().await?;
        stop.store(true, SeqCst);
        SimRuntime::sleep(Duration::from_secs(5)).await;
        self.settle().await?;
        self.compare();
        Ok(())
    }

    async fn start(&mut self, nth: usize) -> Result<(), String> {
        let node = &mut self.nodes[nth];
        node.start().await?;
        if let Some(shard) = node.shard() {
            self.replicas.lock().insert(node.id.0, shard.clone());
        }
        Ok(())
    }

    async fn crash(&mut self, nth: usize, power: bool) {
        let node = &mut self.nodes[nth];
        self.replicas.lock().remove(&node.id.0);
        node.crash(power).await;
        if power { self.outcome.crashes.1 += 1 } else { self.outcome.crashes.0 += 1 }
    }

    /// Something goes wrong for a while.
    async fn trouble(&mut self) -> Result<(), String> {
        let seconds = |rng: &mut Rng, most: u64| Duration::from_millis(rng.between(10, most * 1000));
        let victim = self.rng.below(NODES) as usize;
        let pause = seconds(&mut self.rng, 2);
        match self.rng.below(10) {
            0 | 1 => {
                self.crash(victim, false).await;
                SimRuntime::sleep(pause).await;
                self.start(victim).await?;
            }
            2 | 3 => {
                self.crash(victim, true).await;
                SimRuntime::sleep(pause).await;
                self.start(victim).await?;
            }
            4 => self.blackout().await?,
            5 => {
                self.outcome.crashes.2 += 1;
                let other = self.rng.below(NODES) as usize;
                let (a, b) = (self.nodes[victim].id, self.nodes[other].id);
                self.trace.line(format_args!("cut from {a} to {b}"));
                self.net.cut(a, b);
                if self.rng.percent(50) {
                    for node in &self.nodes {
                        self.net.cut(a, node.id);
                        self.net.cut(node.id, a);
                    }
                }
                SimRuntime::sleep(pause * 2).await;
                self.net.heal();
            }
            6 => {
                let loss = self.rng.below(200);
                let delay_micros = self.rng.between(100, 60_000);
                self.net.set_weather(Weather { delay_micros, loss });
                SimRuntime::sleep(pause * 2).await;
                self.net.set_weather(Weather { delay_micros: 500, loss: 0 });
            }
            7 => {
                let sync_errors = self.rng.below(60);
                let write_errors = self.rng.below(30);
                self.nodes[victim].disk.set_faults(|faults| {
                    faults.sync_errors = sync_errors;
                    faults.write_errors = write_errors;
                });
                SimRuntime::sleep(pause * 2).await;
                self.nodes[victim].disk.set_faults(|faults| {
                    faults.sync_errors = 0;
                    faults.write_errors = 0;
                });
            }
            8 => {
                let jump = self.rng.between(0, 7_200_000) as i64 - 3_600_000;
                self.nodes[victim].clock_error.store(jump, SeqCst);
                SimRuntime::sleep(pause).await;
            }
            _ => {
                if let Some(shard) = self.leader() {
                    if self.rng.percent(50) {
                        shard.transfer_leadership(self.nodes[victim].id).await;
                    } else {
                        shard.checkpoint().await;
                    }
                }
                SimRuntime::sleep(pause).await;
            }
        }
        SimRuntime::sleep(seconds(&mut self.rng, 2)).await;
        Ok(())
    }

    /// Two or three nodes lose power at the same moment.
    async fn blackout(&mut self) -> Result<(), String> {
        let spared = if self.rng.percent(50) { Some(self.rng.below(NODES) as usize) } else { None };
        let victims: Vec<usize> = (0..self.nodes.len()).filter(|nth| Some(*nth) != spared).collect();
        self.may_lose_memory = true;
        for nth in &victims {
            self.crash(*nth, true).await;
        }
        let pause = self.rng.between(10, 1500);
        SimRuntime::sleep(Duration::from_millis(pause)).await;
        for nth in victims {
            self.start(nth).await?;
        }
        Ok(())
    }

    async fn calm(&mut self) -> Result<(), String> {
        self.net.heal();
        self.net.set_weather(Weather { delay_micros: 500, loss: 0 });
        for node in &self.nodes {
            node.clock_error.store(0, SeqCst);
        }
        SimRuntime::sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    fn leader(&self) -> Option<Shard> {
        self.replicas.lock().values().find(|shard| shard.role() == Role::Leader).cloned()
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
        let roles: Vec<_> = self.replicas.lock().iter().map(|(id, s)| (*id, s.role(), s.is_in_doubt())).collect();
        Err(format!("no leader comes about: {roles:?}"))
    }

    /// Everything that was proposed is applied everywhere.
    async fn settle(&mut self) -> Result<(), String> {
        self.command(Command::Tick).await?;
        for _ in 0..600 {
            let applied: Vec<u64> = self.replicas.lock().values().map(|shard| shard.journal().applied()).collect();
            if applied.len() == self.nodes.len() && applied.iter().all(|index| *index == applied[0]) {
                return Ok(());
            }
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        let applied: Vec<_> = self
            .replicas
            .lock()
            .iter()
            .map(|(id, s)| (*id, s.journal().applied(), s.journal().last(), s.role(), s.is_in_doubt()))
            .collect();
        Err(format!("replicas do not come together: {applied:?}"))
    }

    fn compare(&mut self) {
        let ledger = self.ledger.lock();
        let mut digests = BTreeMap::new();
        for (id, shard) in self.replicas.lock().iter() {
            digests.entry(shard.machine().digest()).or_insert_with(Vec::new).push(*id);
            for stream in (1..=STREAMS).map(StreamId) {
                let Some((start, end)) = shard.machine().messaging.stream(stream).map(|s| (s.start, s.end)) else {
                    self.outcome.violations.push(format!("n{id}: {stream} is gone"));
                    continue;
                };
                let may_lose = self.may_lose_memory && !is_durable(stream.0);
                let who = format!("n{id}");
                match read_all(shard, stream, start, end) {
                    Ok(found) => {
                        let wrong = ledger.compare(&who, stream, start.0, end.0, &found, may_lose);
                        self.outcome.violations.extend(wrong);
                    }
                    Err(error) => self.outcome.violations.push(format!("{who} {stream}: {error}")),
                }
            }
        }
        if digests.len() > 1 {
            self.outcome.violations.push(format!("replicas differ: {digests:?}"));
        }
    }

    fn finish(mut self) -> Outcome {
        self.outcome.acknowledged = self.ledger.lock().count();
        self.outcome.messages = self.net.counts();
        for node in &self.nodes {
            self.outcome.doubts += node.doubts;
            self.outcome.tally.add(&node.disk.tally());
        }
        self.outcome.violations.truncate(20);
        self.outcome
    }
}

/// Odd streams promise that what is acknowledged is on stable storage.
fn is_durable(stream: u64) -> bool {
    stream % 2 == 1
}

fn read_all(shard: &Shard, stream: StreamId, start: Offset, end: Offset) -> Result<BTreeMap<u64, u64>, String> {
    let mut found = BTreeMap::new();
    let mut next = start;
    while next < end {
        let slices = shard.journal().read(stream, next, end, 64 << 10).map_err(|error| error.to_string())?;
        let Some(last) = slices.last() else { break };
        next = last.end();
        found.extend(records(&slices).into_iter().filter(|(offset, _)| *offset >= start.0));
    }
    Ok(found)
}
