//! What topics and the broker are set to: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use super::error::{controller_code, is_undone};
use super::nodes::{Node, Nodes};
use super::{Context, Step, Then, is_kafka_name};
use crate::codec::alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
use crate::codec::body::ResponseBody;
use crate::codec::create_topics::CreatableTopicConfigs;
use crate::codec::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::codec::error_code::ErrorCode;
use crate::codec::incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use crate::codec::text::Text;
use broker::request::{AlterTopic, NodeInfo, TopicInfo, TopicRef, TopicsQuery};
use broker::setting::{Change, IN_SYNC, Kind, SETTINGS, Setting, majority};
use broker::{BrokerError, Reply, Request, Settings};
use model::limit;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
mod source {
    pub(super) const TOPIC: i8 = 1;
    pub(super) const STATIC_BROKER: i8 = 4;
    pub(super) const DEFAULT: i8 = 5;
}

/// What a value is.
mod kind {
    pub(super) const BOOLEAN: i8 = 1;
    pub(super) const STRING: i8 = 2;
    pub(super) const INT: i8 = 3;
    pub(super) const SHORT: i8 = 4;
    pub(super) const LONG: i8 = 5;
    pub(super) const DOUBLE: i8 = 6;
    pub(super) const LIST: i8 = 7;
}

/// A code and what there is to say about it.
type Refusal = (ErrorCode, String);

fn kind_of(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => kind::BOOLEAN,
        Kind::Int { .. } => kind::INT,
        Kind::Long { .. } => kind::LONG,
        Kind::Ratio => kind::DOUBLE,
        Kind::Word(_) => kind::STRING,
        Kind::Words(_) | Kind::List => kind::LIST,
    }
}

pub(super) fn describe(context: &Arc<Context>, mut request: DescribeConfigsRequest) -> Step {
    let context = context.clone();
    // What is named again is answered once: an answer is so much larger than what asks for it.
    let mut seen = BTreeSet::new();
    request.resources.retain(|resource| seen.insert((resource.resource_type, resource.resource_name.clone())));
    let then: Then = Box::new(move |reply| {
        let Reply::Node(node) = reply else { return Step::Reply(failed_description(request)) };
        let is_topic = |resource: &&DescribeConfigsResource| {
            resource.resource_type == TOPIC && is_kafka_name(&resource.resource_name)
        };
        let named = request.resources.iter().filter(is_topic);
        let topics = named.map(|resource| TopicRef::Name(resource.resource_name.to_string())).collect();
        let query = TopicsQuery { topics: Some(topics), create_missing: false };
        super::ask(Request::Topics(query), move |reply| {
            let Reply::Topics(found) = reply else { return failed_description(request) };
            let mut found = found.into_iter();
            let describe = |resource: DescribeConfigsResource| {
                let described = match resource.resource_type {
                    TOPIC if is_kafka_name(&resource.resource_name) => {
                        describe_topic(found.next(), &node.topic_defaults)
                    }
                    TOPIC => Err((ErrorCode::InvalidTopicException, "not a topic name".to_owned())),
                    BROKER => describe_broker(&resource, &context, &node),
                    other => {
                        Err((ErrorCode::InvalidRequest, format!("resources of type {other} have no settings here")))
                    }
                };
                result(resource, described, request.include_synonyms, request.include_documentation)
            };
            let results = request.resources.into_iter().map(describe).collect();
            ResponseBody::DescribeConfigs(DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() })
        })
    });
    Step::Ask(Request::Node, then)
}

fn failed_description(request: DescribeConfigsRequest) -> ResponseBody {
    let failed = |resource| {
        let unknown = Err((ErrorCode::UnknownServerError, "the node does not answer".to_owned()));
        result(resource, unknown, false, false)
    };
    let results = request.resources.into_iter().map(failed).collect();
    ResponseBody::DescribeConfigs(DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() })
}

