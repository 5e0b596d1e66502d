//! Producing through Kafka.

use super::journal::{Case, cases, measure};
use super::{Mode, Options, report};
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::{Client, produce_frame};
use crate::cost::{self, Cost, Done};
use crate::disk;
use crate::figure;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::task::JoinSet;

/// Requests of one producer that are under way: what Kafka's own producer allows itself.
const IN_FLIGHT: usize = 5;
/// Writers beyond this many share partitions.
const PARTITIONS_MAX: usize = 100;
const TOPIC: &str = "load";

pub(crate) fn produce(options: &Options) -> Outcome<()> {
    report::section(
        "Through Kafka: producing",
        "A writer is a connection with five requests under way, one batch each; 100 partitions at most. fsync is \
         acks=all on a topic as it comes, memory is acks=1. CPU is the broker's process alone.",
    );
    if !options.has_broker()? {
        return Ok(());
    }
    measure(options, &cases(options), |case, folder| {
        let broker = options.start_broker(folder)?;
        let load = Load::start(broker.address, case)?;
        let cost = load.watch(broker.pid(), options.warm_up(), options.window())?;
        load.stop()?;
        broker.stop()?;
        Ok(cost)
    })?;
    amplification(options)
}

/// Producers at work.
pub(crate) struct Load {
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
    producers: JoinHandle<Outcome<()>>,
}

impl Load {
    /// Makes the topic and starts the producers.
    pub(crate) fn start(address: SocketAddr, case: &Case) -> Outcome<Self> {
        let (done, stop, case) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)), *case);
        let producers = {
            let (done, stop) = (done.clone(), stop.clone());
            thread::spawn(move || client_runtime()?.block_on(all(address, case, done, stop)))
        };
        Ok(Load { done, stop, producers })
    }

    /// What the broker takes for what is produced meanwhile.
    pub(crate) fn watch(&self, pid: u32, warm_up: Duration, window: Duration) -> Outcome<Cost> {
        // Topics and connections first: the window begins when records flow.
        while self.done.records() == 0 && !self.producers.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        cost::watch(&self.done, pid, warm_up, window)
    }

    /// Waits for every answer, and that the broker has as many records as it has acknowledged.
    pub(crate) fn stop(self) -> Outcome<()> {
        self.stop.store(true, Relaxed);
        self.producers.join().map_err(|_| "a producer panicked")?
    }
}

async fn all(address: SocketAddr, case: Case, done: Arc<Done>, stop: Arc<AtomicBool>) -> Outcome<()> {
    let partitions = case.writers.min(PARTITIONS_MAX);
    let mut client = Client::connect(address).await?;
    client.create_topic(TOPIC, partitions).await?;
    let mut writers = JoinSet::new();
    for nth in 0..case.writers {
        let partition = (nth % partitions) as i32;
        writers.spawn(one(address, case, partition, done.clone(), stop.clone()));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let stored = client.count(TOPIC, partitions).await?;
    let acknowledged = done.records();
    if stored == acknowledged { Ok(()) } else { Err(format!("void: {stored} of {acknowledged} records").into()) }
}

async fn one(address: SocketAddr, case: Case, partition: i32, done: Arc<Done>, stop: Arc<AtomicBool>) -> Outcome<()> {
    let acks = if case.mode == Mode::Fsync { -1 } else { 1 };
    let frame = produce_frame(TOPIC, partition, &case.size.batch(), acks)?;
    let mut client = Client::connect(address).await?;
    let mut under_way = 0;
    let mut last = -1;
    while under_way > 0 || !stop.load(Relaxed) {
        while under_way < IN_FLIGHT && !stop.load(Relaxed) {
            client.send(&frame).await?;
            under_way += 1;
        }
        if under_way == 0 {
            break;
        }
        let base = client.produced().await?;
        if base <= last {
            return Err(format!("void: offset {base} after {last}").into());
        }
        last = base;
        under_way -= 1;
        done.add(case.size.records, case.size.bytes as u64);
    }
    Ok(())
}

/// Bytes written to storage for every byte produced, until everything settled.
fn amplification(options: &Options) -> Outcome<()> {
    report::section(
        "Write amplification",
        "Bytes the broker had the kernel send to storage (`write_bytes` of its /proc io) for each byte of batches \
         produced, from its start until a clean stop was due: frames, padding to pages at every sync, tables, \
         checkpoints, the records rewritten by packing.",
    );
    report::head(&["piece", "mode", "writers", "produced, MiB", "written / produced"]);
    let picked = |case: &Case| {
        case.writers != 1
            && (case.size.bytes != 100 || case.writers == 1000 || options.quick || options.writers.is_some())
    };
    for case in cases(options).into_iter().filter(picked) {
        let folder = disk::fresh(&options.folder, "amplification")?;
        let (produced, written) = written_for(options, &case, &folder)?;
        report::row(&[
            figure::size(case.size.bytes),
            case.mode.name().into(),
            case.writers.to_string(),
            figure::number(produced as f64 / (1 << 20) as f64),
            format!("{:.2}", written as f64 / produced as f64),
        ]);
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn written_for(options: &Options, case: &Case, folder: &Path) -> Outcome<(u64, u64)> {
    let broker = options.start_broker(folder)?;
    let before = broker.written()?;
    let load = Load::start(broker.address, case)?;
    load.watch(broker.pid(), Duration::ZERO, options.warm_up() + options.window())?;
    let done = load.done.clone();
    load.stop()?;
    // Housekeeping looks every quarter of a second; what is unsynced goes within 200 ms.
    thread::sleep(Duration::from_millis(if options.quick { 300 } else { 2000 }));
    let written = broker.written()? - before;
    broker.stop()?;
    Ok((done.bytes(), written))
}
