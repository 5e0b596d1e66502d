//! One connection that produces numbered batches.

use super::ledger::Plan;
use super::payload::{Stamp, Template};
use crate::Outcome;
use crate::client::{Answers, Client, produce_frame};
use bytes::{Buf, Bytes};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

/// A request for one partition, but for the batch in it.
struct Around {
    before: Bytes,
    after: Bytes,
}

/// The sending side.
pub(crate) struct Sender {
    producer: u16,
    template: Template,
    around: Vec<Around>,
    requests: OwnedWriteHalf,
    plan: Plan,
    /// The number of the batch that comes next: so many were sent.
    pub(crate) next: u64,
}

/// Connects producer `nth` of a plan, with acks=all.
pub(crate) async fn connect(address: SocketAddr, topic: &str, plan: &Plan, nth: usize) -> Outcome<(Sender, Answers)> {
    let (requests, answers) = Client::connect(address).await?.split();
    let template = plan.templates[nth].clone();
    let around = (0..plan.partitions).map(|partition| around(topic, partition, &template)).collect::<Outcome<_>>()?;
    let sender = Sender { producer: nth as u16, template, around, requests, plan: plan.clone(), next: 0 };
    Ok((sender, answers))
}

fn around(topic: &str, partition: usize, template: &Template) -> Outcome<Around> {
    let batch = template.as_bytes();
    let frame = produce_frame(topic, partition as i32, &batch, -1)?;
    let at = frame.windows(batch.len()).position(|window| window == batch).ok_or("a request without its batch")?;
    Ok(Around { before: frame.slice(..at), after: frame.slice(at + batch.len()..) })
}

impl Sender {
    pub(crate) fn records(&self) -> u64 {
        self.template.records
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.template.len() as u64
    }

    /// Sends the next batch, which was meant to be sent `nanos` after the load's start.
    pub(crate) async fn send(&mut self, nanos: u64) -> Outcome<()> {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let stamp = Stamp { producer: self.producer, number: self.next, nanos };
        let Around { before, after } = &self.around[self.plan.partition(self.producer.into(), self.next)];
        let batch = self.template.stamp(stamp, millis);
        self.requests.write_all_buf(&mut (&before[..]).chain(batch).chain(&after[..])).await?;
        self.next += 1;
        Ok(())
    }
}
