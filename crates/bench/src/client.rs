//! A Kafka client that spends as little as it can: frames are encoded once and sent again and again,
//! answers are looked at only as far as a lost record needs.

use crate::Outcome;
use ::kafka::codec::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ::kafka::codec::api_key::ApiKey;
use ::kafka::codec::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ::kafka::codec::delete_topics::DeleteTopicsRequest;
use ::kafka::codec::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ::kafka::codec::frame;
use ::kafka::codec::header::{RequestHeader, ResponseHeader};
use ::kafka::codec::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ::kafka::codec::message::{Message, Request};
use ::kafka::codec::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseBroker};
use ::kafka::codec::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ::kafka::codec::reader::Reader;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Versions that every broker of the last years speaks, with topics by name.
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 6;
const METADATA: i16 = 9;
const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 5;
const ALTER_PARTITION_REASSIGNMENTS: i16 = 0;
/// Milliseconds that a broker may take for what we ask.
const TIMEOUT_MILLIS: i32 = 30_000;
/// How often a broker is asked for what takes it a while.
const POLL: Duration = Duration::from_millis(5);
/// Partitions asked about in one request.
const PARTITIONS_A_REQUEST: usize = 1000;

/// One connection.
pub(crate) struct Client {
    requests: OwnedWriteHalf,
    answers: Answers,
}

/// The answers of one connection, in the order of its requests.
pub(crate) struct Answers {
    stream: BufReader<OwnedReadHalf>,
    /// Reused for the next answer once nobody holds a part of the last one.
    memory: BytesMut,
}

impl Answers {
    async fn next(&mut self) -> Outcome<Bytes> {
        let length = self.stream.read_u32().await? as usize;
        self.memory.reserve(length);
        let mut rest = length;
        while rest > 0 {
            match self.stream.read_buf(&mut (&mut self.memory).limit(rest)).await? {
                0 => return Err("the connection ended within an answer".into()),
                read => rest -= read,
            }
        }
        Ok(self.memory.split_to(length).freeze())
    }

    /// Waits for the answer to a produced batch: its base offset.
    pub(crate) async fn produced(&mut self) -> Outcome<i64> {
        let response = decode::<ProduceRequest>(PRODUCE, self.next().await?)?;
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let partition = partition.ok_or("an answer without a partition")?;
        accepted("a batch", partition.error_code)?;
        Ok(partition.base_offset)
    }
}

/// The frame of a request.
fn encode<R: Request>(version: i16, request: &R) -> Outcome<Bytes> {
    let header =
        RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 1, client_id: Some("bench".into()) };
    let mut out = BytesMut::new();
    frame::write(&mut out, |writer| {
        header.encode(writer);
        request.encode(writer, version);
    })?;
    Ok(out.freeze())
}

fn decode<R: Request>(version: i16, content: Bytes) -> Outcome<R::Response> {
    let mut reader = Reader::new(content);
    let api = ApiKey::try_from(R::KEY).map_err(|_| "no such API")?;
    ResponseHeader::decode(&mut reader, api, version)?;
    Ok(R::Response::decode(&mut reader, version)?)
}

/// An error code that is none.
fn accepted(what: &str, code: i16) -> Outcome<()> {
    if code == 0 { Ok(()) } else { Err(format!("void: {what} was answered with error {code}").into()) }
}

/// The frame that produces one batch.
pub(crate) fn produce_frame(topic: &str, partition: i32, batch: &Bytes, acks: i16) -> Outcome<Bytes> {
    let data = PartitionProduceData { index: partition, records: Some(batch.clone()) };
    let topic_data = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks, timeout_ms: TIMEOUT_MILLIS, topic_data: vec![topic_data], ..Default::default() };
    encode(PRODUCE, &request)
}

