//! A whole connection: bytes come, requests are answered as a broker without topics would, and what is said
//! to the client is a sequence of frames. In the end no memory is held.

use broker::cluster::Advertised;
use broker::group::GroupConfig;
use broker::members::{Member, NodeState};
use broker::request::{
    AppendRefusal, Appended, Elected, EpochEnd, FoundOffset, NodeInfo, PartitionElection, PartitionRef, ReadPart,
    ReadRange, TopicPage, TopicRef,
};
use broker::{BrokerError, Members, Memory, Reply, Request, Settings};
use bytes::{Bytes, BytesMut};
use gateway::{Output, Seats, Session};
use kafka::codec::frame;
use kafka::{Context, Directory, KafkaSession};
use model::config::{Cleanup, Compression, StreamConfig};
use model::{LeaderEpoch, NodeId, Offset, ProducerId, Timestamp, TopicId, limit};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The other node leads everything.
struct TwoNodes;

impl Directory for TwoNodes {
    fn members(&self) -> Members {
        let endpoint = Advertised { protocol: "kafka".to_owned(), host: "host".to_owned(), port: 9092 };
        let member = |node| Member {
            node: NodeId(node),
            state: NodeState::Active,
            rack: None,
            version: 2,
            peer: None,
            endpoints: vec![endpoint.clone()],
        };
        Members { me: NodeId(1), version: 2, controller: Some(NodeId(2)), nodes: vec![member(1), member(2)] }
    }

    fn coordinator(&self, group: &str) -> Result<NodeId, BrokerError> {
        if group.len().is_multiple_of(2) { Ok(NodeId(2)) } else { Err(BrokerError::NotLeader(None)) }
    }

    fn leader_epoch(&self, _: &PartitionRef) -> Option<(Option<NodeId>, LeaderEpoch)> {
        Some((Some(NodeId(2)), LeaderEpoch(3)))
    }

    fn is_cut_off(&self) -> bool {
        true
    }

    fn nearest_replica(&self, partition: &PartitionRef, _: &str) -> Option<NodeId> {
        partition.partition.is_multiple_of(2).then_some(NodeId(2))
    }
}

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let memory = Memory::new(limit::MEMORY_BYTES_MIN);
    let mut session = KafkaSession::new(Context {
        node: NodeId(1),
        cluster: 7,
        host: "host".to_owned(),
        port: 9092,
        client: "client".to_owned(),
        random: || 5,
        idle: Duration::from_secs(600),
        fetch_places: Seats::new(100),
        memory: memory.clone(),
        counters: Arc::new(kafka::session::counters()),
        directory: Arc::new(TwoNodes),
    });
    let (mut input, mut said) = (BytesMut::from(data), BytesMut::new());
    let (mut broken, mut output) = (false, Vec::new());
    loop {
        let before = input.len();
        broken = broken || session.receive(&mut input, Instant::now()).is_err();
        let mut progress = input.len() < before;
        while let Some((id, request)) = session.next_request() {
            session.on_reply(id, reply(request), Instant::now());
            progress = true;
        }
        session.take_output(&mut output);
        for part in output.drain(..) {
            if let Output::Bytes(bytes) = part {
                said.extend_from_slice(&bytes);
            }
        }
        if !progress || broken || session.is_over() {
            break;
        }
    }
    while let Some(frame) = frame::split(&mut said, usize::MAX).expect("what we say is well formed") {
        assert!(frame.len() >= 4, "each answer has a correlation id");
    }
    assert!(said.is_empty(), "what we say is whole");
    drop(session);
    assert!(memory.pools().iter().all(|(_, pool)| pool.used() == 0));
}

