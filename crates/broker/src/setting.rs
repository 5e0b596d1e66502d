//! What can be set about a topic: one table, in the words of Kafka's topic configurations, for every
//! protocol, the command line and the console.
//!
//! The catalog keeps what somebody has set, as text. What follows from it, with the node's defaults for
//! the rest, is a [`StreamConfig`]: [`Settings::config`] is the only way from one to the other.

use crate::request::BrokerError;
use model::config::{Cleanup, Compression, StreamConfig, TimestampSource};
use model::{Durability, limit};
use std::collections::BTreeMap;

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 bits.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A whole number of 64 bits.
    Long {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number between 0 and 1.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, at least one, with commas between them.
    Words(&'static [&'static str]),
    /// Any words, with commas between them.
    List,
}

impl Kind {
    /// Whether a value is a list, which can be added to and taken from.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Words(_) | Kind::List)
    }

    /// What is expected, to follow the word "expected".
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Kind::Boolean => "true or false".into(),
            Kind::Int { min, max } | Kind::Long { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Ratio => "a number from 0 to 1".into(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Words(words) => format!("some of {}", words.join(", ")),
            Kind::List => "words with commas between them".into(),
        }
    }
}

/// Something that can be set.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What the broker's own configuration calls its default in Kafka, if it does.
    pub broker_name: Option<&'static str>,
    /// What its value is.
    pub kind: Kind,
    /// Its value unless set.
    pub default: &'static str,
    /// What it does here.
    pub meaning: &'static str,
    /// How it changes a stream. Absent when it says something about Kafka's files or replicas that has no
    /// counterpart here: tools set and read it back, and nothing follows.
    apply: Option<fn(&mut StreamConfig, &Value<'_>)>,
}

/// A value, read.
#[derive(Debug)]
enum Value<'a> {
    Number(i64),
    Ratio(f64),
    Word(&'a str),
    Words(Vec<&'a str>),
    Other,
}

impl Value<'_> {
    fn number(&self) -> i64 {
        if let Value::Number(number) = self { *number } else { 0 }
    }

    /// The number, unless it means that there is no bound.
    fn bound(&self) -> Option<u64> {
        u64::try_from(self.number()).ok().filter(|bound| *bound != i64::MAX as u64)
    }

    fn word(&self) -> &str {
        if let Value::Word(word) = self { word } else { "" }
    }
}

/// The setting that says how many replicas acks=all waits for.
pub const IN_SYNC: &str = "min.insync.replicas";

/// How many of so many replicas have a record that was acknowledged.
#[must_use]
pub const fn majority(replicas: u32) -> u32 {
    replicas / 2 + 1
}

const MAX: &str = "9223372036854775807";
const ANY: Kind = Kind::Long { min: i64::MIN, max: i64::MAX };
const NATURAL: Kind = Kind::Long { min: 0, max: i64::MAX };
const POSITIVE: Kind = Kind::Long { min: 1, max: i64::MAX };
const FROM_MINUS_1: Kind = Kind::Long { min: -1, max: i64::MAX };
const FROM_MINUS_2: Kind = Kind::Long { min: -2, max: i64::MAX };
const NO_EFFECT: &str = "Kept for tools; nothing follows from it here.";

const fn without_effect(name: &'static str, broker_name: &'static str, kind: Kind, default: &'static str) -> Setting {
    let broker_name = if broker_name.is_empty() { None } else { Some(broker_name) };
    Setting { name, broker_name, kind, default, meaning: NO_EFFECT, apply: None }
}

