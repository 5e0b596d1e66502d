//! `mainstem topic`: making, showing, changing and removing topics.

use super::api::{Api, Read};
use super::failure::Failure;
use super::look::Look;
use super::merge::{Merge, Next};
use super::output::{Output, note};
use super::position::Position;
use super::server::{Refusal, ServerFlag};
use super::table::{Table, facts};
use super::{amount, confirmation, names, number, visible};
use admin::shape::{
    AlterTopic, AlteredTopic, Code, ConfigSource, ConfigValue, Configs, CreateTopic, Partition, Record, Topic,
};
use clap::{Args, Subcommand};
use model::limit;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  mainstem topic create orders --partitions 12 --config retention.ms=86400000
  mainstem topic list --prefix order
  mainstem topic describe orders
  mainstem topic alter orders --config cleanup.policy=compact --reset retention.ms
  mainstem topic peek orders -n 3
  mainstem topic move orders --partition 2 --to-shard 3
  mainstem topic delete orders --yes";
/// Stands for what nobody can say at the moment.
const UNKNOWN: &str = "-";

/// Topics: make, list, describe, alter, delete, peek into them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopicOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// As JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make topics
    Create(CreateOptions),
    /// List topics
    List {
        /// Only those whose name begins with this
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
    },
    /// Show a topic's partitions and what it is set to
    Describe {
        /// The topic
        #[arg(value_name = "NAME")]
        name: String,
        /// Show configurations that have their default, too
        #[arg(long)]
        all: bool,
    },
    /// Add partitions, set configurations, or take them back to their default
    Alter(AlterOptions),
    /// Remove topics with all their records
    Delete {
        /// The topics
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show the newest records; nothing is consumed
    Peek(PeekOptions),
    /// Have a partition go on in another shard; its records stay where they are until they expire
    Move(MoveOptions),
}

#[derive(Debug, Args)]
struct CreateOptions {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// How many partitions; without it as many as the broker is configured to give
    #[arg(long, short, value_name = "COUNT", allow_negative_numbers = true,
          value_parser = number::between(1, limit::TOPIC_PARTITIONS_MAX))]
    partitions: Option<u32>,
    /// What the topics are set to. May be given several times
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// A topic that exists is left as it is, and is no error
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(Debug, Args)]
struct AlterOptions {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// How many partitions it shall have, which is not less than now
    #[arg(long, short, value_name = "COUNT", allow_negative_numbers = true,
          value_parser = number::between(1, limit::TOPIC_PARTITIONS_MAX))]
    partitions: Option<u32>,
    /// What to set. May be given several times
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// What to take back to its default. May be given several times
    #[arg(long, value_name = "NAME")]
    reset: Vec<String>,
}

#[derive(Debug, Args)]
struct PeekOptions {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// How many records
    #[arg(short = 'n', long = "records", value_name = "COUNT", default_value_t = 10, allow_negative_numbers = true,
          value_parser = number::between(1, limit::ADMIN_PAGE_MAX as u64))]
    count: u64,
    /// Of this partition only
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number::between(0, u32::MAX))]
    partition: Option<u32>,
}

#[derive(Debug, Args)]
struct MoveOptions {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// Which partition
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = number::between(0, u32::MAX))]
    partition: u32,
    /// Where it goes on
    #[arg(long, value_name = "SHARD", allow_negative_numbers = true,
          value_parser = number::between(1, limit::SHARDS_MAX))]
    to_shard: u32,
}

/// Reads `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

pub(crate) fn run(options: TopicOptions, output: &mut Output) -> Result<(), Failure> {
    let TopicOptions { server, json, action } = options;
    let api = Api::new(server.server()?);
    match action {
        Action::Create(options) => create(&api, &options, json, output),
        Action::List { prefix } => list(&api, &prefix, json, output),
        Action::Describe { name, all } => describe(&api, &name, all, json, output),
        Action::Alter(options) => alter(&api, &options, json, output),
        Action::Delete { names, yes } => delete(&api, &names, yes, json, output),
        Action::Peek(options) => peek(&api, &options, json, output),
        Action::Move(options) => move_partition(&api, &options, json, output),
    }
}

