//! Closed loads: another request goes out for every answer that comes in, so the broker sets the pace.

use super::{Finished, Shared};
use crate::Outcome;
use crate::client::Answers;
use crate::kafka::consumer::Consumer;
use crate::kafka::histogram::Histogram;
use crate::kafka::ledger::Plan;
use crate::kafka::producer::{self, Sender};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::task::JoinSet;

/// Every producer keeps its window full until it is told to stop.
pub(super) async fn saturate(
    address: SocketAddr,
    topic: String,
    plan: Plan,
    in_flight: usize,
    shared: Arc<Shared>,
) -> Outcome<Finished> {
    let mut producers = JoinSet::new();
    for nth in 0..plan.templates.len() {
        let (sender, answers) = producer::connect(address, &topic, &plan, nth).await?;
        let shared = shared.clone();
        producers.spawn(async move { (nth, pump(sender, answers, in_flight, &shared).await) });
    }
    let mut finished = Finished { sent: vec![0; plan.templates.len()], ..Finished::default() };
    while let Some(ended) = producers.join_next().await {
        let (nth, ended) = ended?;
        let (sent, histogram) = ended?;
        finished.sent[nth] = sent;
        finished.acknowledged.add(&histogram);
    }
    Ok(finished)
}

async fn pump(
    mut sender: Sender,
    mut answers: Answers,
    in_flight: usize,
    shared: &Shared,
) -> Outcome<(u64, Histogram)> {
    let (records, bytes) = (sender.records(), sender.bytes());
    let (mut under_way, mut histogram) = (VecDeque::with_capacity(in_flight), Histogram::default());
    loop {
        while under_way.len() < in_flight && !shared.stop.load(Relaxed) {
            under_way.push_back(Instant::now());
            sender.send(0).await?;
        }
        let Some(since) = under_way.pop_front() else { break };
        answers.produced().await?;
        shared.done.add(records, bytes);
        if shared.measuring.load(Relaxed) {
            histogram.record(since.elapsed().as_nanos() as u64);
        }
    }
    Ok((sender.next, histogram))
}

/// Reads the same again and again until it is told to stop.
pub(super) async fn reread(
    address: SocketAddr,
    topic: String,
    plan: Plan,
    sent: Vec<u64>,
    readers: usize,
    shared: Arc<Shared>,
) -> Outcome<Finished> {
    let mut tasks = JoinSet::new();
    for nth in 0..readers {
        let own: Vec<usize> = (nth..plan.partitions).step_by(readers).collect();
        let (topic, plan, sent, shared) = (topic.clone(), plan.clone(), sent.clone(), shared.clone());
        tasks.spawn(async move {
            while !shared.stop.load(Relaxed) {
                let mut consumer = Consumer::connect(address, &topic, &plan, own.clone()).await?;
                let go_on = |records, bytes| {
                    shared.done.add(records, bytes);
                    !shared.stop.load(Relaxed)
                };
                consumer.read_all(&sent, go_on).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Finished::default())
}