fn result(
    resource: DescribeConfigsResource,
    described: Result<Vec<Entry>, Refusal>,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResult {
    let DescribeConfigsResource { resource_type, resource_name, configuration_keys } = resource;
    let mut answer = DescribeConfigsResult { resource_type, resource_name, ..DescribeConfigsResult::default() };
    match described {
        Ok(entries) => {
            let wanted = |entry: &Entry| {
                // No keys are all keys.
                let keys = configuration_keys.as_ref().filter(|keys| !keys.is_empty());
                keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == entry.name))
            };
            let entries = entries.into_iter().filter(wanted);
            answer.configs = entries.map(|entry| entry.into_result(synonyms, documentation)).collect();
        }
        Err((error, message)) => {
            answer.error_code = error.code();
            answer.error_message = (!message.is_empty()).then(|| message.into());
        }
    }
    answer
}

/// A setting, its value and where that comes from.
struct Entry {
    name: &'static str,
    kind: i8,
    meaning: &'static str,
    read_only: bool,
    value: Option<String>,
    source: i8,
    /// What counts, and what would count without it, and so on: name, value, source.
    synonyms: Vec<Synonym>,
}

type Synonym = (&'static str, String, i8);

impl Entry {
    fn into_result(self, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
        let synonym = |(name, value, source): Synonym| DescribeConfigsSynonym {
            name: name.into(),
            value: Some(value.into()),
            source,
        };
        DescribeConfigsResourceResult {
            name: self.name.into(),
            value: self.value.map(Text::from),
            read_only: self.read_only,
            config_source: self.source,
            is_sensitive: false,
            synonyms: if synonyms { self.synonyms.into_iter().map(synonym).collect() } else { Vec::new() },
            config_type: self.kind,
            documentation: documentation.then(|| self.meaning.into()),
        }
    }
}

/// Settings of topics that Kafka's brokers have no value for: another one, in hours, counts there.
const UNSET_AT_BROKERS: [&str; 4] = ["flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"];

fn describe_topic(found: Option<Result<TopicInfo, BrokerError>>, defaults: &Settings) -> Result<Vec<Entry>, Refusal> {
    match found {
        Some(Ok(info)) => {
            let replicas = replicas(&info);
            let entry = |setting| topic_entry(setting, &info.settings, defaults, replicas);
            Ok(SETTINGS.iter().map(entry).collect())
        }
        Some(Err(BrokerError::UnknownTopic)) => Err((ErrorCode::UnknownTopicOrPartition, String::new())),
        _ => Err((ErrorCode::UnknownServerError, "the node does not answer".to_owned())),
    }
}

/// How many replicas all of a topic's partitions have.
fn replicas(info: &TopicInfo) -> u32 {
    info.partitions.iter().map(|partition| partition.replicas.len() as u32).min().unwrap_or(1)
}

/// A setting of a topic whose partitions have so many replicas.
fn topic_entry(setting: &'static Setting, settings: &Settings, defaults: &Settings, replicas: u32) -> Entry {
    let mut synonyms: Vec<Synonym> = Vec::new();
    let default = if setting.name == IN_SYNC { majority(replicas).to_string() } else { setting.default.to_owned() };
    let of_broker = setting.broker_name.filter(|_| !UNSET_AT_BROKERS.contains(&setting.name));
    synonyms.extend(of_broker.map(|name| (name, default.clone(), source::DEFAULT)));
    let (mut value, mut source) = (default, source::DEFAULT);
    if let Some(set) = defaults.get(setting.name) {
        (value, source) = (set.to_owned(), source::STATIC_BROKER);
        synonyms.insert(0, (setting.broker_name.unwrap_or(setting.name), set.to_owned(), source));
    }
    if let Some(set) = settings.get(setting.name) {
        (value, source) = (set.to_owned(), source::TOPIC);
        synonyms.insert(0, (setting.name, set.to_owned(), source));
    }
    let (name, kind, meaning) = (setting.name, kind_of(setting.kind), setting.meaning);
    Entry { name, kind, meaning, read_only: false, value: Some(value), source, synonyms }
}

/// What a topic is set to, as CreateTopics tells it.
pub(super) fn created(info: &TopicInfo, defaults: &Settings) -> Vec<CreatableTopicConfigs> {
    let replicas = replicas(info);
    let told = |setting: &'static Setting| {
        let DescribeConfigsResourceResult { name, value, read_only, config_source, is_sensitive, .. } =
            topic_entry(setting, &info.settings, defaults, replicas).into_result(false, false);
        CreatableTopicConfigs { name, value, read_only, config_source, is_sensitive }
    };
    SETTINGS.iter().map(told).collect()
}