fn create(api: &Api, options: &CreateOptions, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let configs = configs(&options.config, &[]).map_err(Failure::Usage)?;
    let mut made = Vec::new();
    let outcome = names::each(&names::once(&options.names), |name| {
        let partitions = options.partitions;
        let topic =
            CreateTopic { name: name.to_owned(), partitions, configs: configs.clone(), ..CreateTopic::default() };
        let partitions = match api.create_topic(&topic) {
            Ok(created) => Some(created.partitions),
            Err(Refusal::Refused(problem)) if problem.code == Code::TopicExists && options.if_not_exists => None,
            Err(refusal) => return Err(Failure::from(refusal).after(&format!("cannot create {name:?}: "))),
        };
        if !as_json {
            let shown = visible::line(name);
            output.text(&match partitions {
                Some(count) => format!("created {shown} with {}\n", amount::of(count.into(), "partition")),
                None => format!("{shown} exists already\n"),
            })?;
            // What was done is said before what fails.
            output.flush()?;
        }
        made.push(json!({ "name": name, "created": partitions.is_some(), "partitions": partitions }));
        Ok(())
    });
    if as_json {
        output.json(&made)?;
    }
    outcome
}

fn list(api: &Api, prefix: &str, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let topics = api.topics(prefix)?;
    if as_json {
        return output.json(&topics);
    }
    let mut table = Table::new(&["topic", "#partitions", "#records", "#size"]);
    for topic in topics {
        let (partitions, records) = (amount::count(topic.partitions.into()), amount::count(topic.records));
        table.row([topic.name, partitions, records, amount::bytes(topic.bytes)]);
    }
    if table.is_empty() {
        note(if prefix.is_empty() { "there are no topics" } else { "no topic's name begins like that" });
        return Ok(());
    }
    output.text(&table.text())
}

fn describe(api: &Api, name: &str, all: bool, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let topic = api.topic(name).map_err(|refusal| api.failure_of_topic(name, refusal))?;
    if as_json { output.json(&topic) } else { output.text(&description(&topic, all)) }
}

/// A topic for people.
fn description(topic: &Topic, all: bool) -> String {
    let about = facts(&[
        ("topic", topic.name.clone()),
        ("id", topic.id.clone()),
        ("records", amount::count(topic.records)),
        ("size", amount::bytes(topic.bytes)),
    ]);
    let shown = |number: Option<u64>| number.map_or(UNKNOWN.into(), amount::count);
    let mut partitions =
        Table::new(&["#partition", "#leader", "#epoch", "replicas", "shard", "#start", "#end", "#records", "#size"]);
    for partition in &topic.partitions {
        let replicas: Vec<_> = partition.replicas.iter().map(u64::to_string).collect();
        partitions.row([
            partition.partition.to_string(),
            partition.leader.map_or(UNKNOWN.into(), |node| node.to_string()),
            partition.epoch.to_string(),
            replicas.join(","),
            shards(partition),
            shown(partition.start),
            shown(partition.end),
            shown(records(partition)),
            partition.bytes.map_or(UNKNOWN.into(), amount::bytes),
        ]);
    }
    let mut configs = Table::new(&["configuration", "value", "set by"]);
    for config in topic.configs.iter().filter(|config| all || config.source == ConfigSource::Topic) {
        let source = match config.source {
            ConfigSource::Topic => "topic",
            ConfigSource::Node => "node",
            ConfigSource::Default => "default",
        };
        configs.row([config.name.clone(), config.value.clone(), source.to_owned()]);
    }
    let configs = if configs.is_empty() { "every configuration has its default\n".into() } else { configs.text() };
    format!("{about}\n{}\n{configs}", partitions.text())
}

/// The shard of a partition, and the one that has older records of it, or that it is on its way to.
fn shards(partition: &Partition) -> String {
    let shards = [partition.shard, partition.older_shard].into_iter().flatten().map(|shard| shard.to_string());
    let shards: Vec<String> = shards.collect();
    let known = if shards.is_empty() { UNKNOWN.into() } else { shards.join(",") };
    match partition.moving_to {
        Some(to) => format!("{known}>{to}"),
        None => known,
    }
}

/// Offsets between start and end.
fn records(partition: &Partition) -> Option<u64> {
    Some(partition.end?.saturating_sub(partition.start?))
}

fn alter(api: &Api, options: &AlterOptions, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let AlterOptions { name, partitions, config, reset } = options;
    if partitions.is_none() && config.is_empty() && reset.is_empty() {
        return Err(Failure::usage("nothing to alter: give --partitions, --config or --reset"));
    }
    let configs = configs(config, reset).map_err(Failure::Usage)?;
    let change = AlterTopic { partitions: *partitions, configs, validate_only: false };
    let altered = api.alter_topic(name, &change).map_err(|refusal| api.failure_of_topic(name, refusal))?;
    if as_json {
        return output.json(&altered);
    }
    output.text(&altering(&altered, partitions.is_some()))?;
    let pairs: Vec<_> = altered.configs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output.text(&facts(&pairs))
}

