//! Everything that can be configured, as data. From this table come the keys of the file, the
//! environment variables, the flags, what `mainstem config` lists, and docs/configuration.md.

use crate::value::{Kind, Value};
use model::limit;
use std::borrow::Cow;
use std::sync::LazyLock;

/// What the names of our environment variables begin with.
pub(crate) const ENVIRONMENT: &str = "MAINSTEM_";
/// Names the file.
pub(crate) const ENVIRONMENT_FILE: &str = "MAINSTEM_CONFIG";
/// Names the broker that the commands talk to. It is no setting of the broker, which knows it only so that
/// one environment can serve both.
pub(crate) const ENVIRONMENT_SERVER: &str = "MAINSTEM_SERVER";
/// Wins over [`ENVIRONMENT`]'s `log.level`: what every Rust program understands.
pub(crate) const RUST_LOG: &str = "RUST_LOG";
/// Shards of a node. Each has a journal and a thread, and more of them than processors make batches small.
pub(crate) const SHARDS_MAX: u64 = 64;
/// Kafka's clients keep a node's number in 32 bits with a sign.
const NODE_ID_MAX: u64 = i32::MAX as u64;
/// The table of the file that says what topics are set to of which nobody says otherwise.
pub(crate) const TOPIC_DEFAULTS: &str = "topics.defaults";

/// A table of the file whose settings share a flag, which is told the name within it: `--listen kafka=off`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) table: &'static str,
    /// Without the dashes.
    pub(crate) flag: &'static str,
    /// What its names are names of.
    pub(crate) member: &'static str,
}

static SHARED: [Shared; 3] = [
    Shared { table: "listen", flag: "listen", member: "protocol" },
    Shared { table: "advertise", flag: "advertise", member: "protocol" },
    Shared { table: TOPIC_DEFAULTS, flag: "topics-defaults", member: "setting" },
];

/// Something that can be configured.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its path in the file: the names of tables and a name, with dots between.
    pub(crate) key: Cow<'static, str>,
    /// Which values it takes.
    pub(crate) kind: Kind,
    /// The value it has unless given, as it would be written.
    pub(crate) default: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    /// Whether its value is shown to nobody. It has no flag then: everybody on the machine could read it.
    pub(crate) secret: bool,
}

/// All of them, in the order in which they are shown.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    // Settings of topics that have no effect here have no default, either: who sets one wants something.
    let of_topics = broker::setting::SETTINGS.iter().filter(|topic| topic.has_effect());
    OF_THE_NODE.into_iter().chain(of_topics.map(topic_default)).collect()
});

fn topic_default(topic: &'static broker::setting::Setting) -> Setting {
    Setting {
        key: format!("{TOPIC_DEFAULTS}.{}", topic.name).into(),
        kind: Kind::OfTopic(topic),
        default: topic.default,
        about: topic.meaning.trim_end_matches('.'),
        secret: false,
    }
}

