//! What the node counts, as OpenMetrics: one file for each subject.
//!
//! A scrape first asks whoever knows, then turns what it was told into text: what takes time is done where
//! it holds up nobody. All metrics are described by [`family::Family`] as data; docs/metrics.md lists them.

mod family;
mod groups;
mod journal;
mod listeners;
mod memory;
mod peers;
mod process;
mod protocols;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod topics;

use broker::cluster::PeerCounts;
use broker::group_usage::GroupUsages;
use broker::usage::TopicUsages;
use broker::{Broker, Memory, ShardStatus};
#[cfg(test)]
use family::Family;
use gateway::{Counters, ProtocolCounters};
use process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// Begins the names of all metrics but those of the process.
const PREFIX: &str = "mainstem";
/// The label value that stands for all topics or groups that are not shown by name. No topic has this name;
/// a group may, but it has no members, and a topic beside it.
const NOBODY: &str = "";

/// Those whom a scrape asks.
pub(crate) struct Metrics {
    broker: Broker,
    listeners: Vec<(&'static str, Arc<Counters>)>,
    protocols: Vec<Arc<ProtocolCounters>>,
}

/// What they know, at one time.
#[derive(Debug, Default)]
struct Known {
    shards: Vec<ShardStatus>,
    listeners: Vec<(&'static str, Arc<Counters>)>,
    protocols: Vec<Arc<ProtocolCounters>>,
    memory: Option<Memory>,
    peers: Option<PeerCounts>,
    topics: TopicUsages,
    groups: GroupUsages,
}

impl Metrics {
    /// Of the broker, of each listener by its name, and of each protocol.
    pub(crate) fn new(
        broker: Broker,
        listeners: Vec<(&'static str, Arc<Counters>)>,
        protocols: Vec<Arc<ProtocolCounters>>,
    ) -> Self {
        Metrics { broker, listeners, protocols }
    }

    /// One more protocol.
    pub(crate) fn with_protocol(mut self, counters: Arc<ProtocolCounters>) -> Self {
        self.protocols.push(counters);
        self
    }

    /// Everything, as text.
    pub(crate) async fn text(&self) -> Result<String, fmt::Error> {
        // Groups first: whoever waits for its turn there shall not show what was long ago.
        let groups = self.broker.group_usages().await;
        let topics = self.broker.topic_usages().await;
        let (broker, listeners, protocols) = (self.broker.clone(), self.listeners.clone(), self.protocols.clone());
        let memory = Some(broker.memory().clone());
        let peers = broker.peer_counts();
        let write =
            move || Known { shards: broker.status(), listeners, protocols, memory, peers, topics, groups }.text();
        tokio::task::spawn_blocking(write).await.unwrap_or(Err(fmt::Error))
    }
}

impl Known {
    fn text(self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let mut ours = Registry::with_prefix(PREFIX);
        ours.register_collector(Box::new(self));
        text::encode_registry(&mut text, &ours)?;
        let mut everybodys = Registry::default();
        everybodys.register_collector(Box::new(OfProcess(Process::read())));
        text::encode_registry(&mut text, &everybodys)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        protocols::encode(&self.protocols, &mut encoder)?;
        listeners::encode(&self.listeners, &mut encoder)?;
        memory::encode(self.memory.as_ref(), &mut encoder)?;
        peers::encode(self.peers.as_ref(), &mut encoder)?;
        topics::encode(&self.topics, &mut encoder)?;
        groups::encode(&self.groups, &mut encoder)?;
        journal::encode(&self.shards, &mut encoder)
    }
}

/// The metrics of the process have no prefix.
#[derive(Debug)]
struct OfProcess(Option<Process>);

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        process::encode(self.0.as_ref(), &mut encoder)
    }
}

/// All that [`Known`] shows, in that order.
#[cfg(test)]
fn ours() -> impl Iterator<Item = &'static Family> {
    let traffic = protocols::families().chain(listeners::families()).chain(memory::families());
    let traffic = traffic.chain(peers::families());
    traffic.chain(topics::families()).chain(groups::families()).chain(journal::families())
}