/// What became of a topic, where it may have been asked for partitions.
fn altering(altered: &AlteredTopic, asked: bool) -> String {
    let name = visible::line(&altered.name);
    let partitions = amount::of(altered.partitions.into(), "partition");
    // Whoever asks for as many as there are has what was asked for, and should not believe in a change.
    match asked && altered.partitions_added == 0 {
        true if altered.configs.is_empty() => format!("{name} has {partitions} already, nothing was altered\n"),
        true => format!("altered {name}, which has {partitions} already\n"),
        false => format!("altered {name}, which has {partitions}\n"),
    }
}

fn delete(api: &Api, names: &[String], yes: bool, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    // What is not there is told before anything is asked.
    let (mut found, mut records) = (Vec::new(), 0);
    let looked = names::each(&names::once(names), |name| {
        let topic = api.topic(name).map_err(|refusal| api.failure_of_topic(name, refusal))?;
        records += topic.records;
        found.push(name.to_owned());
        Ok(())
    });
    if found.is_empty() || !matches!(looked, Ok(()) | Err(Failure::Told)) {
        return looked;
    }
    if !yes {
        let topics = amount::of(found.len() as u64, "topic");
        confirmation::ask(&format!("delete {topics} with {}", amount::of(records, "record")), &found)?;
    }
    let mut deleted = Vec::new();
    let outcome = names::each(&found, |name| {
        api.delete_topic(name).map_err(|refusal| api.failure_of_topic(name, refusal))?;
        if !as_json {
            output.text(&format!("deleted {}\n", visible::line(name)))?;
            output.flush()?;
        }
        deleted.push(name.to_owned());
        Ok(())
    });
    if as_json {
        output.json(&json!({ "deleted": deleted }))?;
    }
    outcome.and(looked)
}

fn move_partition(api: &Api, options: &MoveOptions, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let MoveOptions { name, partition, to_shard } = options;
    let moved = api.move_partition(name, *partition, *to_shard);
    let moved = moved.map_err(|refusal| api.failure_of_topic(name, refusal))?;
    if as_json {
        return output.json(&moved);
    }
    output.text(&format!("partition {partition} of {} is in shard {}\n", visible::line(name), moved.shard))
}

fn peek(api: &Api, options: &PeekOptions, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let PeekOptions { name, count, partition } = options;
    let topic = api.topic(name).map_err(|refusal| api.failure_of_topic(name, refusal))?;
    let has_records = |partition: &&Partition| records(partition) != Some(0);
    let partitions = match partition {
        Some(partition) => vec![*partition],
        None => topic.partitions.iter().filter(has_records).map(|partition| partition.partition).collect(),
    };
    let mut newest = Vec::new();
    for partition in partitions {
        let read = Read {
            from: Position::Last(*count),
            records_max: *count as usize,
            bytes_max: limit::ADMIN_ANSWER_BYTES_MAX,
            wait: Duration::ZERO,
        };
        let read = api.read(name, partition, read).map_err(|refusal| api.failure_of_topic(name, refusal))?;
        newest.extend(read.records.into_iter().map(|record| (partition, record)));
        newest = keep_newest(newest, *count as usize);
    }
    if newest.is_empty() && !as_json {
        note("there are no records");
    }
    let look = if as_json { Look::json() } else { Look::everything(output.is_terminal()) };
    for (partition, record) in newest {
        output.bytes(&look.line(name, partition, &record))?;
    }
    Ok(())
}

/// The newest of them by their timestamps, the oldest first. Those of a partition keep their order, whatever their
/// timestamps say.
fn keep_newest(records: Vec<(u32, Record)>, count: usize) -> Vec<(u32, Record)> {
    let mut of_partitions = BTreeMap::<u32, Vec<Record>>::new();
    for (partition, record) in records {
        of_partitions.entry(partition).or_default().push(record);
    }
    let mut merge = Merge::new(of_partitions.keys().copied());
    let mut merged = Vec::new();
    loop {
        match merge.next() {
            Next::Record(partition, record) => merged.push((partition, record)),
            Next::Read(partition) => match of_partitions.remove(&partition) {
                Some(records) => merge.add(partition, records),
                None => merge.end(partition),
            },
            Next::End => break,
        }
    }
    let more = merged.len().saturating_sub(count);
    merged.split_off(more)
}