/// Everything that can be set, by name.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        broker_name: Some("log.cleanup.policy"),
        kind: Kind::Words(&["compact", "delete"]),
        default: "delete",
        meaning: "delete removes old records by time and size, compact keeps the last record of each key.",
        apply: Some(|config, value| {
            let Value::Words(words) = value else { return };
            config.cleanup = match (words.contains(&"compact"), words.contains(&"delete")) {
                (true, true) => Cleanup::CompactAndDelete,
                (true, false) => Cleanup::Compact,
                _ => Cleanup::Delete,
            };
        }),
    },
    without_effect("compression.gzip.level", "compression.gzip.level", Kind::Int { min: -1, max: 9 }, "-1"),
    without_effect("compression.lz4.level", "compression.lz4.level", Kind::Int { min: 1, max: 17 }, "9"),
    Setting {
        name: "compression.type",
        broker_name: Some("compression.type"),
        kind: Kind::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        default: "producer",
        meaning: "How batches are compressed: as the producer did it, or anew by the broker.",
        apply: Some(|config, value| {
            config.compression = match value.word() {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip,
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4,
                "zstd" => Compression::Zstd,
                _ => Compression::Producer,
            };
        }),
    },
    without_effect("compression.zstd.level", "compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, "3"),
    Setting {
        name: "delete.retention.ms",
        broker_name: Some("log.cleaner.delete.retention.ms"),
        kind: NATURAL,
        default: "86400000",
        meaning: "For how long compaction keeps a record that removes its key.",
        apply: Some(|config, value| config.tombstone_millis = value.number() as u64),
    },
    without_effect("file.delete.delay.ms", "log.segment.delete.delay.ms", NATURAL, "60000"),
    Setting {
        name: "flush.messages",
        broker_name: Some("log.flush.interval.messages"),
        kind: POSITIVE,
        default: MAX,
        meaning: "1 answers acks=all after fsync whatever mainstem.durability says, which does so by default.",
        apply: Some(|config, value| {
            if value.number() == 1 {
                config.durability = Durability::QuorumFsync;
            }
        }),
    },
    without_effect("flush.ms", "log.flush.interval.ms", NATURAL, MAX),
    without_effect("follower.replication.throttled.replicas", "", Kind::List, ""),
    without_effect(
        "index.interval.bytes",
        "log.index.interval.bytes",
        Kind::Int { min: 0, max: i32::MAX as i64 },
        "4096",
    ),
    without_effect("leader.replication.throttled.replicas", "", Kind::List, ""),
    without_effect("local.retention.bytes", "log.local.retention.bytes", FROM_MINUS_2, "-2"),
    without_effect("local.retention.ms", "log.local.retention.ms", FROM_MINUS_2, "-2"),
    Setting {
        name: "mainstem.durability",
        broker_name: Some("mainstem.durability"),
        kind: Kind::Word(&["quorum-fsync", "quorum-memory"]),
        default: "quorum-fsync",
        meaning: "When acks=all is answered: when most replicas have it on stable storage, or in memory.",
        apply: Some(|config, value| {
            config.durability = match value.word() {
                "quorum-memory" => Durability::QuorumMemory,
                _ => Durability::QuorumFsync,
            };
        }),
    },
    Setting {
        name: "max.compaction.lag.ms",
        broker_name: Some("log.cleaner.max.compaction.lag.ms"),
        kind: POSITIVE,
        default: MAX,
        meaning: "A record older than this is compacted even when little would be gained.",
        apply: Some(|config, value| config.compaction_lag_max_millis = value.bound()),
    },
    Setting {
        name: "max.message.bytes",
        broker_name: Some("message.max.bytes"),
        kind: Kind::Int { min: 0, max: i32::MAX as i64 },
        default: "1048588",
        meaning: "Bytes of the largest batch accepted, compressed as it comes. More than 32 MiB count as 32 MiB.",
        apply: Some(|config, value| {
            config.piece_bytes_max = value.number().clamp(0, limit::PIECE_BYTES_MAX as i64) as u32;
        }),
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        broker_name: Some("log.message.timestamp.after.max.ms"),
        kind: NATURAL,
        default: "3600000",
        meaning: "How far in the future a producer's timestamp may lie.",
        apply: Some(|config, value| config.timestamp_after_max_millis = value.bound()),
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        broker_name: Some("log.message.timestamp.before.max.ms"),
        kind: NATURAL,
        default: MAX,
        meaning: "How far in the past a producer's timestamp may lie.",
        apply: Some(|config, value| config.timestamp_before_max_millis = value.bound()),
    },
    Setting {
        name: "message.timestamp.type",
        broker_name: Some("log.message.timestamp.type"),
        kind: Kind::Word(&["CreateTime", "LogAppendTime"]),
        default: "CreateTime",
        meaning: "Whose clock a record's timestamp shows: the producer's or the broker's.",
        apply: Some(|config, value| {
            config.timestamp_source = match value.word() {
                "LogAppendTime" => TimestampSource::Append,
                _ => TimestampSource::Create,
            };
        }),
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        broker_name: Some("log.cleaner.min.cleanable.ratio"),
        kind: Kind::Ratio,
        default: "0.5",
        meaning: "Compaction begins when a larger part of the bytes is new since the last one.",
        apply: Some(|config, value| {
            if let Value::Ratio(ratio) = value {
                config.dirty_permille = (ratio * 1000.0) as u32;
            }
        }),
    },
    Setting {
        name: "min.compaction.lag.ms",
        broker_name: Some("log.cleaner.min.compaction.lag.ms"),
        kind: NATURAL,
        default: "0",
        meaning: "A record younger than this is not compacted.",
        apply: Some(|config, value| config.compaction_lag_min_millis = value.number() as u64),
    },
    Setting {
        name: IN_SYNC,
        broker_name: Some(IN_SYNC),
        kind: Kind::Int { min: 1, max: i32::MAX as i64 },
        default: "1",
        meaning: "How many replicas have what acks=all was answered for: always most of them. More is refused.",
        apply: None,
    },
    without_effect("preallocate", "log.preallocate", Kind::Boolean, "false"),
    without_effect("remote.log.copy.disable", "", Kind::Boolean, "false"),
    without_effect("remote.log.delete.on.disable", "", Kind::Boolean, "false"),
    without_effect("remote.storage.enable", "", Kind::Boolean, "false"),
    Setting {
        name: "retention.bytes",
        broker_name: Some("log.retention.bytes"),
        kind: ANY,
        default: "-1",
        meaning: "The oldest records of a partition are removed while it has more bytes. -1 is no bound.",
        apply: Some(|config, value| config.retention_bytes = value.bound()),
    },
    Setting {
        name: "retention.ms",
        broker_name: Some("log.retention.ms"),
        kind: FROM_MINUS_1,
        default: "604800000",
        meaning: "Records older than this are removed. -1 keeps them.",
        apply: Some(|config, value| config.retention_millis = value.bound()),
    },
    without_effect("segment.bytes", "log.segment.bytes", Kind::Int { min: 14, max: i32::MAX as i64 }, "1073741824"),
    without_effect(
        "segment.index.bytes",
        "log.index.size.max.bytes",
        Kind::Int { min: 4, max: i32::MAX as i64 },
        "10485760",
    ),
    without_effect("segment.jitter.ms", "log.roll.jitter.ms", NATURAL, "0"),
    without_effect("segment.ms", "log.roll.ms", POSITIVE, "604800000"),
    without_effect("unclean.leader.election.enable", "unclean.leader.election.enable", Kind::Boolean, "false"),
];

