//! What is in force, and where each value came from.
//!
//! A value is taken from the last of these that gives it: the default, the file, the environment, the
//! flags. Everything that is wrong is collected, so that somebody who repairs it sees all of it.

use crate::arguments::Flags;
use crate::cluster_advice::{self, Advice, PEER};
use crate::configuration_file::{self, Contents};
use crate::setting::{
    ENVIRONMENT, ENVIRONMENT_FILE, ENVIRONMENT_SERVER, RUST_LOG, SETTINGS, Setting, TOPIC_DEFAULTS, nearest_variable,
};
use crate::value::{self, Endpoint, Kind, Value};
use serde_json::json;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An unknown environment variable that differs by so few letters from a known one is a mistake. Others
/// may not be ours: where a service is called mainstem, Kubernetes sets MAINSTEM_PORT and more like it.
const MISTYPED_LETTERS: usize = 2;
/// Stands for the value of a secret.
const HIDDEN: &str = "(hidden)";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { name: String, line: usize },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { name, line } => write!(f, "file {name}:{line}"),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A setting as it is in force.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) setting: &'static Setting,
    pub(crate) value: Value,
    pub(crate) source: Source,
}

impl Entry {
    /// The setting and who has set it, for a sentence about it.
    pub(crate) fn with_source(&self) -> String {
        format!("{} by {}", self.setting.key, self.source)
    }
}

/// A value for every setting, in the order of [`SETTINGS`].
#[derive(Debug)]
pub(crate) struct Configuration {
    entries: Vec<Entry>,
}

/// A configuration, and what there is to say about how it came to be.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) configuration: Configuration,
    /// With any of these nothing starts. What is wrong has its earlier value in the configuration.
    pub(crate) problems: Vec<String>,
    /// What somebody should look at.
    pub(crate) warnings: Vec<String>,
}

/// The settings for the program, each of its own type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    /// None: off.
    pub(crate) listen_kafka: Option<SocketAddr>,
    /// None: off.
    pub(crate) listen_http: Option<SocketAddr>,
    /// None: off, the node stays alone.
    pub(crate) listen_peer: Option<SocketAddr>,
    /// None: the address by which a client came.
    pub(crate) advertise_kafka: Option<Endpoint>,
    /// None: the address that is listened on.
    pub(crate) advertise_peer: Option<Endpoint>,
    /// None: whichever is free.
    pub(crate) node_id: Option<u64>,
    /// None: a new data folder founds a cluster.
    pub(crate) join: Option<Endpoint>,
    pub(crate) rack: Option<String>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) authority_file: Option<PathBuf>,
    pub(crate) catch_up_bytes_per_second: u64,
    pub(crate) sheds: bool,
    pub(crate) replication: u64,
    /// None: as many as there are processors.
    pub(crate) shards: Option<u64>,
    pub(crate) auto_create_topics: bool,
    pub(crate) partitions: u64,
    /// What somebody has given of the table `topics.defaults`.
    pub(crate) topic_defaults: broker::Settings,
    pub(crate) cache_bytes: u64,
    pub(crate) compaction_seconds: u64,
    pub(crate) offsets_retention_seconds: u64,
    /// None: as many as descriptors allow.
    pub(crate) connections: Option<u64>,
    /// None: according to the machine's.
    pub(crate) memory: Option<u64>,
    pub(crate) stall_seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) log_as_json: bool,
    pub(crate) log_filter: String,
}

impl Default for Configuration {
    fn default() -> Self {
        let entry = |setting: &'static Setting| {
            let value = setting.parse(setting.default).expect("a test reads every default");
            Entry { setting, value, source: Source::Default }
        };
        Configuration { entries: SETTINGS.iter().map(entry).collect() }
    }
}