fn describe_broker(
    resource: &DescribeConfigsResource,
    context: &Context,
    node: &NodeInfo,
) -> Result<Vec<Entry>, Refusal> {
    let name = resource.resource_name.as_str();
    if name.is_empty() {
        // What is set for all brokers at run time: nothing is.
        return Ok(Vec::new());
    }
    if name.parse() != Ok(context.node.0) {
        return Err((ErrorCode::InvalidRequest, format!("this is broker {}, not {name}", context.node.0)));
    }
    Ok(broker_entries(context, node))
}

/// A setting of a broker: its name, type, value, the value it has in Kafka unless set, what it means.
type Fixed = (&'static str, i8, String, &'static str, &'static str);

/// What Kafka's tools look for in a broker's configuration, in Kafka's words. Nothing of it changes while
/// the node runs.
fn broker_entries(context: &Context, node: &NodeInfo) -> Vec<Entry> {
    let groups = &node.groups;
    let nodes = Nodes::of(context);
    let Node { id, host, port, .. } = nodes.me();
    let (id, listener) = (id.to_string(), format!("PLAINTEXT://{host}:{port}"));
    let replication = nodes.replicas(node.replication);
    let folder = node.folder.display().to_string();
    let number = |number: u64| number.to_string();
    let request_max = number(limit::REQUEST_BYTES_MAX as u64);
    let fixed: [Fixed; 26] = [
        ("advertised.listeners", kind::LIST, listener.clone(), "", "Where clients reach the node."),
        (
            "auto.create.topics.enable",
            kind::BOOLEAN,
            node.auto_create_topics.to_string(),
            "true",
            "Whether asking for a missing topic makes it.",
        ),
        ("broker.id", kind::INT, id.clone(), "-1", "Which node this is."),
        (
            "connections.max.idle.ms",
            kind::LONG,
            number(context.idle.as_millis() as u64),
            "600000",
            "Idle connections are closed then.",
        ),
        (
            "default.replication.factor",
            kind::INT,
            replication.to_string(),
            "1",
            "Replicas of a topic whose creator does not say.",
        ),
        ("delete.topic.enable", kind::BOOLEAN, "true".into(), "true", "Whether topics can be deleted."),
        ("fetch.max.bytes", kind::INT, number(limit::FETCH_BYTES_MAX as u64), "57671680", "The most of a fetch."),
        (
            "group.coordinator.rebalance.protocols",
            kind::LIST,
            "classic".into(),
            "classic,consumer,streams",
            "How groups divide the work.",
        ),
        (
            "group.initial.rebalance.delay.ms",
            kind::INT,
            number(groups.initial_rebalance_delay),
            "3000",
            "How long the first join of a group waits for others.",
        ),
        ("group.max.session.timeout.ms", kind::INT, number(groups.session_timeout_max), "1800000", "The longest."),
        ("group.max.size", kind::INT, number(groups.group_size_max as u64), "2147483647", "Members of a group."),
        ("group.min.session.timeout.ms", kind::INT, number(groups.session_timeout_min), "6000", "The shortest."),
        ("listeners", kind::LIST, listener, "PLAINTEXT://:9092", "Where the node listens."),
        ("log.dir", kind::STRING, folder.clone(), "/tmp/kafka-logs", "Where the data is."),
        ("log.dirs", kind::STRING, folder, "", "Where the data is."),
        ("node.id", kind::INT, id, "", "Which node this is."),
        (
            "num.partitions",
            kind::INT,
            node.default_partitions.to_string(),
            "1",
            "Partitions of a topic whose creator does not say.",
        ),
        (
            "offset.metadata.max.bytes",
            kind::INT,
            number(limit::OFFSET_METADATA_BYTES_MAX as u64),
            "4096",
            "Bytes of the metadata of a committed offset.",
        ),
        (
            "offsets.retention.check.interval.ms",
            kind::LONG,
            number(groups.expiry_period().as_millis() as u64),
            "600000",
            "How often old ones are sought.",
        ),
        (
            "offsets.retention.minutes",
            kind::INT,
            number(groups.offsets_retention / 60_000),
            "10080",
            "How long offsets are kept that nobody needs.",
        ),
        (
            "offsets.topic.replication.factor",
            kind::SHORT,
            replication.to_string(),
            "3",
            "Replicas of committed offsets.",
        ),
        ("process.roles", kind::LIST, "broker,controller".into(), "", "What the node is."),
        ("queued.max.requests", kind::INT, number(limit::CONNECTION_REQUESTS_MAX as u64), "500", "Of one connection."),
        ("security.inter.broker.protocol", kind::STRING, "PLAINTEXT".into(), "PLAINTEXT", "How nodes talk."),
        ("socket.request.max.bytes", kind::INT, request_max, "104857600", "Bytes of the largest request."),
        (
            "transaction.state.log.replication.factor",
            kind::SHORT,
            replication.to_string(),
            "3",
            "Replicas of transactions.",
        ),
    ];
    let fixed = fixed.into_iter().map(|(name, kind, value, default, meaning)| {
        let mut synonyms: Vec<Synonym> = Vec::new();
        let mut source = source::DEFAULT;
        if !default.is_empty() {
            synonyms.push((name, default.to_owned(), source));
        }
        if value != default {
            source = source::STATIC_BROKER;
            synonyms.insert(0, (name, value.clone(), source));
        }
        Entry { name, kind, meaning, read_only: true, value: Some(value), source, synonyms }
    });
    let of_topics = SETTINGS.iter().filter_map(|setting| {
        let entry = topic_entry(setting, &Settings::default(), &node.topic_defaults, replication);
        let unset = entry.source == source::DEFAULT && UNSET_AT_BROKERS.contains(&setting.name);
        let value = entry.value.clone().filter(|_| !unset);
        Some(Entry { name: setting.broker_name?, read_only: true, value, ..entry })
    });
    let mut entries: Vec<Entry> = fixed.chain(of_topics).collect();
    entries.sort_by_key(|entry| entry.name);
    entries
}

/// A resource to change, however it was asked for.
struct Alteration {
    resource_type: i8,
    resource_name: Text,
    changes: Result<Vec<(String, Change)>, String>,
}

/// What became of it.
struct Altered {
    resource_type: i8,
    resource_name: Text,
    error_code: i16,
    error_message: Option<Text>,
}

pub(super) fn alter(request: AlterConfigsRequest) -> Step {
    let alteration = |resource: crate::codec::alter_configs::AlterConfigsResource| {
        let change = |config: crate::codec::alter_configs::AlterableConfig| match config.value {
            Some(value) => Ok((config.name.to_string(), Change::Set(value.to_string()))),
            None => Err(format!("{} has no value", config.name)),
        };
        let changes = resource.configs.into_iter().map(change).collect();
        Alteration { resource_type: resource.resource_type, resource_name: resource.resource_name, changes }
    };
    let alterations = request.resources.into_iter().map(alteration).collect();
    run(alterations, true, request.validate_only, |altered| {
        let response = |altered: Altered| {
            let Altered { resource_type, resource_name, error_code, error_message } = altered;
            crate::codec::alter_configs::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type,
                resource_name,
            }
        };
        let responses = altered.into_iter().map(response).collect();
        ResponseBody::AlterConfigs(AlterConfigsResponse { responses, ..AlterConfigsResponse::default() })
    })
}

