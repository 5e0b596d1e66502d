//! Operators: each makes, changes, grows and deletes topics of its own names at any node, and looks at once whether
//! that node knows what it has just said. The first lets the logs that clients write to grow, too.

use super::caller::{Caller, Door};
use super::logs::{PARTITIONS, TOPICS};
use super::names::{Known, Seen, Topic};
use crate::cluster::checker::Promise;
use crate::time::now;
use broker::request::{AddPartitions, AlterTopic, CreateTopic, TopicInfo, TopicRef};
use broker::setting::{Change, Settings};
use broker::{BrokerError, Reply, Request};
use model::TopicId;

/// How many names an operator has.
const NAMES: u64 = 3;
/// The setting that it changes.
const RETENTION: &str = "retention.ms";

/// See the module's documentation.
pub(super) struct Operator {
    caller: Caller,
    /// Whether it lets the logs grow.
    grows: bool,
    /// Values it has set so far: each is another.
    values: u64,
}

/// A topic as it was described, if it is one.
pub(super) fn seen(info: &TopicInfo) -> Seen {
    let retention = info.settings.get(RETENTION).and_then(|value| value.parse().ok());
    Seen { id: info.id, partitions: info.partitions.len(), retention }
}

impl Operator {
    pub(super) fn new(caller: Caller, grows: bool) -> Self {
        Operator { caller, grows, values: 0 }
    }

    pub(super) async fn run(mut self) {
        while !self.caller.is_over() {
            self.caller.pause().await;
            self.caller.pause().await;
            let Some(door) = self.caller.anybody() else { continue };
            if self.grows && self.caller.rng.percent(10) {
                self.grow_logs(&door).await;
                continue;
            }
            let name = format!("t{}-{}", self.caller.number, self.caller.rng.below(NAMES));
            let known = self.caller.scene.book.lock().names.known(&name);
            let choice = self.caller.rng.below(10);
            match known {
                Known::Present(topic) if choice < 4 => self.delete(&door, &name, topic.id).await,
                Known::Present(topic) if choice < 7 => self.add_partitions(&door, &name, topic).await,
                Known::Present(_) => self.alter(&door, &name).await,
                Known::Unsure if choice < 5 => {
                    let doubtful = self.caller.scene.book.lock().names.doubtful(&name);
                    match doubtful {
                        Some(id) => self.delete(&door, &name, id).await,
                        None => self.create(&door, &name).await,
                    }
                }
                Known::Unsure | Known::Absent => self.create(&door, &name).await,
            }
        }
    }

    fn value(&mut self) -> u64 {
        self.values += 1;
        1_000_000 + self.values
    }

    /// Whether the node that has answered does not lead the catalog.
    fn note_forwarded(&self, door: &Door) {
        let forwarded = door.broker.members().controller != Some(door.node);
        self.caller.scene.facts.lock().forwarded += u64::from(forwarded);
    }

    /// Looks whether a node knows what it has said.
    async fn look(&mut self, door: &Door, name: &str) {
        let answer = match door.look_up(TopicRef::Name(name.to_owned())).await {
            Some(Ok(info)) => Some(seen(&info)),
            Some(Err(BrokerError::UnknownTopic)) => None,
            Some(Err(error)) => {
                return self.caller.violation(format!("{name} looked up at {}: {error}", door.node));
            }
            None => return,
        };
        let outcome = self.caller.scene.book.lock().names.check(name, answer);
        if let Err(wrong) = outcome {
            self.caller.violation(format!("at {} right after its answer: {wrong}", door.node));
        }
    }