impl Setting {
    /// The setting called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<&'static Setting, BrokerError> {
        let found = SETTINGS.iter().find(|setting| setting.name == name);
        found.ok_or_else(|| BrokerError::InvalidConfig(format!("there is no topic setting {name}")))
    }

    /// Whether anything follows from it here.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.apply.is_some()
    }

    /// Whether `text` is a value of it.
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        self.value(text).is_some()
    }

    /// # Errors
    /// When `text` is not a value of this setting.
    fn read<'a>(&self, text: &'a str) -> Result<Value<'a>, BrokerError> {
        let invalid = || BrokerError::InvalidConfig(format!("{}={text}: expected {}", self.name, self.kind.expected()));
        self.value(text).ok_or_else(invalid)
    }

    fn value<'a>(&self, text: &'a str) -> Option<Value<'a>> {
        match self.kind {
            Kind::Boolean => {
                matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "false").then_some(Value::Other)
            }
            Kind::Int { min, max } | Kind::Long { min, max } => {
                let number = text.trim().parse::<i64>().ok().filter(|number| (min..=max).contains(number));
                number.map(Value::Number)
            }
            Kind::Ratio => {
                let ratio = text.trim().parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                ratio.map(Value::Ratio)
            }
            Kind::Word(words) => words.contains(&text).then_some(Value::Word(text)),
            Kind::Words(known) => {
                let words = list(text);
                let fine = !words.is_empty() && words.iter().all(|word| known.contains(word));
                fine.then_some(Value::Words(words))
            }
            Kind::List => Some(Value::Other),
        }
    }
}