pub(super) fn alter_incrementally(request: IncrementalAlterConfigsRequest) -> Step {
    let alteration = |resource: crate::codec::incremental_alter_configs::AlterConfigsResource| {
        let change = |config: crate::codec::incremental_alter_configs::AlterableConfig| {
            let name = config.name.to_string();
            let value = || config.value.as_ref().map(Text::to_string).ok_or(format!("{name} has no value"));
            let change = match config.config_operation {
                0 => Change::Set(value()?),
                1 => Change::Unset,
                2 => Change::Append(value()?),
                3 => Change::Subtract(value()?),
                other => return Err(format!("there is no operation {other}")),
            };
            Ok((name, change))
        };
        let changes = resource.configs.into_iter().map(change).collect();
        Alteration { resource_type: resource.resource_type, resource_name: resource.resource_name, changes }
    };
    let alterations = request.resources.into_iter().map(alteration).collect();
    run(alterations, false, request.validate_only, |altered| {
        let response = |altered: Altered| {
            let Altered { resource_type, resource_name, error_code, error_message } = altered;
            crate::codec::incremental_alter_configs::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type,
                resource_name,
            }
        };
        let responses = altered.into_iter().map(response).collect();
        let response = IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() };
        ResponseBody::IncrementalAlterConfigs(response)
    })
}

