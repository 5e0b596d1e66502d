//! Nodes as the tests need them.

use broker::cluster::ClusterConfig;
use broker::members::ReplicaStatus;
use broker::request::{AppendPart, CreateTopic, PartitionRef, ReadQuery, ReadRange, TopicInfo, TopicRef, TopicsQuery};
use broker::{Broker, BrokerError, Config, NodeError, Reply, Request, Settings};
use bytes::Bytes;
use model::record::Message;
use model::{NodeId, Offset, ShardId, Timestamp};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` has something, which it is asked again and again: what a node has heard of another
/// does not ring here.
pub(crate) async fn until<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(done) = done().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) fn config(join: Option<SocketAddr>) -> Config {
    let cluster = ClusterConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        join: join.map(|address| address.to_string()),
        ..ClusterConfig::default()
    };
    Config { shards: 1, cluster, ..Config::default() }
}

pub(crate) async fn start(folder: &Path, config: Config) -> Result<Broker, NodeError> {
    tokio::time::timeout(PATIENCE, Broker::start(folder, config)).await.expect("a start takes too long")
}

/// Three nodes that are a cluster, each of which votes in every shard.
pub(crate) async fn three(folders: &[TempDir; 3]) -> [Broker; 3] {
    let [first, second, third] = folders.each_ref().map(TempDir::path);
    let first = start(first, config(None)).await.unwrap();
    let seed = first.peer_address();
    let all = [first, start(second, config(seed)).await.unwrap(), start(third, config(seed)).await.unwrap()];
    wait_for_voters(&all.each_ref(), &[1, 2, 3]).await;
    all
}

/// Stops a broker, and waits until nothing of it has the folder.
pub(crate) async fn stop(broker: Broker, folder: &Path) {
    broker.stop().await;
    drop(broker);
    until("the folder is free", async || {
        let lock = std::fs::File::open(folder.join("lock")).ok()?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()
    })
    .await;
}

/// Waits until every shard has these voters, as every one of `brokers` sees it.
pub(crate) async fn wait_for_voters(brokers: &[&Broker], voters: &[u64]) {
    let wanted: Vec<NodeId> = voters.iter().map(|node| NodeId(*node)).collect();
    until(&format!("all shards have the voters {voters:?}"), async || {
        let settled = |status: &ReplicaStatus| !status.joint && status.voters == wanted && status.leader.is_some();
        let replicas: Vec<Vec<ReplicaStatus>> = brokers.iter().map(|broker| broker.replicas()).collect();
        let shards: BTreeSet<ShardId> = replicas.iter().flatten().map(|status| status.shard).collect();
        let all = replicas.iter().all(|replicas| replicas.len() == shards.len() && replicas.iter().all(settled));
        (all && !shards.is_empty()).then_some(())
    })
    .await;
}

pub(crate) async fn create(broker: &Broker, name: &str, partitions: u32) -> Result<TopicInfo, BrokerError> {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replicas: None,
        settings: Settings::default(),
        validate_only: false,
    };
    let Reply::TopicsCreated(mut made) = broker.call(Request::CreateTopics(vec![topic])).await.await else { panic!() };
    made.remove(0)
}

pub(crate) async fn describe(broker: &Broker, name: &str) -> Result<TopicInfo, BrokerError> {
    let query = TopicsQuery { topics: Some(vec![TopicRef::Name(name.to_owned())]), create_missing: false };
    let Reply::Topics(mut found) = broker.call(Request::Topics(query)).await.await else { panic!() };
    found.remove(0)
}

pub(crate) fn partition(topic: &str, partition: u32) -> PartitionRef {
    PartitionRef { topic: TopicRef::Name(topic.to_owned()), partition }
}

/// What is older than a topic keeps would be gone while a test waits for something else.
fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

/// Appends a record at whichever of `brokers` leads, and returns where it is.
pub(crate) async fn append(brokers: &[&Broker], topic: &str, number: u32, value: &str) -> Offset {
    until("a record is appended", async || {
        for broker in brokers {
            let message = Message { timestamp: now(), value: value.as_bytes(), ..Message::default() };
            let part = AppendPart {
                to: partition(topic, number),
                bytes: Bytes::from(message.encode().unwrap()),
                durability: None,
                inspect: |bytes, _, _, _| Ok(Some(bytes.clone())),
            };
            let Reply::Appended(mut appended) = broker.call(Request::Append(vec![part])).await.await else { panic!() };
            if let Ok(appended) = appended.remove(0) {
                return Some(appended.base);
            }
        }
        None
    })
    .await
}

/// How many records of a partition there are, as its leader among `brokers` says.
pub(crate) async fn end(brokers: &[&Broker], topic: &str, number: u32) -> u64 {
    until("a partition is read", async || {
        for broker in brokers {
            if let Ok(end) = read(broker, topic, number, false).await {
                return Some(end);
            }
        }
        None
    })
    .await
}

/// How many records of a partition one broker has.
pub(crate) async fn read(broker: &Broker, topic: &str, number: u32, any_replica: bool) -> Result<u64, BrokerError> {
    read_from(broker, range(topic, number), any_replica).await
}

/// A partition from its first record on, as whoever reads it knows no epoch.
pub(crate) fn range(topic: &str, number: u32) -> ReadRange {
    let (from, max_bytes) = (partition(topic, number), 1 << 20);
    ReadRange { from, offset: Offset(0), max_bytes, epoch: None, last_epoch: None }
}

/// How many records one broker has from there on.
pub(crate) async fn read_from(broker: &Broker, range: ReadRange, any_replica: bool) -> Result<u64, BrokerError> {
    let (min_bytes, max_wait, max_bytes) = (0, Duration::ZERO, 1 << 20);
    let query = ReadQuery { parts: vec![range], min_bytes, max_wait, max_bytes, in_files: false, any_replica };
    let Reply::Read { mut parts, .. } = broker.call(Request::Read(query)).await.await else { panic!() };
    parts.remove(0).map(|part| part.chunks.iter().map(broker::Chunk::count).sum())
}
