//! Who takes part, and what they promise.

use serde::{Deserialize, Serialize};

/// A broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    Mainstem,
    Kafka,
}

/// A broker and when it answers a producer that asked for acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// Mainstem as it comes: after fdatasync.
    Mainstem,
    /// Mainstem, once written.
    MainstemMemory,
    /// Kafka as it comes: once written.
    Kafka,
    /// Kafka, after a sync of every batch.
    KafkaFlush,
}

impl Variant {
    pub(crate) const ALL: [Variant; 4] =
        [Variant::Mainstem, Variant::MainstemMemory, Variant::Kafka, Variant::KafkaFlush];
    /// Where durability makes no difference.
    pub(crate) const DEFAULTS: [Variant; 2] = [Variant::Mainstem, Variant::Kafka];
    /// Whose ratios are looked at.
    pub(crate) const PAIRS: [(Variant, Variant); 3] = [
        (Variant::Mainstem, Variant::Kafka),
        (Variant::MainstemMemory, Variant::Kafka),
        (Variant::Mainstem, Variant::KafkaFlush),
    ];

    pub(crate) fn product(self) -> Product {
        match self {
            Variant::Mainstem | Variant::MainstemMemory => Product::Mainstem,
            Variant::Kafka | Variant::KafkaFlush => Product::Kafka,
        }
    }

    /// As tables and plots call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Variant::Mainstem => "Mainstem",
            Variant::MainstemMemory => "Mainstem, memory",
            Variant::Kafka => "Kafka",
            Variant::KafkaFlush => "Kafka, flush",
        }
    }

    /// What makes a topic promise this.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Variant::Mainstem | Variant::Kafka => &[],
            Variant::MainstemMemory => &[("mainstem.durability", "quorum-memory")],
            Variant::KafkaFlush => &[("flush.messages", "1")],
        }
    }
}