fn reply(request: Request) -> Reply {
    let missing = BrokerError::UnknownTopic;
    match request {
        Request::Topics(query) => {
            Reply::Topics(query.topics.unwrap_or_default().iter().map(|_| Err(missing.clone())).collect())
        }
        Request::CreateTopics(topics) => Reply::TopicsCreated(topics.iter().map(|_| Err(missing.clone())).collect()),
        Request::DeleteTopics(topics) => Reply::TopicsDeleted(topics.iter().map(|_| Err(missing.clone())).collect()),
        Request::AlterTopics(topics) => Reply::TopicsAltered(topics.iter().map(|_| Ok(())).collect()),
        Request::AddPartitions(topics) => Reply::PartitionsAdded(topics.iter().map(|_| Ok(())).collect()),
        Request::ElectLeaders(query) => {
            let outcome = |partition: PartitionRef| match partition.partition % 3 {
                0 => PartitionElection { partition, outcome: Ok(Elected::Now) },
                1 => PartitionElection { partition, outcome: Ok(Elected::NotYet) },
                _ => PartitionElection { partition, outcome: Err(missing.clone()) },
            };
            let all = || vec![PartitionRef { topic: TopicRef::Name("a".to_owned()), partition: 1 }];
            Reply::LeadersElected(query.partitions.unwrap_or_else(all).into_iter().map(outcome).collect())
        }
        Request::Trim(parts) => Reply::Trimmed(parts.iter().map(|_| Ok(Offset(1))).collect()),
        Request::Sizes(_) => Reply::Sizes(Vec::new()),
        Request::Node => Reply::Node(NodeInfo {
            node: NodeId(1),
            folder: "folder".into(),
            disk: None,
            default_partitions: 1,
            replication: 3,
            auto_create_topics: true,
            groups: GroupConfig::default(),
            topic_defaults: Settings::default(),
            topics: 0,
        }),
        Request::Append(parts) => {
            let judge = |part: broker::request::AppendPart| {
                let config = StreamConfig {
                    cleanup: if part.bytes.len().is_multiple_of(2) { Cleanup::Compact } else { Cleanup::Delete },
                    compression: if part.bytes.len().is_multiple_of(3) {
                        Compression::Lz4
                    } else {
                        Compression::Producer
                    },
                    ..StreamConfig::default()
                };
                let refused = |error| AppendRefusal { error, start: None };
                let _ = (part.inspect)(&part.bytes, &config, Timestamp(1 << 40), 1 << 20).map_err(refused)?;
                if part.bytes.len().is_multiple_of(5) {
                    return Err(refused(BrokerError::NotLeader(None)));
                }
                Ok(Appended { base: Offset(3), start: Offset(1), duplicate: false })
            };
            Reply::Appended(parts.into_iter().map(judge).collect())
        }
        Request::Read(query) => {
            let topic = TopicId::default();
            let part = |range: &ReadRange| match range.from.partition.is_multiple_of(2) {
                true => Ok(ReadPart { topic, end: Offset(9), start: Offset(1), chunks: Vec::new(), diverges: None }),
                false => Err(BrokerError::NotLeader(Some(NodeId(2)))),
            };
            Reply::Read { parts: query.parts.iter().map(part).collect(), waited: Duration::ZERO }
        }
        Request::Offsets(queries) => {
            let found = |query: &broker::request::OffsetQuery| {
                (query.find)(&Bytes::from_static(b"nothing"), Timestamp(1), 1 << 20);
                Ok(FoundOffset { offset: Some(Offset(4)), timestamp: Some(Timestamp(5)), epoch: None })
            };
            Reply::Offsets(queries.iter().map(found).collect())
        }
        Request::EpochEnds(queries) => {
            Reply::EpochEnds(queries.iter().map(|_| Ok(EpochEnd { epoch: None, end: None })).collect())
        }
        Request::Lag(queries) => Reply::Lag(queries.iter().map(|_| Err(missing.clone())).collect()),
        // Not asked by Kafka's clients.
        Request::TopicPage(_) => Reply::TopicPage(TopicPage { topics: Vec::new(), more: false }),
        Request::NewProducer => Reply::NewProducer(Ok(ProducerId(1))),
        Request::Group(_) => Reply::Group(Err(BrokerError::Unavailable)),
        Request::DescribeGroups(groups) => {
            Reply::GroupsDescribed(groups.iter().map(|_| Err(missing.clone())).collect())
        }
        Request::CommitOffsets(commit) => Reply::OffsetsCommitted(commit.offsets.iter().map(|_| Ok(())).collect()),
        Request::FetchOffsets(fetches) => Reply::OffsetsFetched(fetches.iter().map(|_| Ok(Vec::new())).collect()),
        Request::DeleteOffsets(_) => Reply::OffsetsDeleted(Err(BrokerError::Unavailable)),
    }
}
