//! An open load: batches are due at fixed times, so the broker does not set the pace.

use super::{Finished, Shared};
use crate::Outcome;
use crate::client::Answers;
use crate::kafka::consumer::Consumer;
use crate::kafka::histogram::Histogram;
use crate::kafka::ledger::Plan;
use crate::kafka::payload::Stamp;
use crate::kafka::producer::{self, Sender};
use crate::kafka::schedule::{Pacer, Schedule};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long it may go on after the last batch was due.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where to, what, and when.
pub(super) struct Open {
    pub(super) address: SocketAddr,
    pub(super) topic: String,
    pub(super) plan: Plan,
    pub(super) schedule: Schedule,
    /// What is due before this is not in the histograms.
    pub(super) warm_up: Duration,
    /// Nothing is due from this on.
    pub(super) end: Duration,
    /// Whether a consumer reads what is produced.
    pub(super) follows: bool,
}

/// The times of one run, from whose start all durations are counted.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    warm_up: Duration,
    schedule: Schedule,
}

impl Clock {
    /// Records how long it is since a batch was due.
    fn note(&self, due: Duration, histogram: &mut Histogram) {
        if due >= self.warm_up {
            histogram.record(self.start.elapsed().saturating_sub(due).as_nanos() as u64);
        }
    }
}

impl Open {
    /// # Errors
    /// When the broker does not keep up at all, or a record that came back shows that the run is void.
    pub(super) async fn run(self, shared: Arc<Shared>) -> Outcome<Finished> {
        let limit = self.end + PATIENCE;
        match tokio::time::timeout(limit, self.all(shared)).await {
            Ok(finished) => finished,
            Err(_) => Err("the broker did not keep up with the rate".into()),
        }
    }

    async fn all(self, shared: Arc<Shared>) -> Outcome<Finished> {
        let producers = self.plan.templates.len();
        let sent: Vec<u64> = (0..producers).map(|nth| self.schedule.count(nth, self.end)).collect();
        let mut consumer = None;
        if self.follows {
            let partitions = (0..self.plan.partitions).collect();
            consumer = Some(Consumer::connect(self.address, &self.topic, &self.plan, partitions).await?);
        }
        let mut connections = Vec::new();
        for nth in 0..producers {
            connections.push(producer::connect(self.address, &self.topic, &self.plan, nth).await?);
        }
        let clock = Clock { start: Instant::now(), warm_up: self.warm_up, schedule: self.schedule };
        let mut tasks: JoinSet<Outcome<Finished>> = JoinSet::new();
        if let Some(consumer) = consumer {
            tasks.spawn(follow(consumer, sent.clone(), clock));
        }
        for (nth, (mut sender, answers)) in connections.into_iter().enumerate() {
            let (count, shared, batch) = (sent[nth], shared.clone(), (sender.records(), sender.bytes()));
            tasks.spawn(async move {
                // The sender outlives its last batch: without it the connection would be half closed.
                let acknowledged = acknowledge(answers, nth, count, batch, clock, &shared);
                let (late, acknowledged) = tokio::try_join!(pace(&mut sender, nth, count, clock), acknowledged)?;
                Ok(Finished { late, acknowledged, ..Finished::default() })
            });
        }
        let mut all = Finished { sent, ..Finished::default() };
        while let Some(ended) = tasks.join_next().await {
            let part = ended??;
            all.acknowledged.add(&part.acknowledged);
            all.consumed.add(&part.consumed);
            all.late.add(&part.late);
        }
        Ok(all)
    }
}

/// Sends each batch when it is due, or as soon after as the connection takes it: how late that was.
async fn pace(sender: &mut Sender, nth: usize, count: u64, clock: Clock) -> Outcome<Histogram> {
    let (pacer, mut late) = (Pacer::new()?, Histogram::default());
    for number in 0..count {
        let due = clock.schedule.due(nth, number);
        pacer.until(clock.start + due).await?;
        clock.note(due, &mut late);
        sender.send(due.as_nanos() as u64).await?;
    }
    Ok(late)
}

/// Waits for the answers to all of a producer's batches.
async fn acknowledge(
    mut answers: Answers,
    nth: usize,
    count: u64,
    (records, bytes): (u64, u64),
    clock: Clock,
    shared: &Shared,
) -> Outcome<Histogram> {
    let mut acknowledged = Histogram::default();
    for number in 0..count {
        answers.produced().await?;
        shared.done.add(records, bytes);
        clock.note(clock.schedule.due(nth, number), &mut acknowledged);
    }
    Ok(acknowledged)
}

/// Reads until everything that is going to be sent has come.
async fn follow(mut consumer: Consumer, sent: Vec<u64>, clock: Clock) -> Outcome<Finished> {
    let mut consumed = Histogram::default();
    let partitions = consumer.partitions.clone();
    let expected = consumer.ledger.expected(&sent, &partitions);
    while consumer.ledger.records < expected {
        consumer.fetch(|stamp: Stamp| clock.note(Duration::from_nanos(stamp.nanos), &mut consumed)).await?;
    }
    consumer.ledger.settle(&sent, &partitions)?;
    Ok(Finished { consumed, ..Finished::default() })
}