/// What to set and what to take back.
fn configs(set: &[(String, String)], reset: &[String]) -> Result<Configs, String> {
    let set = set.iter().map(|(name, value)| (name, Some(ConfigValue(value.clone()))));
    let mut configs = BTreeMap::new();
    for (name, value) in set.chain(reset.iter().map(|name| (name, None))) {
        if configs.insert(name.clone(), value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(Configs(configs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::shape::{TimestampType, TopicConfig};

    fn topic() -> Topic {
        let partition = |partition, end: Option<u64>| Partition {
            partition,
            leader: end.map(|_| 1),
            epoch: 0,
            replicas: vec![1],
            shard: Some(1),
            older_shard: end.map(|_| 2),
            moving_to: if end.is_none() { Some(3) } else { None },
            start: end.map(|_| 2),
            end,
            bytes: Some(2048),
        };
        let config = |name: &str, source| TopicConfig {
            name: name.into(),
            value: "1".into(),
            default: "2".into(),
            source,
            documentation: String::new(),
        };
        Topic {
            name: "orders".into(),
            id: "abc".into(),
            bytes: 4096,
            records: 1000,
            partitions: vec![partition(0, Some(1002)), partition(1, None)],
            configs: vec![config("retention.ms", ConfigSource::Topic), config("segment.ms", ConfigSource::Default)],
        }
    }

    #[test]
    fn a_topic_is_described_with_what_was_set() {
        assert_eq!(
            description(&topic(), false),
            "topic    orders\nid       abc\nrecords  1,000\nsize     4.0 KiB\n\n\
             partition  leader  epoch  replicas  shard  start    end  records     size\n        \
             0       1      0  1         1,2        2  1,002    1,000  2.0 KiB\n        \
             1       -      0  1         1>3        -      -        -  2.0 KiB\n\n\
             configuration  value  set by\nretention.ms   1      topic\n"
        );
        assert!(description(&topic(), true).contains("segment.ms     1      default"));
        let unset = Topic { configs: Vec::new(), ..topic() };
        assert!(description(&unset, true).ends_with("every configuration has its default\n"));
    }

    #[test]
    fn a_configuration_is_a_name_and_a_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=a").is_err());
    }

    #[test]
    fn a_configuration_is_set_or_taken_back_but_not_both() {
        let set = [("a".to_owned(), "1".to_owned())];
        let Configs(both) = configs(&set, &["b".into()]).unwrap();
        assert_eq!(
            both.into_iter().collect::<Vec<_>>(),
            [("a".into(), Some(ConfigValue("1".into()))), ("b".into(), None)]
        );
        assert_eq!(configs(&set, &["a".into()]), Err("a is given twice".into()));
    }

    fn record(offset: u64, timestamp: i64) -> Record {
        Record { offset, timestamp, timestamp_type: TimestampType::Create, key: None, value: None, headers: Vec::new() }
    }

    #[test]
    fn the_newest_records_of_all_partitions_are_kept() {
        let records = vec![(0, record(5, 30)), (0, record(6, 30)), (1, record(0, 10)), (1, record(1, 40))];
        let kept = keep_newest(records, 3);
        let shown: Vec<_> = kept.iter().map(|(partition, record)| (*partition, record.offset)).collect();
        assert_eq!(shown, [(0, 5), (0, 6), (1, 1)]);
    }

    #[test]
    fn records_of_a_partition_keep_their_order_against_their_timestamps() {
        let records = vec![(0, record(0, 90)), (0, record(1, 10)), (0, record(2, 50)), (1, record(0, 20))];
        let kept = keep_newest(records, 3);
        let shown: Vec<_> = kept.iter().map(|(partition, record)| (*partition, record.offset)).collect();
        assert_eq!(shown, [(0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn what_is_not_altered_is_not_said_to_be() {
        let altered = |partitions_added, configs: &[&str]| AlteredTopic {
            name: "t".into(),
            partitions: 3,
            partitions_added,
            configs: configs.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect(),
            validate_only: false,
        };
        assert_eq!(altering(&altered(0, &[]), true), "t has 3 partitions already, nothing was altered\n");
        assert_eq!(altering(&altered(0, &["a"]), true), "altered t, which has 3 partitions already\n");
        assert_eq!(altering(&altered(0, &["a"]), false), "altered t, which has 3 partitions\n");
        assert_eq!(altering(&altered(1, &[]), true), "altered t, which has 3 partitions\n");
    }
}
