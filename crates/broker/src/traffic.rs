//! What goes into topics and out of them, counted.
//!
//! A topic has counters of its own from the first time that it is seen, as long as there are places; those
//! that find none share one set of counters, for as long as the node runs: no count ever goes down, and
//! which topics are shown by name does not change from look to look. The place of a deleted topic is given
//! to another.

use machine::catalog::Catalog;
use model::TopicId;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counters of a topic, or of all that have none of their own.
#[derive(Debug, Default)]
pub struct TopicCounters {
    /// Records appended.
    pub records_in: AtomicU64,
    /// Records read.
    pub records_out: AtomicU64,
    /// Bytes appended, as they are stored.
    pub bytes_in: AtomicU64,
    /// Bytes read.
    pub bytes_out: AtomicU64,
}

impl TopicCounters {
    fn is_zero(&self) -> bool {
        let counts = [&self.records_in, &self.records_out, &self.bytes_in, &self.bytes_out];
        counts.iter().all(|count| count.load(Relaxed) == 0)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Traffic {
    places: usize,
    own: RwLock<HashMap<TopicId, Arc<TopicCounters>>>,
    shared: Arc<TopicCounters>,
}

impl Traffic {
    /// Counters for so many topics, and for the others.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Traffic { places, own: RwLock::default(), shared: Arc::default() }
    }

    /// Records were appended to a topic.
    pub(crate) fn note_in(&self, topic: TopicId, records: u64, bytes: u64) {
        self.count(topic, |counters| {
            counters.records_in.fetch_add(records, Relaxed);
            counters.bytes_in.fetch_add(bytes, Relaxed);
        });
    }

    /// Records of a topic were read.
    pub(crate) fn note_out(&self, topic: TopicId, records: u64, bytes: u64) {
        self.count(topic, |counters| {
            counters.records_out.fetch_add(records, Relaxed);
            counters.bytes_out.fetch_add(bytes, Relaxed);
        });
    }

    fn count(&self, topic: TopicId, add: impl FnOnce(&TopicCounters)) {
        let own = self.own.read();
        if let Some(counters) = own.get(&topic) {
            return add(counters);
        }
        if own.len() >= self.places {
            return add(&self.shared);
        }
        drop(own);
        let mut own = self.own.write();
        if own.len() < self.places || own.contains_key(&topic) {
            add(own.entry(topic).or_default());
        } else {
            add(&self.shared);
        }
    }

    /// Takes places back from topics that are gone, gives free ones to those of `topics` that have none,
    /// and returns the counters of those that have one, in their order.
    pub(crate) fn of(&self, topics: &[TopicId], catalog: &Catalog) -> Vec<(TopicId, Arc<TopicCounters>)> {
        let mut own = self.own.write();
        own.retain(|topic, _| catalog.topic(*topic).is_some());
        let mut shown = Vec::with_capacity(topics.len().min(self.places));
        for topic in topics {
            if own.len() < self.places || own.contains_key(topic) {
                shown.push((*topic, own.entry(*topic).or_default().clone()));
            }
        }
        shown
    }

    /// The counters of topics without a place, if there are or ever were any.
    pub(crate) fn shared(&self, any: bool) -> Option<Arc<TopicCounters>> {
        (any || !self.shared.is_zero()).then(|| self.shared.clone())
    }
}