impl Reading {
    /// Reads the file that `flags` or else the `environment` names, if any, and puts everything together.
    pub(crate) fn of(flags: &Flags, mut environment: Vec<(OsString, OsString)>) -> Self {
        // An empty variable is not set: that is how some ways to start a container leave one out.
        environment.retain(|(_, value)| !value.is_empty());
        let mut reading = Reading::default();
        let named = environment.iter().find(|(name, _)| name == ENVIRONMENT_FILE).map(|(_, path)| path.into());
        let named = named.map(|path| (path, ENVIRONMENT_FILE));
        if let Some((path, by)) = flags.config.clone().map(|path| (path, "--config")).or(named) {
            match configuration_file::load(&path) {
                Ok(text) => reading.add_file(&path.display().to_string(), &text),
                Err(problem) => reading.problems.push(format!("{problem}. {by} names this file")),
            }
        }
        reading.add_environment(environment);
        reading.add_flags(flags);
        reading.check();
        reading
    }

    fn add_file(&mut self, name: &str, text: &str) {
        let contents = Contents::read(name, text);
        for (setting, value, line) in contents.given {
            self.configuration.put(setting, value, Source::File { name: name.to_owned(), line });
        }
        self.problems.extend(contents.problems);
    }

    fn add_environment(&mut self, mut variables: Vec<(OsString, OsString)>) {
        variables.sort();
        let ours = variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str())));
        let is_setting =
            |name: &str| name.starts_with(ENVIRONMENT) && ![ENVIRONMENT_FILE, ENVIRONMENT_SERVER].contains(&name);
        for (name, text) in ours.filter(|(name, _)| is_setting(name)) {
            match SETTINGS.iter().find(|setting| setting.variable() == name) {
                Some(setting) => self.add_variable(name, text, setting, |text| setting.parse(text)),
                None => self.add_unknown_variable(name),
            }
        }
        let rust_log = variables.iter().find(|(name, _)| name == RUST_LOG);
        if let (Some((_, text)), Some(setting)) = (rust_log, Setting::with_key("log.level")) {
            let parse = |text: &str| value::filter(text).map_err(|why| setting.refuse(&format!("{text:?} {why}")));
            self.add_variable(RUST_LOG, text.to_str(), setting, parse);
        }
    }

    fn add_variable(
        &mut self,
        name: &str,
        text: Option<&str>,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<Value, String>,
    ) {
        match text.map_or_else(|| Err(setting.refuse("the value is not UTF-8")), parse) {
            Ok(value) => self.configuration.put(setting, value, Source::Environment(name.to_owned())),
            Err(wrong) => self.problems.push(format!("{name}: {wrong}")),
        }
    }

    fn add_unknown_variable(&mut self, name: &str) {
        let (nearest, letters) = nearest_variable(name);
        if letters <= MISTYPED_LETTERS {
            self.problems.push(format!("unknown environment variable {name}, the nearest known one is {nearest}"));
        } else {
            self.warnings.push(format!("{name} in the environment names no setting, so it has no effect"));
        }
    }

    fn add_flags(&mut self, flags: &Flags) {
        for given in &flags.given {
            self.configuration.put(given.setting, given.value.clone(), Source::Flag(given.flag.clone()));
        }
    }

    /// What no setting can see alone.
    fn check(&mut self) {
        // The one for other nodes is of use to nobody else.
        let of_clients = |entry: &&Entry| entry.setting.key.starts_with("listen.") && entry.setting.key != PEER;
        let listeners = || self.configuration.entries.iter().filter(of_clients);
        if listeners().all(|entry| entry.value == Value::Off) {
            let each: Vec<_> = listeners().map(Entry::with_source).collect();
            self.problems.push(format!("every listener is off ({}), at least one has to be on", each.join(", ")));
        }
        if let Err(problem) = self.configuration.topic_defaults().config(&broker::Settings::default()) {
            self.problems.push(format!("{TOPIC_DEFAULTS}: {problem}"));
        }
        let Advice { problems, warnings } = cluster_advice::of(&self.configuration);
        self.problems.extend(problems);
        self.warnings.extend(warnings);
    }
}