const OF_THE_NODE: [Setting; 28] = [
    Setting {
        key: Cow::Borrowed("data-dir"),
        kind: Kind::Folder,
        default: "data",
        about: "Where everything is kept",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("listen.kafka"),
        kind: Kind::Listener,
        default: "127.0.0.1:9092",
        about: "Where Kafka's clients connect. Port 0 picks a free one",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("listen.http"),
        kind: Kind::Listener,
        default: "127.0.0.1:8080",
        about: "Where health, metrics and the admin API are asked for. Port 0 picks a free one",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("listen.peer"),
        kind: Kind::Listener,
        default: "127.0.0.1:9190",
        about: "Where other nodes of a cluster connect; off keeps the node alone. Port 0 picks a free one",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("advertise.kafka"),
        kind: Kind::Endpoint { otherwise: Value::Auto },
        default: "auto",
        about: "What Kafka's clients are told to connect to; auto is the address by which each came, and in a cluster \
                the one that is listened on",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("advertise.peer"),
        kind: Kind::Endpoint { otherwise: Value::Auto },
        default: "auto",
        about: "What other nodes are told to connect to; auto is the address that is listened on",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("node-id"),
        kind: Kind::Count { least: 1, most: NODE_ID_MAX, auto: true },
        default: "auto",
        about: "The number of a new node, which it keeps; auto is 1 for the first node of a cluster, and for others a \
                number that no node has had",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("join"),
        kind: Kind::Endpoint { otherwise: Value::Off },
        default: "off",
        about: "Where any node of the cluster listens for others, for a new node to become part of it; off founds a \
                cluster. A node that has joined stays in its cluster, and does not start where a node of another \
                one answers",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("rack"),
        kind: Kind::Rack,
        default: "off",
        about: "What the node shares with those that are likely to fail together with it, such as a rack or a zone; \
                off is nothing",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.secret-file"),
        kind: Kind::File,
        default: "off",
        about: "The file whose content nodes of a cluster prove to each other that they know; off lets in whoever comes",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.certificate-file"),
        kind: Kind::File,
        default: "off",
        about: "The node's certificate for other nodes, for the name mainstem-node, in PEM, with what it was signed by; \
                connections between nodes are encrypted then. Given with the two that follow",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.key-file"),
        kind: Kind::File,
        default: "off",
        about: "The key of that certificate, in PEM",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.authority-file"),
        kind: Kind::File,
        default: "off",
        about: "The certificates that have to have signed those of other nodes, in PEM",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.catch-up-bytes-per-second"),
        kind: Kind::Size { least: limit::CATCH_UP_BYTES_PER_SECOND_MIN, most: 1 << 40, auto: false },
        default: "64MiB",
        about: "How much a second this node copies from others of shards that it is too far behind in for their log, all \
                of them together. What clients and replication send does not count and is not held up",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cluster.shed"),
        kind: Kind::Switch,
        default: "true",
        about: "Whether partitions leave a shard that takes much more than others, and shards a node that leads or keeps \
                much more, by themselves; as the node has it that leads the catalog, so the same on all",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("replication"),
        kind: Kind::Count { least: 1, most: limit::REPLICAS_MAX as u64, auto: false },
        default: "3",
        about: "On how many nodes each shard is kept, as soon as there are as many",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("shards"),
        kind: Kind::Count { least: 1, most: SHARDS_MAX, auto: true },
        default: "auto",
        about: "How many shards a new cluster gets; auto is as many as there are processors",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("topics.auto-create"),
        kind: Kind::Switch,
        default: "true",
        about: "Whether a topic is made because a client asks for it",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("topics.partitions"),
        kind: Kind::Count { least: 1, most: limit::TOPIC_PARTITIONS_MAX as u64, auto: false },
        default: "1",
        about: "How many partitions a topic gets whose creator does not say",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("cache.bytes"),
        kind: Kind::Size { least: limit::MIB as u64, most: 1 << 40, auto: false },
        default: "32MiB",
        about: "How much memory holds recent records, for readers that keep up",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("compaction.seconds"),
        kind: Kind::Count { least: 1, most: 86_400, auto: false },
        default: "15",
        about: "How often compacted topics are looked through for what was overwritten",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("groups.offsets-retention-seconds"),
        kind: Kind::Count { least: 1, most: 100 * 365 * 86_400, auto: false },
        default: "604800",
        about: "How long committed offsets are kept that nobody needs; they are looked for every ten minutes, or twice \
                in this time",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("limits.connections"),
        kind: Kind::Count { least: 1, most: limit::CONNECTIONS_MAX, auto: true },
        default: "auto",
        about: "How many clients may be connected; auto, and the most, leaves half of the open files allowed, 8192 \
                at most, to the journals",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("limits.memory"),
        kind: Kind::Size { least: limit::MEMORY_BYTES_MIN, most: 1 << 40, auto: true },
        default: "auto",
        about: "How much memory requests and answers may take, of all clients together; auto is a quarter of the \
                machine's, 1GiB at most",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("limits.stall-seconds"),
        kind: Kind::Count { least: 1, most: 86_400, auto: false },
        default: "60",
        about: "How long a client may stand still in the middle of a request or of its answers",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("limits.idle-seconds"),
        kind: Kind::Count { least: 1, most: 30 * 86_400, auto: false },
        default: "600",
        about: "How long one of Kafka's clients may be connected that neither sends a request nor waits for an answer",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("log.format"),
        kind: Kind::Choice(&["text", "json"]),
        default: "text",
        about: "How the log looks: lines for people, or one JSON object a line",
        secret: false,
    },
    Setting {
        key: Cow::Borrowed("log.level"),
        kind: Kind::Filter,
        default: "info,openraft=error",
        about: "What is logged. RUST_LOG wins over the file and over MAINSTEM_LOG_LEVEL",
        secret: false,
    },
];

/// The flag that gives a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `--log-format VALUE`: the name is `log-format`.
    Own(String),
    /// `--listen kafka=VALUE`: the member is `kafka`.
    Shared { shared: &'static Shared, member: String },
}

impl Flag {
    /// Without the dashes.
    pub(crate) fn name(&self) -> &str {
        match self {
            Flag::Own(name) => name,
            Flag::Shared { shared, .. } => shared.flag,
        }
    }
}