/// The words of a list.
fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

/// How a setting is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To this value.
    Set(String),
    /// Back to the default.
    Unset,
    /// Words are added to the list it is.
    Append(String),
    /// Words are taken from the list it is.
    Subtract(String),
}

/// What somebody has set about a topic: values by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Settings as the catalog has them.
    #[must_use]
    pub fn stored(pairs: &[(String, String)]) -> Self {
        Settings(pairs.iter().cloned().collect())
    }

    /// As the catalog stores them.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.clone().into_iter().collect()
    }

    /// What was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of `name`, if somebody has set it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Changes one setting.
    ///
    /// # Errors
    /// When there is no such setting, the value is not one of it, or it is no list.
    pub fn change(&mut self, name: &str, change: &Change, defaults: &Settings) -> Result<(), BrokerError> {
        let setting = Setting::named(name)?;
        let current = || list(self.get(name).or(defaults.get(name)).unwrap_or(setting.default));
        let value = match change {
            Change::Set(value) => value.clone(),
            Change::Unset => {
                self.0.remove(name);
                return Ok(());
            }
            Change::Append(_) | Change::Subtract(_) if !setting.kind.is_list() => {
                let problem = format!("{name} is not a list: nothing can be added to it or taken from it");
                return Err(BrokerError::InvalidConfig(problem));
            }
            Change::Append(words) => {
                let mut all = current();
                all.extend(list(words));
                let mut seen = std::collections::BTreeSet::new();
                all.retain(|word| seen.insert(*word));
                all.join(",")
            }
            Change::Subtract(words) => {
                let gone = list(words);
                current().into_iter().filter(|word| !gone.contains(word)).collect::<Vec<_>>().join(",")
            }
        };
        setting.read(&value)?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Whether partitions with so many replicas keep what is set.
    ///
    /// # Errors
    /// When acks=all would be answered with fewer replicas than somebody wants.
    pub(crate) fn check_replicas(&self, replicas: u32) -> Result<(), BrokerError> {
        let wanted: u32 = self.get(IN_SYNC).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let most = majority(replicas);
        if wanted > most {
            let problem = format!(
                "{IN_SYNC}={wanted}: there are {replicas} replicas, and acks=all is answered when {most} have a record"
            );
            return Err(BrokerError::InvalidConfig(problem));
        }
        Ok(())
    }

    /// What follows for a topic's streams, with `defaults` for what is not set.
    ///
    /// # Errors
    /// When values do not go together.
    pub fn config(&self, defaults: &Settings) -> Result<StreamConfig, BrokerError> {
        let mut config = StreamConfig::default();
        // Backwards, because flush.messages has the last word about durability.
        for setting in SETTINGS.iter().rev() {
            let Some(apply) = setting.apply else { continue };
            let text = self.get(setting.name).or(defaults.get(setting.name)).unwrap_or(setting.default);
            apply(&mut config, &setting.read(text)?);
        }
        if config.cleanup == Cleanup::Compact {
            // Nothing goes for its age or for its bytes.
            (config.retention_millis, config.retention_bytes) = (None, None);
        }
        if config.compaction_lag_max_millis.is_some_and(|max| max < config.compaction_lag_min_millis) {
            let problem = "min.compaction.lag.ms is more than max.compaction.lag.ms".to_owned();
            return Err(BrokerError::InvalidConfig(problem));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<Settings, BrokerError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.change(name, &Change::Set((*value).to_owned()), &Settings::default())?;
        }
        Ok(settings)
    }

    fn config(pairs: &[(&str, &str)]) -> StreamConfig {
        set(pairs).unwrap().config(&Settings::default()).unwrap()
    }

    #[test]
    fn every_default_is_a_value_and_names_are_in_order() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        for setting in SETTINGS {
            assert!(setting.read(setting.default).is_ok(), "{}", setting.name);
        }
        assert!(SETTINGS.len() <= limit::TOPIC_SETTINGS_MAX);
    }

    #[test]
    fn a_week_is_kept_unless_somebody_says_otherwise() {
        assert_eq!(config(&[]).retention_millis, Some(604_800_000));
        assert_eq!(config(&[("retention.ms", "-1")]).retention_millis, None);
        assert_eq!(config(&[("cleanup.policy", "compact")]).retention_millis, None);
        let both = config(&[("cleanup.policy", "compact,delete")]);
        assert_eq!((both.cleanup, both.retention_millis), (Cleanup::CompactAndDelete, Some(604_800_000)));
        let defaults = set(&[("retention.ms", "5")]).unwrap();
        assert_eq!(Settings::default().config(&defaults).unwrap().retention_millis, Some(5));
    }

    #[test]
    fn fsync_for_every_message_is_fsync() {
        let memory = ("mainstem.durability", "quorum-memory");
        assert_eq!(config(&[memory]).durability, Durability::QuorumMemory);
        assert_eq!(config(&[memory, ("flush.messages", "1")]).durability, Durability::QuorumFsync);
        assert_eq!(config(&[memory, ("flush.messages", "2")]).durability, Durability::QuorumMemory);
    }

    #[test]
    fn what_is_no_value_is_refused_with_what_would_be() {
        let refused = |name: &str, value: &str| set(&[(name, value)]).unwrap_err().to_string();
        assert!(refused("retention.mss", "1").contains("no topic setting retention.mss"));
        assert!(refused("retention.ms", "soon").contains("a whole number from -1"));
        assert!(refused("retention.ms", "-2").contains("a whole number from -1"));
        assert!(refused("cleanup.policy", "").contains("some of compact, delete"));
        assert!(refused("compression.type", "brotli").contains("one of"));
        assert!(refused("min.cleanable.dirty.ratio", "1.1").contains("from 0 to 1"));
        assert!(refused("preallocate", "yes").contains("true or false"));
        let lags = set(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]).unwrap();
        assert!(lags.config(&Settings::default()).is_err());
    }

    #[test]
    fn no_more_replicas_are_promised_than_acks_all_waits_for() {
        let fits = |value, replicas| set(&[(IN_SYNC, value)]).unwrap().check_replicas(replicas).is_ok();
        assert!(fits("1", 1) && fits("2", 3) && fits("3", 5));
        assert!(!fits("2", 1) && !fits("3", 3) && !fits(" 4 ", 5));
        assert!(Settings::default().check_replicas(1).is_ok());
    }

    #[test]
    fn lists_grow_and_shrink() {
        let (mut settings, defaults) = (Settings::default(), Settings::default());
        let mut change = |change| settings.change("cleanup.policy", &change, &defaults).map(|()| settings.pairs());
        let pairs = |value: &str| Ok(vec![("cleanup.policy".to_owned(), value.to_owned())]);
        assert_eq!(change(Change::Append("compact".into())), pairs("delete,compact"));
        assert_eq!(change(Change::Append("compact".into())), pairs("delete,compact"));
        assert_eq!(change(Change::Subtract("delete".into())), pairs("compact"));
        assert!(change(Change::Subtract("compact".into())).is_err(), "nothing would be left");
        assert_eq!(change(Change::Unset), Ok(Vec::new()));
        assert!(settings.change("retention.ms", &Change::Append("1".into()), &defaults).is_err());
    }
}
