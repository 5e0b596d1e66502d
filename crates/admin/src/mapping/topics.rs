//! Topics: listing, making, describing, changing, removing.

use super::bounds::bounds;
use super::error::{Subject, refusal};
use super::node::identity;
use super::{find_topic, mismatch, node_info, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::between::{Bounds, Place};
use crate::body;
use crate::path;
use crate::query::shown;
use crate::refusal::{Refusal, nearest};
use crate::shape::{
    AlterTopic, AlteredTopic, Code, ConfigSource, Configs, CreateTopic, CreatedTopic, Partition, Topic, TopicConfig,
    TopicEntry, TopicList,
};
use broker::request::{self, AddPartitions, PartitionSize, SizesQuery, TopicInfo, TopicPageQuery, TopicRef};
use broker::setting::{Change, SETTINGS, Setting};
use broker::{BrokerError, Reply, Request, Settings};
use model::limit;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) async fn list(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let query = TopicPageQuery {
        prefix: call.query.text("prefix").unwrap_or_default().to_owned(),
        after: call.query.text("after").map(str::to_owned),
        topics_max: call.query.natural("limit").unwrap_or(u64::MAX).min(limit::ADMIN_PAGE_MAX as u64) as usize,
        partitions_max: limit::ADMIN_PAGE_PARTITIONS_MAX,
    };
    let Reply::TopicPage(page) = api.ask(Request::TopicPage(query)).await else { return Err(mismatch()) };
    let mut sizes = BTreeMap::<String, (u64, u64)>::new();
    for size in sizes_of(&api, &page.topics).await? {
        let sums = sizes.entry(size.topic).or_default();
        *sums = (sums.0 + size.bytes, sums.1 + size.end.since(size.start));
    }
    let next = page.topics.last().filter(|_| page.more).map(|topic| topic.name.clone());
    let entry = |topic: TopicInfo| {
        let (bytes, records) = sizes.get(&topic.name).copied().unwrap_or_default();
        let (id, partitions) = (identity(topic.id.0), topic.partitions.len() as u32);
        TopicEntry { name: topic.name, id, partitions, bytes, records }
    };
    Answer::json(200, &TopicList { topics: page.topics.into_iter().map(entry).collect(), next })
}

/// How large the partitions of these topics are.
async fn sizes_of(api: &Inner, topics: &[TopicInfo]) -> Result<Vec<PartitionSize>, Refusal> {
    let of_topic = |topic: &TopicInfo| {
        let name = topic.name.clone();
        (0..topic.partitions.len() as u32).map(move |partition| partition_ref(&name, partition)).collect::<Vec<_>>()
    };
    let partitions = topics.iter().flat_map(of_topic).collect();
    let query = SizesQuery { partitions: Some(partitions) };
    let Reply::Sizes(sizes) = api.ask(Request::Sizes(query)).await else { return Err(mismatch()) };
    Ok(sizes)
}

pub(crate) async fn create(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let CreateTopic { name, partitions, replicas, configs, validate_only } = body::read(&call.body)?;
    if name == "." || name == ".." {
        // Many a client would take it for a part of a path.
        return Err(Refusal::new(Code::InvalidName, format!("{name} is not a name for a topic")));
    }
    let mut settings = Settings::default();
    for (config, change) in changes(configs)? {
        let changed = settings.change(&config, &change, &Settings::default());
        changed.map_err(|error| refusal(&error, Subject::Topic(&name)))?;
    }
    let wanted = request::CreateTopic { name: name.clone(), partitions, replicas, settings, validate_only };
    let Reply::TopicsCreated(mut made) = api.ask(Request::CreateTopics(vec![wanted])).await else {
        return Err(mismatch());
    };
    let made = made.pop().unwrap_or(Err(BrokerError::Unavailable));
    let made = made.map_err(|error| refusal(&error, Subject::Topic(&name)))?;
    let topic = CreatedTopic {
        id: (!validate_only).then(|| identity(made.id.0)),
        partitions: made.partitions.len() as u32,
        replicas: made.partitions.first().map_or(1, |partition| partition.replicas.len() as u32),
        name: made.name,
        validate_only,
    };
    if validate_only {
        return Answer::json(200, &topic);
    }
    let place = format!("/v1/topics/{}", path::encode(&topic.name));
    Ok(Answer::json(201, &topic)?.with_header("location", place))
}