impl Shared {
    /// The settings of the table, with their names in it.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'static str, &'static Setting)> {
        SETTINGS.iter().filter_map(|setting| Some((self.member(&setting.key)?, setting)))
    }

    /// The name in this table of what has `key`.
    fn member<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(self.table)?.strip_prefix('.')
    }

    /// The sentence that says that nothing in it has this name.
    pub(crate) fn refuse(&self, unknown: &str) -> String {
        let Shared { member, .. } = self;
        let mut names: Vec<_> = self.members().map(|(name, _)| name).collect();
        names.sort_by_key(|name| strsim::osa_distance(&unknown.to_lowercase(), name));
        match &names[..] {
            // More would not be read.
            [nearest, _, _, _, ..] => format!("no {member} is called '{unknown}', the nearest known one is {nearest}"),
            few => format!("no {member} is called '{unknown}', there are: {}", few.join(", ")),
        }
    }
}

impl Setting {
    /// The setting with this key.
    pub(crate) fn with_key(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The environment variable that gives it: `log.format` is `MAINSTEM_LOG_FORMAT`.
    pub(crate) fn variable(&self) -> String {
        format!("{ENVIRONMENT}{}", self.key.replace(['.', '-'], "_").to_uppercase())
    }

    /// The flag that gives it, unless it is a secret.
    pub(crate) fn flag(&self) -> Option<Flag> {
        if self.secret {
            return None;
        }
        let shared = SHARED.iter().find_map(|shared| Some((shared, shared.member(&self.key)?.to_owned())));
        Some(match shared {
            Some((shared, member)) => Flag::Shared { shared, member },
            None => Flag::Own(self.key.replace('.', "-")),
        })
    }

    /// The table of the file that it is in, and its name in it, which may have dots, too.
    fn place(&self) -> Option<(&str, &str)> {
        let shared = SHARED.iter().find_map(|shared| Some((shared.table, shared.member(&self.key)?)));
        shared.or_else(|| self.key.rsplit_once('.'))
    }

    /// What Kafka's brokers call it.
    fn name_in_kafka(&self) -> Option<&'static str> {
        if let Kind::OfTopic(topic) = self.kind { topic.broker_name } else { None }
    }

    /// Reads a value for it.
    ///
    /// # Errors
    /// What is wrong with `text` and what is expected.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        let parsed = self.kind.parse(text);
        parsed.map_err(|wrong| self.refuse(&wrong))
    }

    /// The sentence that says what is wrong with a value and what is expected.
    pub(crate) fn refuse(&self, wrong: &str) -> String {
        // What is wrong has the value in it.
        let wrong = if self.secret { "the value, not shown here, is wrong" } else { wrong };
        format!("{wrong}, expected {}", self.kind.expected())
    }
}

