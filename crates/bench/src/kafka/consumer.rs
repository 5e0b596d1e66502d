//! One connection that reads, and holds what it reads against what was sent.

use super::ledger::{Ledger, Plan};
use super::payload::Stamp;
use crate::Outcome;
use crate::client::Client;
use std::net::SocketAddr;

/// What Kafka's own consumer asks for: of a partition, and in all.
const PARTITION_BYTES: usize = 1 << 20;
const FETCH_BYTES: usize = 50 << 20;
/// Fetches in a row that may find nothing, each after a second, before records are held to be lost.
const EMPTY_MAX: usize = 30;

/// Partitions of a topic, read from their beginning.
pub(crate) struct Consumer {
    client: Client,
    topic: String,
    pub(crate) partitions: Vec<usize>,
    pub(crate) ledger: Ledger,
}

impl Consumer {
    pub(crate) async fn connect(
        address: SocketAddr,
        topic: &str,
        plan: &Plan,
        partitions: Vec<usize>,
    ) -> Outcome<Self> {
        let client = Client::connect(address).await?;
        Ok(Consumer { client, topic: topic.to_owned(), partitions, ledger: Ledger::new(plan.clone()) })
    }

    /// One fetch: what came, in records and bytes. Waits up to a second when there is nothing.
    pub(crate) async fn fetch(&mut self, mut seen: impl FnMut(Stamp)) -> Outcome<(u64, u64)> {
        let (records, bytes) = (self.ledger.records, self.ledger.bytes);
        let from: Vec<(String, i32, u64)> = self
            .partitions
            .iter()
            .map(|partition| (self.topic.clone(), *partition as i32, self.ledger.offset(*partition)))
            .collect();
        for part in self.client.fetch(&from, PARTITION_BYTES, FETCH_BYTES).await? {
            let partition = usize::try_from(part.partition)?;
            if !self.partitions.contains(&partition) {
                return Err("void: a partition nobody asked for".into());
            }
            self.ledger.take(partition, &part.records, &mut seen)?;
        }
        // Whoever has to leave something out does so at the end: another partition's turn.
        self.partitions.rotate_left(1);
        Ok((self.ledger.records - records, self.ledger.bytes - bytes))
    }

    /// Reads until everything that was sent has come, or `go_on` says to stop; then every batch that was sent
    /// was seen once and in order.
    pub(crate) async fn read_all(&mut self, sent: &[u64], mut go_on: impl FnMut(u64, u64) -> bool) -> Outcome<()> {
        let (expected, mut empty) = (self.ledger.expected(sent, &self.partitions), 0);
        while self.ledger.records < expected {
            let (records, bytes) = self.fetch(|_| {}).await?;
            empty = if records == 0 { empty + 1 } else { 0 };
            if empty == EMPTY_MAX {
                break;
            }
            if !go_on(records, bytes) {
                return Ok(());
            }
        }
        self.ledger.settle(sent, &self.partitions)
    }
}

/// Reads a topic that nobody writes to any more: the run is void unless it holds what was sent and nothing else.
pub(crate) async fn verify(address: SocketAddr, topic: &str, plan: &Plan, sent: &[u64]) -> Outcome<()> {
    let partitions: Vec<usize> = (0..plan.partitions).collect();
    let mut consumer = Consumer::connect(address, topic, plan, partitions).await?;
    consumer.read_all(sent, |_, _| true).await?;
    let stored = consumer.client.count(topic, plan.partitions).await?;
    if stored == consumer.ledger.records {
        Ok(())
    } else {
        Err(format!("void: {stored} records instead of {}", consumer.ledger.records).into())
    }
}