/// Who leads a partition, -1 if nobody is known to, where its replicas are, the one that is preferred to lead first,
/// and which of them are in sync.
pub(crate) struct Led {
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// What a fetch found in one partition.
pub(crate) struct Fetched {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) records: Bytes,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (answers, requests) = stream.into_split();
        let answers = Answers { stream: BufReader::with_capacity(64 << 10, answers), memory: BytesMut::new() };
        Ok(Client { requests, answers })
    }

    /// For those who send without waiting.
    pub(crate) fn split(self) -> (OwnedWriteHalf, Answers) {
        (self.requests, self.answers)
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) -> Outcome<()> {
        Ok(self.requests.write_all(frame).await?)
    }

    async fn call<R: Request>(&mut self, version: i16, request: &R) -> Outcome<R::Response> {
        self.send(&encode(version, request)?).await?;
        decode::<R>(version, self.answers.next().await?)
    }

    /// See [`Answers::produced`].
    pub(crate) async fn produced(&mut self) -> Outcome<i64> {
        self.answers.produced().await
    }

    /// Whether the broker answers with itself: the first thing every client asks.
    pub(crate) async fn metadata(&mut self) -> Outcome<usize> {
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        Ok(self.call(METADATA, &request).await?.brokers.len())
    }

    /// Where the brokers are, and who leads and who is in sync of each partition of a topic.
    pub(crate) async fn leaders(&mut self, topic: &str) -> Outcome<(BTreeMap<i32, SocketAddr>, Vec<Led>)> {
        let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let response = self.call(METADATA, &request).await?;
        let address = |broker: &MetadataResponseBroker| {
            Ok((broker.node_id, SocketAddr::new(broker.host.parse()?, u16::try_from(broker.port)?)))
        };
        let brokers = response.brokers.iter().map(address).collect::<Outcome<_>>()?;
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let led = partitions.map(|partition| Led {
            leader: partition.leader_id,
            replicas: partition.replica_nodes,
            in_sync: partition.isr_nodes,
        });
        Ok((brokers, led.collect()))
    }

    /// Makes a topic with so many replicas as the cluster gives by itself.
    pub(crate) async fn create_replicated(&mut self, name: &str, partitions: usize) -> Outcome<()> {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions as i32,
            replication_factor: -1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MILLIS, validate_only: false };
        let response = self.call(CREATE_TOPICS, &request).await?;
        response.topics.iter().try_for_each(|topic| accepted("making a topic", topic.error_code))
    }

    /// Makes a topic as topics come, and waits until its partitions answer.
    pub(crate) async fn create_topic(&mut self, name: &str, partitions: usize) -> Outcome<()> {
        self.create_topic_with(name, partitions, &[]).await
    }

    /// Makes a topic with settings, and waits until its partitions answer.
    pub(crate) async fn create_topic_with(
        &mut self,
        name: &str,
        partitions: usize,
        settings: &[(&str, &str)],
    ) -> Outcome<()> {
        let setting =
            |(name, value): &(&str, &str)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions as i32,
            replication_factor: 1,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MILLIS, validate_only: false };
        let response = self.call(CREATE_TOPICS, &request).await?;
        response.topics.iter().try_for_each(|topic| accepted("making a topic", topic.error_code))?;
        // Kafka answers before the partitions have leaders.
        self.until_led(name, partitions).await
    }

    /// Waits until the partitions of a topic answer, all at once.
    pub(crate) async fn until_led(&mut self, name: &str, partitions: usize) -> Outcome<()> {
        let deadline = Instant::now() + Duration::from_millis(TIMEOUT_MILLIS as u64);
        while let Err(error) = self.count(name, partitions).await {
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Removes a topic.
    pub(crate) async fn delete_topic(&mut self, name: &str) -> Outcome<()> {
        let request =
            DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: TIMEOUT_MILLIS, ..Default::default() };
        let response = self.call(DELETE_TOPICS, &request).await?;
        response.responses.iter().try_for_each(|topic| accepted("removing a topic", topic.error_code))
    }

    /// Where the replicas of a topic's only partition shall be from now on.
    pub(crate) async fn reassign(&mut self, topic: &str, replicas: &[i32]) -> Outcome<()> {
        let partitions = vec![ReassignablePartition { partition_index: 0, replicas: Some(replicas.to_vec()) }];
        let topics = vec![ReassignableTopic { name: topic.into(), partitions }];
        let request = AlterPartitionReassignmentsRequest { timeout_ms: TIMEOUT_MILLIS, topics, ..Default::default() };
        let response = self.call(ALTER_PARTITION_REASSIGNMENTS, &request).await?;
        accepted("moving replicas", response.error_code)?;
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.into_iter().try_for_each(|partition| accepted("moving a replica", partition.error_code))
    }

    /// How many records the partitions of a topic hold together.
    pub(crate) async fn count(&mut self, topic: &str, partitions: usize) -> Outcome<u64> {
        let mut sum = 0;
        let all: Vec<i32> = (0..partitions as i32).collect();
        for some in all.chunks(PARTITIONS_A_REQUEST) {
            let latest =
                |index: &i32| ListOffsetsPartition { partition_index: *index, timestamp: -1, ..Default::default() };
            let partitions = some.iter().map(latest).collect();
            let topics = vec![ListOffsetsTopic { name: topic.into(), partitions }];
            let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
            let response = self.call(LIST_OFFSETS, &request).await?;
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                accepted("a question for offsets", partition.error_code)?;
                sum += partition.offset as u64;
            }
        }
        Ok(sum)
    }

    /// Fetches from these partitions, at these offsets, without waiting for more than there is.
    pub(crate) async fn fetch(
        &mut self,
        from: &[(String, i32, u64)],
        partition_bytes: usize,
        bytes: usize,
    ) -> Outcome<Vec<Fetched>> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (topic, partition, offset) in from {
            let partition = FetchPartition {
                partition: *partition,
                fetch_offset: *offset as i64,
                partition_max_bytes: partition_bytes as i32,
                ..Default::default()
            };
            match topics.last_mut().filter(|last| last.topic == topic.as_str()) {
                Some(last) => last.partitions.push(partition),
                None => topics.push(FetchTopic {
                    topic: topic.as_str().into(),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let request = FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: bytes as i32,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let response = self.call(FETCH, &request).await?;
        accepted("a fetch", response.error_code)?;
        let mut fetched = Vec::new();
        for topic in response.responses {
            for partition in topic.partitions {
                accepted("fetching from a partition", partition.error_code)?;
                let records = partition.records.unwrap_or_default();
                let records = records.into_bytes();
                fetched.push(Fetched { topic: topic.topic.to_string(), partition: partition.partition_index, records });
            }
        }
        Ok(fetched)
    }
}