/// Whether the file may have a table of this name: `listen`, `topics.defaults` and so on. Also what is
/// written `retention.ms` is a table.
pub(crate) fn is_table(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The key or table of the file that is most like `unknown`, and by how much it differs. Somebody may have
/// left out the table, or have taken another, which is as bad as one or two wrong letters; or may have
/// written what Kafka's brokers call it.
pub(crate) fn nearest_key(unknown: &str) -> (&'static str, usize) {
    let unknown = unknown.to_lowercase();
    let tables = || SETTINGS.iter().filter_map(|setting| setting.place().map(|(table, _)| table));
    let without_table = tables().filter_map(|table| unknown.strip_prefix(table)?.strip_prefix('.'));
    let without_table = without_table.min_by_key(|rest| rest.len()).unwrap_or(&unknown);
    let distance = |setting: &Setting| {
        let (_, name) = setting.place().unwrap_or(("", &setting.key));
        let in_kafka = setting.name_in_kafka().map_or(usize::MAX, |name| strsim::osa_distance(&unknown, name));
        let ways = [
            strsim::osa_distance(&unknown, &setting.key),
            strsim::osa_distance(&unknown, name) + 1,
            strsim::osa_distance(without_table, name) + 2,
            in_kafka,
        ];
        ways.into_iter().min().unwrap_or(usize::MAX)
    };
    let settings = SETTINGS.iter().map(|setting| (setting.key.as_ref(), distance(setting)));
    let tables = tables().map(|table| (table, strsim::osa_distance(&unknown, table)));
    settings.chain(tables).min_by_key(|(_, distance)| *distance).unwrap_or_default()
}

/// The environment variable that is most like `unknown`, and how many letters differ.
pub(crate) fn nearest_variable(unknown: &str) -> (String, usize) {
    let others = [ENVIRONMENT_FILE, ENVIRONMENT_SERVER].map(str::to_owned);
    let known = SETTINGS.iter().map(Setting::variable).chain(others);
    let distances = known.map(|known| {
        let distance = strsim::osa_distance(unknown, &known);
        (known, distance)
    });
    distances.min_by_key(|(_, distance)| *distance).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_a_value() {
        for setting in SETTINGS.iter() {
            let value = setting.parse(setting.default);
            assert_eq!(value.map(|value| value.to_string()).as_deref(), Ok(setting.default), "{}", setting.key);
        }
    }

    #[test]
    fn keys_variables_and_flags_are_all_different() {
        let keys: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key.as_ref()).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        let flags: BTreeSet<_> = SETTINGS.iter().map(|setting| format!("{:?}", setting.flag())).collect();
        for names in [keys.len(), variables.len(), flags.len()] {
            assert_eq!(names, SETTINGS.len());
        }
        assert!(!variables.contains(ENVIRONMENT_FILE), "that one names the file");
        assert!(!variables.contains(ENVIRONMENT_SERVER), "that one names a broker for commands");
        for key in keys {
            assert!(!is_table(key), "{key} cannot be a setting and a table of settings");
        }
    }

    #[test]
    fn names_follow_from_keys() {
        let setting = |key| Setting::with_key(key).unwrap();
        assert_eq!(setting("topics.auto-create").variable(), "MAINSTEM_TOPICS_AUTO_CREATE");
        assert_eq!(setting("topics.auto-create").flag(), Some(Flag::Own("topics-auto-create".into())));
        assert_eq!(setting("listen.kafka").variable(), "MAINSTEM_LISTEN_KAFKA");
        assert_eq!(setting("listen.kafka").flag(), Some(Flag::Shared { shared: &SHARED[0], member: "kafka".into() }));
        let retention = setting("topics.defaults.retention.ms");
        assert_eq!(retention.variable(), "MAINSTEM_TOPICS_DEFAULTS_RETENTION_MS");
        assert_eq!(retention.flag(), Some(Flag::Shared { shared: &SHARED[2], member: "retention.ms".into() }));
        assert_eq!(setting("data-dir").flag(), Some(Flag::Own("data-dir".into())));
        assert_eq!(setting("node-id").flag(), Some(Flag::Own("node-id".into())));
        assert_eq!(setting("node-id").variable(), "MAINSTEM_NODE_ID");
    }

    #[test]
    fn the_nearest_key_is_what_was_meant() {
        for (unknown, meant) in [
            ("data_dir", "data-dir"),
            ("shard", "shards"),
            ("lisetn", "listen"),
            ("listen.kafak", "listen.kafka"),
            ("Listen.HTTP", "listen.http"),
            ("kafka", "listen.kafka"),
            ("peer", "listen.peer"),
            ("node_id", "node-id"),
            ("racks", "rack"),
            ("topics.autocreate", "topics.auto-create"),
            ("auto-create", "topics.auto-create"),
            ("partition", "topics.partitions"),
            ("logs", "log"),
            ("log.levle", "log.level"),
            ("limits.connection", "limits.connections"),
            ("retention.ms", "topics.defaults.retention.ms"),
            ("topics.retention-ms", "topics.defaults.retention.ms"),
            ("topics.default.retention.ms", "topics.defaults.retention.ms"),
            ("topics.defaults.retention", "topics.defaults.retention.ms"),
            ("topics.defaults.cleanup-policy", "topics.defaults.cleanup.policy"),
            ("topics.default", "topics.defaults"),
            // What Kafka's brokers call them.
            ("log.retention.ms", "topics.defaults.retention.ms"),
            ("message.max.bytes", "topics.defaults.max.message.bytes"),
            ("log.flush.interval.messages", "topics.defaults.flush.messages"),
        ] {
            assert_eq!(nearest_key(unknown).0, meant, "{unknown}");
        }
    }

    #[test]
    fn the_nearest_variable_and_how_near_it_is() {
        assert_eq!(nearest_variable("MAINSTEM_LISTEN_KAFAK"), ("MAINSTEM_LISTEN_KAFKA".into(), 1));
        assert_eq!(nearest_variable("MAINSTEM_CONFG"), ("MAINSTEM_CONFIG".into(), 1));
        assert!(nearest_variable("MAINSTEM_SERVICE_PORT").1 > 2);
    }

    #[test]
    fn a_secret_is_neither_quoted_nor_a_flag() {
        let setting = Setting {
            key: Cow::Borrowed("password"),
            kind: Kind::Count { least: 1, most: 2, auto: false },
            default: "1",
            about: "",
            secret: true,
        };
        let said = setting.parse("hunter2").unwrap_err();
        assert_eq!(said, "the value, not shown here, is wrong, expected a number from 1 to 2");
        assert_eq!(setting.flag(), None);
    }
}