fn run(
    alterations: Vec<Alteration>,
    replace: bool,
    validate_only: bool,
    respond: fn(Vec<Altered>) -> ResponseBody,
) -> Step {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<(i8, String)> = alterations
        .iter()
        .map(|one| (one.resource_type, one.resource_name.to_string()))
        .filter(|resource| !seen.insert(resource.clone()))
        .collect();
    let mut wanted = Vec::new();
    let mut answers = Vec::new();
    for Alteration { resource_type, resource_name, changes } in alterations {
        let checked = if twice.contains(&(resource_type, resource_name.to_string())) {
            Err((ErrorCode::InvalidRequest, "the resource is named twice".to_owned()))
        } else {
            check(resource_type, &resource_name, changes)
        };
        let checked = checked.map(|changes| {
            let topic = TopicRef::Name(resource_name.to_string());
            changes.map(|changes| wanted.push(AlterTopic { topic, changes, replace, validate_only }))
        });
        let mut altered = Altered { resource_type, resource_name, error_code: 0, error_message: None };
        let asked = matches!(checked, Ok(Some(())));
        if let Err((error, message)) = checked {
            (altered.error_code, altered.error_message) = (error.code(), Some(message.into()));
        }
        answers.push((altered, asked));
    }
    super::ask(Request::AlterTopics(wanted), move |reply| {
        let outcomes = if let Reply::TopicsAltered(outcomes) = reply { outcomes } else { Vec::new() };
        let undone = is_undone(&outcomes);
        let mut outcomes = outcomes.into_iter();
        let answer = |(mut altered, asked): (Altered, bool)| {
            if asked {
                match outcomes.next().unwrap_or(Err(BrokerError::Unavailable)) {
                    Ok(()) => {}
                    Err(error) => {
                        altered.error_code = controller_code(&error, undone);
                        altered.error_message = Some(error.to_string().into());
                    }
                }
            }
            altered
        };
        respond(answers.into_iter().map(answer).collect())
    })
}

/// What a resource's changes are, if it is one that can be changed; nothing where they come to nothing.
fn check(
    resource_type: i8,
    name: &Text,
    changes: Result<Vec<(String, Change)>, String>,
) -> Result<Option<Vec<(String, Change)>>, Refusal> {
    let invalid = |message: String| (ErrorCode::InvalidRequest, message);
    match resource_type {
        TOPIC if is_kafka_name(name) => {}
        TOPIC => return Err((ErrorCode::InvalidTopicException, "not a topic name".to_owned())),
        // Nothing is ever set, so nothing has to be unset: kafka-reassign-partitions clears limits that it may have set.
        BROKER if changes.as_ref().is_ok_and(|changes| are_unset(changes)) => return Ok(None),
        BROKER => return Err(invalid("a node is configured by its file, environment and flags".to_owned())),
        other => return Err(invalid(format!("resources of type {other} have no settings here"))),
    }
    let changes = changes.map_err(invalid)?;
    let mut seen = BTreeSet::new();
    match changes.iter().find(|(name, _)| !seen.insert(name)) {
        Some((name, _)) => Err(invalid(format!("{name} is named twice"))),
        None => Ok(Some(changes)),
    }
}