    async fn create(&mut self, door: &Door, name: &str) {
        let (partitions, value) = (self.caller.rng.between(1, 4) as u32, self.value());
        let settings = Settings::stored(&[(RETENTION.to_owned(), value.to_string())]);
        let new = CreateTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replicas: None,
            settings,
            validate_only: false,
        };
        let answer = match door.ask(Request::CreateTopics(vec![new])).await {
            Some(Reply::TopicsCreated(made)) => made.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(info)) => {
                self.caller.note(format_args!("{name} is made as {} by {}", info.id, door.node));
                let topic = Topic { id: info.id, partitions: partitions as usize, retention: Some(value) };
                let outcome = self.caller.scene.book.lock().names.made(name, topic);
                if let Err(wrong) = outcome {
                    self.caller.violation(wrong);
                }
                self.caller.scene.facts.lock().topics_made += 1;
                self.note_forwarded(door);
                self.look(door, name).await;
            }
            Some(Err(BrokerError::TopicExists)) => {
                if let Some(Ok(info)) = door.look_up(TopicRef::Name(name.to_owned())).await {
                    let outcome = self.caller.scene.book.lock().names.seen(name, seen(&info));
                    if let Err(wrong) = outcome {
                        self.caller.violation(format!("at {}: {wrong}", door.node));
                    }
                }
            }
            Some(Err(_)) | None => self.caller.scene.book.lock().names.may_be_made(name, now()),
        }
    }

    async fn delete(&mut self, door: &Door, name: &str, id: TopicId) {
        let by_name = matches!(self.caller.scene.book.lock().names.known(name), Known::Present(_));
        let topic =
            if by_name && self.caller.rng.percent(50) { TopicRef::Name(name.to_owned()) } else { TopicRef::Id(id) };
        let answer = match door.ask(Request::DeleteTopics(vec![topic])).await {
            Some(Reply::TopicsDeleted(deleted)) => deleted.into_iter().next(),
            _ => None,
        };
        match answer {
            Some(Ok(())) => {
                self.caller.note(format_args!("{name} as {id} is deleted by {}", door.node));
                self.caller.scene.book.lock().names.deleted(name, id, now());
                self.caller.scene.facts.lock().topics_deleted += 1;
                self.note_forwarded(door);
                self.look(door, name).await;
            }
            // It may not have heard of it yet.
            Some(Err(BrokerError::UnknownTopic)) => {}
            Some(Err(_)) | None => self.caller.scene.book.lock().names.may_be_deleted(name, id),
        }
    }

    async fn add_partitions(&mut self, door: &Door, name: &str, topic: Topic) {
        let total = topic.partitions as u32 + self.caller.rng.between(1, 3) as u32;
        let topic = TopicRef::Id(topic.id);
        let add = AddPartitions { topic, total, placed: None, validate_only: false };
        if let Some(Reply::PartitionsAdded(added)) = door.ask(Request::AddPartitions(vec![add])).await
            && matches!(added.first(), Some(Ok(())))
        {
            self.caller.note(format_args!("{name} has {total} partitions by {}", door.node));
            let change = |topic: &mut Topic| topic.partitions = total as usize;
            self.caller.scene.book.lock().names.changed(name, change);
            self.caller.scene.facts.lock().topics_grown += 1;
            self.note_forwarded(door);
            self.look(door, name).await;
        }
    }

    async fn alter(&mut self, door: &Door, name: &str) {
        let value = self.value();
        let changes = vec![(RETENTION.to_owned(), Change::Set(value.to_string()))];
        let topic = TopicRef::Name(name.to_owned());
        let alter = AlterTopic { topic, changes, replace: false, validate_only: false };
        let answer = match door.ask(Request::AlterTopics(vec![alter])).await {
            Some(Reply::TopicsAltered(altered)) => altered.into_iter().next(),
            _ => None,
        };
        let set = match answer {
            Some(Ok(())) => Some(value),
            // It may not have heard of it yet.
            Some(Err(BrokerError::UnknownTopic)) => return,
            Some(Err(_)) | None => None,
        };
        self.caller.scene.book.lock().names.changed(name, |topic| topic.retention = set);
        if set.is_some() {
            self.caller.note(format_args!("{name} is set to {value} by {}", door.node));
            self.caller.scene.facts.lock().topics_changed += 1;
            self.note_forwarded(door);
            self.look(door, name).await;
        }
    }

    /// Adds a partition to a topic that clients write to, and has them know of those that there are.
    async fn grow_logs(&mut self, door: &Door) {
        let topic = self.caller.rng.below(TOPICS.len() as u64) as usize;
        let name = TopicRef::Name(TOPICS[topic].to_owned());
        if let Some(Ok(info)) = door.look_up(name.clone()).await {
            self.learn(topic, info.partitions.len() as u32);
        }
        let total = self.caller.scene.logs.lock().of(topic).len() as u32 + 1;
        if total > PARTITIONS.1 {
            return;
        }
        let add = AddPartitions { topic: name, total, placed: None, validate_only: false };
        if let Some(Reply::PartitionsAdded(added)) = door.ask(Request::AddPartitions(vec![add])).await
            && matches!(added.first(), Some(Ok(())))
        {
            self.caller.note(format_args!("{} has {total} partitions by {}", TOPICS[topic], door.node));
            self.learn(topic, total);
        }
    }

    fn learn(&self, topic: usize, partitions: u32) {
        learn(&self.caller.scene, topic, partitions);
    }
}

/// Has clients know of a topic's partitions.
pub(super) fn learn(scene: &super::caller::Scene, topic: usize, partitions: u32) {
    for log in scene.logs.lock().grow(topic, partitions) {
        scene.book.lock().records.add_stream(log.key, Promise { durable: true, queue: false });
    }
}
