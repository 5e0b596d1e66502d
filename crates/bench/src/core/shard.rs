//! One shard with one voter: journal and machine under consensus, without a protocol.

use super::journal::{Case, cases, measure};
use super::{Mode, Options, report};
use crate::Outcome;
use crate::cost::{self, Cost, Done};
use ::journal::disk::Folder;
use ::journal::thread::{Bell, spawn};
use ::journal::{CacheBudget, Journal, Options as Opened};
use ::machine::messaging::sequencer::AppendRequest;
use ::machine::{Command, Reply};
use ::shard::runtime::Tokio;
use ::shard::{Alone, Environment, ProposeError, Request, Shard};
use bytes::Bytes;
use model::{Durability, NodeId, ShardId, StreamConfig, StreamId, Timestamp, limit};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Shard: journal and machine under consensus, one voter",
        "A writer is a request that is under way, each with a stream of its own. CPU is the whole process', the one \
         task that makes the requests included.",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    measure(options, &cases(options), |case, folder| {
        runtime.block_on(async {
            let node = Node::start(folder).await?;
            let cost = append(options, case, &node).await;
            node.stop().await?;
            cost
        })
    })
}

/// A shard and the thread that writes its journal.
struct Node {
    shard: Shard,
    writer: JoinHandle<()>,
}

impl Node {
    async fn start(folder: &Path) -> Outcome<Self> {
        let bell = Bell::new();
        let mut options = Opened::new(ShardId(1), CacheBudget::new(limit::TAIL_CACHE_BYTES), 0xbe2c);
        options.wake_writer = bell.ringer();
        let (journal, writer, recovered) = Journal::open(Arc::new(Folder::open(folder)?), options)?;
        let writer = spawn(writer, bell)?;
        let environment = Environment {
            transport: Arc::new(Alone),
            wall: Arc::new(|| {
                Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64)
            }),
            offload: Arc::new(|work| drop(tokio::task::spawn_blocking(work))),
            on_effects: Arc::new(|_, _| ()),
            on_role: Arc::new(|_| ()),
            upkeep: shard::Upkeep::default(),
            turns: Arc::new(tokio::sync::Semaphore::new(1)),
            catch_up: shard::CatchUp::default(),
        };
        let shard = Shard::start::<Tokio>(NodeId(1), journal, recovered.in_doubt, environment).await?;
        shard.initialize(vec![NodeId(1)]).await?;
        shard.elect().await;
        Ok(Node { shard, writer })
    }

    async fn stop(self) -> Outcome<()> {
        self.shard.shutdown().await;
        self.shard.journal().stop();
        let writer = self.writer;
        tokio::task::spawn_blocking(move || writer.join()).await?.map_err(|_| "the journal's writer panicked".into())
    }

    async fn create_stream(&self, stream: StreamId) -> Outcome<()> {
        loop {
            match self.shard.command(Command::CreateStream { stream, config: StreamConfig::default() }).await {
                Ok(_) => return Ok(()),
                Err(ProposeError::NotLeader(_)) => tokio::task::yield_now().await, // the election
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What became of a writer's request.
type Outcomes = mpsc::UnboundedSender<(u64, Result<Reply, ProposeError>)>;

async fn propose(shard: &Shard, case: &Case, batch: &Bytes, writer: u64, told: &Outcomes) {
    let durability = match case.mode {
        Mode::Fsync => Durability::QuorumFsync,
        Mode::Memory => Durability::QuorumMemory,
    };
    let request = AppendRequest {
        stream: StreamId(writer),
        bytes: batch.clone(),
        message_id: None,
        durability: Some(durability),
    };
    let told = told.clone();
    shard.propose(Request::Append(request), Box::new(move |outcome| drop(told.send((writer, outcome))))).await;
}

/// Keeps every writer's request under way until told to stop; returns how many records were taken.
async fn drive(shard: Shard, case: Case, done: Arc<Done>, stop: Arc<AtomicBool>) -> Outcome<u64> {
    let batch = case.size.batch();
    // Never holds more than one outcome per writer.
    let (told, mut heard) = mpsc::unbounded_channel();
    for writer in 0..case.writers as u64 {
        propose(&shard, &case, &batch, writer, &told).await;
    }
    let (mut taken, mut under_way) = (0, case.writers);
    while under_way > 0 {
        let Some((writer, outcome)) = heard.recv().await else { break };
        match outcome? {
            Reply::Appended { .. } => taken += case.size.records,
            other => return Err(format!("void: {other:?}").into()),
        }
        done.add(case.size.records, case.size.bytes as u64);
        if stop.load(Relaxed) {
            under_way -= 1;
        } else {
            propose(&shard, &case, &batch, writer, &told).await;
        }
    }
    Ok(taken)
}

async fn append(options: &Options, case: &Case, node: &Node) -> Outcome<Cost> {
    for writer in 0..case.writers as u64 {
        node.create_stream(StreamId(writer)).await?;
    }
    let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
    let driving = tokio::spawn(drive(node.shard.clone(), *case, done.clone(), stop.clone()));
    let (warm_up, window) = (options.warm_up(), options.window());
    let watching = tokio::task::spawn_blocking(move || cost::watch(&done, std::process::id(), warm_up, window));
    let cost = watching.await?;
    stop.store(true, Relaxed);
    let taken = driving.await??;
    let stored: u64 = node.shard.machine().messaging.streams().map(|(_, stream)| stream.end.0).sum();
    if stored == taken { cost } else { Err(format!("void: {stored} of {taken} records are there").into()) }
}