fn are_unset(changes: &[(String, Change)]) -> bool {
    !changes.is_empty() && changes.iter().all(|(_, change)| *change == Change::Unset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, topic};
    use broker::group::GroupConfig;
    use broker::members::NodeState;
    use model::NodeId;

    fn node() -> NodeInfo {
        NodeInfo {
            node: NodeId(1),
            folder: "folder".into(),
            disk: None,
            default_partitions: 1,
            replication: 3,
            auto_create_topics: true,
            groups: GroupConfig::default(),
            topic_defaults: Settings::default(),
            topics: 1,
        }
    }

    /// The values that broker `name` is said to have, by name.
    fn values(fake: Fake, name: &str) -> Result<Vec<(&'static str, String)>, ErrorCode> {
        let resource =
            DescribeConfigsResource { resource_type: BROKER, resource_name: name.into(), ..Default::default() };
        let entries = describe_broker(&resource, &fake.context(), &node()).map_err(|(error, _)| error)?;
        Ok(entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())
    }

    #[test]
    fn a_node_tells_how_many_replicas_there_are_by_default() {
        let of = |fake, name: &str| {
            let values = values(fake, "1").unwrap();
            values.into_iter().find(|(known, _)| *known == name).unwrap().1
        };
        for name in ["default.replication.factor", "offsets.topic.replication.factor"] {
            assert_eq!((of(Fake::three(), name), of(Fake::alone(), name)), ("3".to_owned(), "1".to_owned()));
        }
        assert_eq!((of(Fake::three(), IN_SYNC), of(Fake::alone(), IN_SYNC)), ("2".to_owned(), "1".to_owned()));
        let mut leaving = Fake::three();
        leaving.node(2).state = NodeState::Draining;
        assert_eq!(of(leaving, "default.replication.factor"), "3", "as topics are made meanwhile");
        assert_eq!(of(Fake::three(), "advertised.listeners"), "PLAINTEXT://node-1:9091");
    }

    #[test]
    fn a_node_tells_of_itself_only() {
        assert_eq!(values(Fake::three(), "2"), Err(ErrorCode::InvalidRequest));
        assert_eq!(values(Fake::three(), ""), Ok(Vec::new()));
    }

    #[test]
    fn most_replicas_have_what_is_acknowledged() {
        let mut info = topic("a", 2);
        for (nodes, expected) in [(1, "1"), (3, "2"), (5, "3")] {
            info.partitions[0].replicas = (1..=nodes).map(NodeId).collect();
            info.partitions[1].replicas = info.partitions[0].replicas.clone();
            let configs = created(&info, &Settings::default());
            let told = configs.iter().find(|config| config.name == IN_SYNC).unwrap();
            assert_eq!((told.value.as_deref(), told.config_source), (Some(expected), source::DEFAULT));
        }
    }

    #[test]
    fn a_change_that_reached_no_leader_is_sent_anew() {
        let changes = || Ok(vec![("retention.ms".to_owned(), Change::Set("5".to_owned()))]);
        let alteration =
            |name: &str| Alteration { resource_type: TOPIC, resource_name: name.into(), changes: changes() };
        let codes = |outcomes: Vec<Result<(), BrokerError>>| {
            let respond = |altered: Vec<Altered>| {
                let responses =
                    altered.into_iter().map(|one| crate::codec::alter_configs::AlterConfigsResourceResponse {
                        error_code: one.error_code,
                        ..Default::default()
                    });
                let responses = responses.collect();
                ResponseBody::AlterConfigs(AlterConfigsResponse { responses, ..AlterConfigsResponse::default() })
            };
            let step = run(vec![alteration("a"), alteration("b")], false, false, respond);
            let Step::Ask(Request::AlterTopics(_), then) = step else { panic!("not asked") };
            let Step::Reply(ResponseBody::AlterConfigs(response)) = then(Reply::TopicsAltered(outcomes)) else {
                panic!("another answer")
            };
            response.responses.iter().map(|one| one.error_code).collect::<Vec<_>>()
        };
        let elsewhere = || Err(BrokerError::NotLeader(Some(NodeId(2))));
        let again = ErrorCode::NotController.code();
        assert_eq!(codes(vec![elsewhere(), elsewhere()]), [again, again]);
        assert_eq!(codes(vec![Ok(()), elsewhere()]), [0, ErrorCode::NotLeaderOrFollower.code()]);
    }

    #[test]
    fn of_a_node_nothing_is_set_and_so_all_may_be_unset() {
        let checked = |changes: &[Change]| {
            let changes = changes.iter().map(|change| ("a".to_owned(), change.clone())).collect();
            check(BROKER, &"1".into(), Ok(changes)).map_err(|(error, _)| error)
        };
        assert_eq!(checked(&[Change::Unset]), Ok(None));
        let set = Change::Set("1".to_owned());
        for refused in [&[set.clone()][..], &[Change::Unset, set], &[Change::Append("1".to_owned())], &[]] {
            assert_eq!(checked(refused), Err(ErrorCode::InvalidRequest), "{refused:?}");
        }
    }
}