impl Configuration {
    fn put(&mut self, setting: &Setting, value: Value, source: Source) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.setting.key == setting.key) {
            (entry.value, entry.source) = (value, source);
        }
    }

    /// The settings for the program.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            data_dir: self.get("data-dir", |value| match value {
                Value::Folder(path) => Some(path.clone()),
                _ => None,
            }),
            listen_kafka: self.get("listen.kafka", address),
            listen_http: self.get("listen.http", address),
            listen_peer: self.get("listen.peer", address),
            advertise_kafka: self.get("advertise.kafka", endpoint),
            advertise_peer: self.get("advertise.peer", endpoint),
            node_id: self.get("node-id", count_or_auto),
            join: self.get("join", endpoint),
            rack: self.get("rack", |value| match value {
                Value::Off => Some(None),
                Value::Rack(rack) => Some(Some(rack.clone())),
                _ => None,
            }),
            secret_file: self.get("cluster.secret-file", file),
            certificate_file: self.get("cluster.certificate-file", file),
            key_file: self.get("cluster.key-file", file),
            authority_file: self.get("cluster.authority-file", file),
            catch_up_bytes_per_second: self.get("cluster.catch-up-bytes-per-second", size),
            sheds: self.get("cluster.shed", switch),
            replication: self.get("replication", |value| count_or_auto(value).flatten()),
            shards: self.get("shards", count_or_auto),
            auto_create_topics: self.get("topics.auto-create", switch),
            partitions: self.get("topics.partitions", |value| count_or_auto(value).flatten()),
            topic_defaults: self.topic_defaults(),
            compaction_seconds: self.get("compaction.seconds", |value| count_or_auto(value).flatten()),
            offsets_retention_seconds: self
                .get("groups.offsets-retention-seconds", |value| count_or_auto(value).flatten()),
            cache_bytes: self.get("cache.bytes", size),
            connections: self.get("limits.connections", count_or_auto),
            memory: self.get("limits.memory", |value| match value {
                Value::Auto => Some(None),
                Value::Size(bytes) => Some(Some(*bytes)),
                _ => None,
            }),
            stall_seconds: self.get("limits.stall-seconds", |value| count_or_auto(value).flatten()),
            idle_seconds: self.get("limits.idle-seconds", |value| count_or_auto(value).flatten()),
            log_as_json: self.get("log.format", |value| match value {
                Value::Choice(word) => Some(*word == "json"),
                _ => None,
            }),
            log_filter: self.get("log.level", |value| match value {
                Value::Filter(text) => Some(text.clone()),
                _ => None,
            }),
        }
    }

    /// What somebody has given, by the names of topics' settings: where nobody has, the broker's own count.
    fn topic_defaults(&self) -> broker::Settings {
        let given = self.entries.iter().filter(|entry| entry.source != Source::Default);
        let pairs = given.filter_map(|entry| match (&entry.setting.kind, &entry.value) {
            (Kind::OfTopic(topic), Value::OfTopic(text)) => Some((topic.name.to_owned(), text.clone())),
            _ => None,
        });
        broker::Settings::stored(&pairs.collect::<Vec<_>>())
    }

    /// The setting of this key, as it is in force.
    pub(crate) fn entry(&self, key: &str) -> &Entry {
        let entry = self.entries.iter().find(|entry| entry.setting.key == key);
        entry.unwrap_or_else(|| unreachable!("{key} is no setting"))
    }

    /// The value of a setting, as `read` takes it. Which of our own keys there are and what kind each is
    /// does not depend on what anybody configures, so a test that reads them all has seen it fail.
    fn get<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> T {
        read(&self.entry(key).value).unwrap_or_else(|| unreachable!("{key} is of another kind"))
    }

    /// For people: a setting a line.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![["key".to_owned(), "value".to_owned(), "source".to_owned()]];
        rows.extend(self.entries.iter().map(|entry| {
            let value = if entry.setting.secret { HIDDEN.to_owned() } else { entry.value.to_string() };
            [entry.setting.key.to_string(), on_one_line(value), on_one_line(entry.source.to_string())]
        }));
        let width = |nth: usize| rows.iter().map(|row| row[nth].chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(0), width(1));
        rows.iter().map(|[key, value, source]| format!("{key:keys$}  {value:values$}  {source}\n")).collect()
    }

    /// For scripts: an object with a member for each setting.
    pub(crate) fn json(&self) -> String {
        let members = self.entries.iter().map(|entry| {
            let value = if entry.setting.secret { json!(null) } else { entry.value.to_json() };
            (entry.setting.key.to_string(), json!({ "value": value, "source": entry.source.to_string() }))
        });
        format!("{:#}\n", serde_json::Value::Object(members.collect()))
    }
}