/// What is to change, of settings that there are.
fn changes(configs: Configs) -> Result<Vec<(String, Change)>, Refusal> {
    let change = |(name, value): (String, Option<crate::shape::ConfigValue>)| {
        if Setting::named(&name).is_err() {
            let nearest = nearest(&name, SETTINGS.iter().map(|setting| setting.name));
            let message = format!("there is no topic configuration {}{nearest}", shown(&name));
            return Err(Refusal::new(Code::InvalidConfig, message));
        }
        Ok((name, value.map_or(Change::Unset, |value| Change::Set(value.0))))
    };
    configs.0.into_iter().map(change).collect()
}

pub(crate) async fn describe(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let info = find_topic(&api, call.name(0)).await?;
    let defaults = node_info(&api).await?.topic_defaults;
    let sizes = sizes_of(&api, std::slice::from_ref(&info)).await?;
    let places: Vec<Place> = (0..info.partitions.len() as u32).map(|nth| (info.name.clone(), nth)).collect();
    // What was acknowledged before it was asked is told: a replica that follows may be a moment behind.
    let bounds = bounds(&api, &places, None).await.into_iter().map(Result::ok).collect();
    Answer::json(200, &topic(info, &defaults, sizes, bounds))
}

fn topic(info: TopicInfo, defaults: &Settings, sizes: Vec<PartitionSize>, bounds: Vec<Option<Bounds>>) -> Topic {
    let sizes: BTreeMap<u32, PartitionSize> = sizes.into_iter().map(|size| (size.partition, size)).collect();
    // Where nobody leads, there is what this node has.
    let bounds = |number: u32| {
        let here = || sizes.get(&number).map(|size| (size.start.0, size.end.0));
        bounds.get(number as usize).copied().flatten().map(|told| (told.start, told.end)).or_else(here)
    };
    let partition = |(number, partition): (u32, request::PartitionInfo)| {
        let size = sizes.get(&number);
        Partition {
            partition: number,
            leader: partition.leader.map(|node| node.0),
            epoch: partition.epoch.unwrap_or_default().0,
            replicas: partition.replicas.iter().map(|node| node.0).collect(),
            shard: partition.shard.map(|shard| shard.0),
            older_shard: partition.older_shard.map(|shard| shard.0),
            moving_to: partition.moving_to.map(|shard| shard.0),
            start: bounds(number).map(|(start, _)| start),
            end: bounds(number).map(|(_, end)| end),
            bytes: size.map(|size| size.bytes),
        }
    };
    Topic {
        id: identity(info.id.0),
        bytes: sizes.values().map(|size| size.bytes).sum(),
        records: (0..info.partitions.len() as u32)
            .filter_map(bounds)
            .map(|(start, end)| end.saturating_sub(start))
            .sum(),
        configs: SETTINGS.iter().map(|setting| config(setting, &info.settings, defaults)).collect(),
        name: info.name,
        partitions: (0..).zip(info.partitions).map(partition).collect(),
    }
}

fn config(setting: &Setting, settings: &Settings, defaults: &Settings) -> TopicConfig {
    let node = defaults.get(setting.name);
    let default = node.unwrap_or(setting.default);
    let (value, source) = match (settings.get(setting.name), node) {
        (Some(set), _) => (set, ConfigSource::Topic),
        (None, Some(set)) => (set, ConfigSource::Node),
        (None, None) => (setting.default, ConfigSource::Default),
    };
    TopicConfig {
        name: setting.name.to_owned(),
        value: value.to_owned(),
        default: default.to_owned(),
        source,
        documentation: setting.meaning.to_owned(),
    }
}

pub(crate) async fn alter(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let name = call.name(0);
    let AlterTopic { partitions, configs, validate_only } = body::read(&call.body)?;
    let changes = changes(configs)?;
    let info = find_topic(&api, name).await?;
    let defaults = node_info(&api).await?.topic_defaults;
    let mut settings = info.settings.clone();
    for (config, change) in &changes {
        settings.change(config, change, &defaults).map_err(|error| refusal(&error, Subject::Topic(name)))?;
    }
    let count = info.partitions.len() as u32;
    // As many as there are is nothing to do; the topic stays the same one, whatever else happens to its name.
    let total = partitions.filter(|total| *total != count);
    let topic = TopicRef::Id(info.id);
    let add = |validate_only| {
        let add = |total| AddPartitions { topic: topic.clone(), total, placed: None, validate_only };
        total.map(add).map(|add| Request::AddPartitions(vec![add]))
    };
    let set = |validate_only| {
        let (topic, changes) = (topic.clone(), changes.clone());
        let alter = request::AlterTopic { topic, changes, replace: false, validate_only };
        (!alter.changes.is_empty()).then(|| Request::AlterTopics(vec![alter]))
    };
    // Everything is checked before anything is done.
    let mut steps = vec![add(true), set(true)];
    if !validate_only {
        steps.extend([set(false), add(false)]);
    }
    for step in steps.into_iter().flatten() {
        let mut outcome = match api.ask(step).await {
            Reply::PartitionsAdded(outcome) | Reply::TopicsAltered(outcome) => outcome,
            _ => return Err(mismatch()),
        };
        let outcome = outcome.pop().unwrap_or(Err(BrokerError::Unavailable));
        outcome.map_err(|error| refusal(&error, Subject::Topic(name)))?;
    }
    let in_force = |(name, _): &(String, Change)| {
        let value = settings.get(name).or(defaults.get(name)).map(str::to_owned);
        let value = value.or_else(|| Setting::named(name).ok().map(|setting| setting.default.to_owned()));
        (name.clone(), value.unwrap_or_default())
    };
    let configs = changes.iter().map(in_force).collect();
    let partitions = total.unwrap_or(count);
    let partitions_added = partitions.saturating_sub(count);
    Answer::json(200, &AlteredTopic { name: info.name, partitions, partitions_added, configs, validate_only })
}

pub(crate) async fn delete(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let name = call.name(0);
    let topics = vec![TopicRef::Name(name.to_owned())];
    let Reply::TopicsDeleted(mut outcome) = api.ask(Request::DeleteTopics(topics)).await else {
        return Err(mismatch());
    };
    let outcome = outcome.pop().unwrap_or(Err(BrokerError::Unavailable));
    outcome.map_err(|error| refusal(&error, Subject::Topic(name)))?;
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::ConfigValue;

    #[test]
    fn a_configuration_tells_where_its_value_comes_from() {
        let set = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Settings::stored(&pairs)
        };
        let tell = |topic: &[(&str, &str)], node: &[(&str, &str)]| {
            let setting = Setting::named("retention.ms").unwrap();
            let told = config(setting, &set(topic), &set(node));
            (told.value, told.default, told.source)
        };
        let (ours, theirs) = (("retention.ms", "5"), ("retention.ms", "7"));
        assert_eq!(tell(&[], &[]), ("604800000".into(), "604800000".into(), ConfigSource::Default));
        assert_eq!(tell(&[], &[theirs]), ("7".into(), "7".into(), ConfigSource::Node));
        assert_eq!(tell(&[ours], &[theirs]), ("5".into(), "7".into(), ConfigSource::Topic));
    }

    #[test]
    fn an_unknown_configuration_is_refused_with_the_nearest() {
        let configs = |name: &str| Configs([(name.to_owned(), Some(ConfigValue("1".into())))].into());
        let refused = changes(configs("retention.m")).unwrap_err();
        assert_eq!(refused.code, Code::InvalidConfig);
        assert_eq!(refused.message, "there is no topic configuration retention.m; did you mean retention.ms?");
        let unset = Configs([("retention.ms".to_owned(), None)].into());
        assert_eq!(changes(unset).unwrap(), [("retention.ms".to_owned(), Change::Unset)]);
    }
}