/// Paths may have line breaks in their names.
fn on_one_line(text: String) -> String {
    if text.contains(char::is_control) { format!("{text:?}") } else { text }
}

fn address(value: &Value) -> Option<Option<SocketAddr>> {
    match value {
        Value::Off => Some(None),
        Value::Address(address) => Some(Some(*address)),
        _ => None,
    }
}

fn endpoint(value: &Value) -> Option<Option<Endpoint>> {
    match value {
        Value::Auto | Value::Off => Some(None),
        Value::Endpoint(endpoint) => Some(Some(endpoint.clone())),
        _ => None,
    }
}

fn file(value: &Value) -> Option<Option<PathBuf>> {
    match value {
        Value::Off => Some(None),
        Value::File(path) => Some(Some(path.clone())),
        _ => None,
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Size(bytes) => Some(*bytes),
        _ => None,
    }
}

fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Switch(on) => Some(*on),
        _ => None,
    }
}

fn count_or_auto(value: &Value) -> Option<Option<u64>> {
    match value {
        Value::Auto => Some(None),
        Value::Count(count) => Some(Some(*count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command, NodeCommand};
    use broker::setting::Kind as TopicKind;
    use clap::Parser;
    use model::limit;
    use std::borrow::Cow;

    const KAFKA: &str = "listen.kafka";

    fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn flags(arguments: &[&str]) -> Flags {
        let all = ["mainstem", "serve"].iter().chain(arguments);
        let command = Arguments::try_parse_from(all).unwrap().chosen();
        let Command::Node(NodeCommand::Serve(flags)) = command else { panic!("serve") };
        flags
    }

    /// Everything put together as in [`Reading::of`], with the text of the file given.
    fn read(file: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Reading {
        let mut reading = Reading::default();
        reading.add_file("a.toml", file);
        reading.add_environment(environment(variables));
        reading.add_flags(&flags(arguments));
        reading.check();
        reading
    }

    /// A setting's value and source, where nothing is wrong.
    fn of(reading: &Reading, key: &str) -> (String, String) {
        assert_eq!(reading.problems, Vec::<String>::new());
        let entry = reading.configuration.entries.iter().find(|entry| entry.setting.key == key).unwrap();
        (entry.value.to_string(), entry.source.to_string())
    }

    fn pair(value: &str, source: &str) -> (String, String) {
        (value.to_owned(), source.to_owned())
    }

    #[test]
    fn the_last_that_gives_a_value_wins() {
        let file = "\n[listen]\nkafka = '127.0.0.1:1'";
        let variables = [("MAINSTEM_LISTEN_KAFKA", "127.0.0.1:2")];
        let arguments = ["--listen", "kafka=127.0.0.1:3"];
        assert_eq!(of(&read("", &[], &[]), KAFKA), pair("127.0.0.1:9092", "default"));
        assert_eq!(of(&read(file, &[], &[]), KAFKA), pair("127.0.0.1:1", "file a.toml:3"));
        let environment = pair("127.0.0.1:2", "environment MAINSTEM_LISTEN_KAFKA");
        assert_eq!(of(&read(file, &variables, &[]), KAFKA), environment);
        assert_eq!(of(&read(file, &variables, &arguments), KAFKA), pair("127.0.0.1:3", "flag --listen"));
        assert_eq!(of(&read("", &[], &arguments), KAFKA), pair("127.0.0.1:3", "flag --listen"));
    }

    #[test]
    fn rust_log_wins_over_all_but_the_flag() {
        let (file, key) = ("log.level = 'error'", "log.level");
        let ours = ("MAINSTEM_LOG_LEVEL", "warn");
        let both = [ours, ("RUST_LOG", "kafka")];
        assert_eq!(of(&read(file, &[ours], &[]), key), pair("warn", "environment MAINSTEM_LOG_LEVEL"));
        assert_eq!(of(&read(file, &both, &[]), key), pair("kafka", "environment RUST_LOG"));
        assert_eq!(of(&read(file, &both, &["--log-level", "debug"]), key), pair("debug", "flag --log-level"));
    }

    #[test]
    fn every_setting_can_be_given_in_every_way() {
        for setting in SETTINGS.iter() {
            let (text, in_quotes) = match &setting.kind {
                Kind::Folder => ("x", true),
                Kind::Listener => ("off", true),
                Kind::Endpoint { .. } => ("a:1", true),
                Kind::Count { .. } => ("3", false),
                Kind::Size { .. } => ("300MiB", true),
                Kind::Switch => ("false", false),
                Kind::File => ("secret", true),
                Kind::Rack => ("r1", true),
                Kind::Choice(words) => (words[1], true),
                Kind::Filter => ("debug", true),
                Kind::OfTopic(topic) => match topic.kind {
                    TopicKind::Boolean => ("true", false),
                    TopicKind::Int { .. } | TopicKind::Long { .. } => ("12", false),
                    TopicKind::Ratio => ("0.25", false),
                    TopicKind::Word(words) | TopicKind::Words(words) => (words[0], true),
                    TopicKind::List => ("a,b", true),
                },
            };
            let in_file = if in_quotes { format!("'{text}'") } else { text.to_owned() };
            let reading = read(&format!("{} = {in_file}", setting.key), &[], &[]);
            assert_eq!(of(&reading, &setting.key), pair(text, "file a.toml:1"));
            let variable = setting.variable();
            let reading = read("", &[(&variable, text)], &[]);
            assert_eq!(of(&reading, &setting.key), (text.to_owned(), format!("environment {variable}")));
            let flag = setting.flag().unwrap();
            let (name, text_of_flag) = match &flag {
                crate::setting::Flag::Own(name) => (format!("--{name}"), text.to_owned()),
                crate::setting::Flag::Shared { shared, member } => {
                    (format!("--{}", shared.flag), format!("{member}={text}"))
                }
            };
            let reading = read("", &[], &[&name, &text_of_flag]);
            assert_eq!(of(&reading, &setting.key), (text.to_owned(), format!("flag {name}")));
        }
    }

    #[test]
    fn the_program_gets_every_setting_in_its_type() {
        let settings = Configuration::default().settings();
        assert_eq!(settings.data_dir, PathBuf::from("data"));
        assert_eq!(settings.listen_kafka, Some(([127, 0, 0, 1], 9092).into()));
        assert_eq!(settings.listen_http, Some(([127, 0, 0, 1], 8080).into()));
        assert_eq!(settings.listen_peer, Some(([127, 0, 0, 1], 9190).into()));
        assert_eq!((settings.advertise_kafka, settings.shards, settings.connections), (None, None, None));
        assert_eq!((settings.advertise_peer, settings.node_id, settings.join, settings.rack), (None, None, None, None));
        assert_eq!(settings.replication, 3);
        assert!(settings.auto_create_topics && settings.sheds && !settings.log_as_json);
        assert_eq!((settings.partitions, settings.cache_bytes), (1, 32 << 20));
        assert_eq!(settings.catch_up_bytes_per_second, limit::CATCH_UP_BYTES_PER_SECOND_DEFAULT);
        assert_eq!(settings.topic_defaults, broker::Settings::default(), "nobody has given any");
        assert_eq!(settings.log_filter, "info,openraft=error");

        let file = "data-dir = 'd'\nshards = 2\nlisten = { kafka = '[::1]:1', http = 'off', peer = '[::1]:4' }\n\
                    advertise = { kafka = '[::2]:3', peer = 'n7:5' }\nnode-id = 7\njoin = 'n1:9190'\nrack = 'r1'\n\
                    replication = 5\ncluster = { secret-file = 's', certificate-file = 'c', key-file = 'k', authority-file = 'a', catch-up-bytes-per-second = '1GiB', shed = false }\n\
                    topics = { auto-create = false, partitions = 4, defaults = { retention.ms = 604_800_000 } }\ncache.bytes = 5_000_000\n\
                    limits = { connections = 6, memory = '64MiB', stall-seconds = 7, idle-seconds = 8 }\nlog = { format = 'json', level = 'off' }";
        let reading = read(file, &[], &[]);
        assert_eq!(reading.problems, Vec::<String>::new());
        let expected = Settings {
            data_dir: "d".into(),
            listen_kafka: Some("[::1]:1".parse().unwrap()),
            listen_http: None,
            listen_peer: Some("[::1]:4".parse().unwrap()),
            advertise_kafka: Some(Endpoint { host: "::2".into(), port: 3 }),
            advertise_peer: Some(Endpoint { host: "n7".into(), port: 5 }),
            node_id: Some(7),
            join: Some(Endpoint { host: "n1".into(), port: 9190 }),
            rack: Some("r1".into()),
            secret_file: Some("s".into()),
            certificate_file: Some("c".into()),
            key_file: Some("k".into()),
            authority_file: Some("a".into()),
            catch_up_bytes_per_second: 1 << 30,
            sheds: false,
            replication: 5,
            shards: Some(2),
            auto_create_topics: false,
            partitions: 4,
            // Given, though it is what it would be anyway.
            topic_defaults: broker::Settings::stored(&[("retention.ms".into(), "604800000".into())]),
            cache_bytes: 5_000_000,
            compaction_seconds: 15,
            offsets_retention_seconds: 604_800,
            connections: Some(6),
            memory: Some(64 << 20),
            stall_seconds: 7,
            idle_seconds: 8,
            log_as_json: true,
            log_filter: "off".into(),
        };
        assert_eq!(reading.configuration.settings(), expected);
    }

    #[test]
    fn a_wrong_variable_is_named_and_all_of_them_are() {
        let variables =
            [("MAINSTEM_SHARDS", "none"), ("MAINSTEM_LISTEN_HTTP", "8080"), ("RUST_LOG", "a=b"), ("RUSTLOG", "a=b")];
        let problems = read("x = 1", &variables, &[]).problems;
        let starts = [
            "a.toml:1:1: unknown key `x`",
            "MAINSTEM_LISTEN_HTTP: \"8080\" has no address, expected ADDRESS:PORT",
            "MAINSTEM_SHARDS: \"none\" is no such number, expected a number from 1 to 64, or auto",
            "RUST_LOG: \"a=b\" cannot be read (",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn a_mistyped_variable_is_refused_and_a_strange_one_is_not() {
        let reading = read("", &[("MAINSTEM_LISTEN_KAFAK", "off"), ("MAINSTEM_PORT_9092_TCP", "tcp://10.0.0.1")], &[]);
        let mistyped =
            "unknown environment variable MAINSTEM_LISTEN_KAFAK, the nearest known one is MAINSTEM_LISTEN_KAFKA";
        assert_eq!(reading.problems, [mistyped]);
        assert_eq!(reading.warnings.len(), 1);
        assert!(reading.warnings[0].starts_with("MAINSTEM_PORT_9092_TCP in the environment names no setting"));
        assert!(!reading.warnings[0].contains("10.0.0.1"), "it may be a secret");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let variables =
            environment(&[("MAINSTEM_SHARDS", ""), ("MAINSTEM_CONFIG", ""), ("RUST_LOG", ""), ("MAINSTEM_SHARD", "")]);
        let reading = Reading::of(&Flags::default(), variables);
        assert_eq!(of(&reading, "shards"), pair("auto", "default"));
        assert_eq!(of(&reading, "log.level"), pair("info,openraft=error", "default"));
    }

    #[test]
    #[cfg(unix)]
    fn a_variable_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let mut reading = Reading::default();
        reading.add_environment(vec![("MAINSTEM_DATA_DIR".into(), OsString::from_vec(vec![0xff]))]);
        assert_eq!(reading.problems, ["MAINSTEM_DATA_DIR: the value is not UTF-8, expected the path of a folder"]);
    }

    #[test]
    fn one_listener_has_to_be_on() {
        let reading = read("listen.kafka = 'off'", &[("MAINSTEM_LISTEN_HTTP", "off")], &[]);
        let problem = "every listener is off (listen.kafka by file a.toml:1, listen.http by environment \
                       MAINSTEM_LISTEN_HTTP), at least one has to be on";
        assert_eq!(reading.problems, [problem]);
        assert!(read("listen.kafka = 'off'", &[], &[]).problems.is_empty());
        assert_eq!(read("listen = { kafka = 'off', http = 'off', peer = '127.0.0.1:1' }", &[], &[]).problems.len(), 1);
    }

    #[test]
    fn defaults_of_topics_have_to_go_together() {
        let file = "[topics.defaults]\nmin.compaction.lag.ms = 9\n";
        let reading = read(file, &[], &["--topics-defaults", "max.compaction.lag.ms=8"]);
        let problem =
            "topics.defaults: invalid configuration: min.compaction.lag.ms is more than max.compaction.lag.ms";
        assert_eq!(reading.problems, [problem]);
        assert!(read(file, &[], &["--topics-defaults", "max.compaction.lag.ms=9"]).problems.is_empty());
    }

    #[test]
    fn the_file_is_named_by_the_flag_or_by_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        std::fs::write(&one, "shards = 1").unwrap();
        std::fs::write(&two, "\nshards = 2").unwrap();
        let variables = || vec![("MAINSTEM_CONFIG".into(), one.clone().into())];
        let shards = |reading: Reading| of(&reading, "shards");
        let by_environment = Reading::of(&Flags::default(), variables());
        assert_eq!(shards(by_environment), ("1".to_owned(), format!("file {}:1", one.display())));
        let flags = Flags { config: Some(two.clone()), given: Vec::new() };
        assert_eq!(shards(Reading::of(&flags, variables())), ("2".to_owned(), format!("file {}:2", two.display())));
        std::fs::remove_file(&one).unwrap();
        let missing = Reading::of(&Flags::default(), variables());
        assert_eq!(
            missing.problems,
            [format!("{}: No such file or directory (os error 2). MAINSTEM_CONFIG names this file", one.display())]
        );
    }

    #[test]
    fn it_is_shown_to_people_as_a_table() {
        let reading = read("data-dir = \"a\\nb\"", &[], &["--listen", "http=off"]);
        let table = reading.configuration.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), SETTINGS.len() + 1);
        assert_eq!(lines[0], "key                                              value                source");
        assert_eq!(lines[1], "data-dir                                         \"a\\nb\"               file a.toml:1");
        assert_eq!(lines[2], "listen.kafka                                     127.0.0.1:9092       default");
        assert_eq!(lines[3], "listen.http                                      off                  flag --listen");
        assert_eq!(lines[4], "listen.peer                                      127.0.0.1:9190       default");
    }

    #[test]
    fn it_is_shown_to_scripts_as_json() {
        let reading = read("cache.bytes = '2MiB'", &[], &[]);
        let shown: serde_json::Value = serde_json::from_str(&reading.configuration.json()).unwrap();
        assert_eq!(shown["cache.bytes"], json!({ "value": 2_097_152, "source": "file a.toml:1" }));
        assert_eq!(shown["topics.auto-create"], json!({ "value": true, "source": "default" }));
        assert_eq!(shown.as_object().unwrap().len(), SETTINGS.len());
    }

    #[test]
    fn a_secret_is_not_shown() {
        static SECRET: Setting =
            Setting { key: Cow::Borrowed("password"), kind: Kind::Folder, default: "", about: "", secret: true };
        let value = Value::Folder("hunter2".into());
        let entry = Entry { setting: &SECRET, value, source: Source::Environment("MAINSTEM_PASSWORD".into()) };
        let configuration = Configuration { entries: vec![entry] };
        assert!(configuration.table().contains("password  (hidden)  environment MAINSTEM_PASSWORD"));
        let shown: serde_json::Value = serde_json::from_str(&configuration.json()).unwrap();
        assert_eq!(shown["password"]["value"], json!(null));
    }
}
