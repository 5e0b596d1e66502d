//! What a client of one of three nodes reads on the wire about the others.

use super::*;
use crate::codec::describe_cluster::DescribeClusterRequest;
use crate::codec::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::codec::find_coordinator::FindCoordinatorRequest;
use crate::codec::header::response_header_version;
use crate::codec::heartbeat::HeartbeatRequest;
use crate::codec::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::codec::message::Message;
use crate::codec::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::codec::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use crate::codec::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::codec::writer::Writer;
use crate::fake::{Fake, topic};
use batch::{BatchBuilder, Record};
use broker::BrokerError;
use broker::group::GroupError;
use broker::request::AppendRefusal;
use model::NodeId;
use std::time::Duration;

/// What a session of the first node answers, when the broker does what `reply` says.
fn told(body: impl Into<RequestBody>, version: i16, reply: impl Fn(&Request) -> Reply) -> ResponseBody {
    told_by(Fake::three(), body, version, reply).0
}

/// The same of a session that knows what a fake knows, and whether it is over then.
fn told_by(
    fake: Fake,
    body: impl Into<RequestBody>,
    version: i16,
    reply: impl Fn(&Request) -> Reply,
) -> (ResponseBody, bool) {
    let body = body.into();
    let api = body.api();
    let (mut said, is_over) = said_by(fake, body, version, reply);
    let mut reader = Reader::new(frame::split(&mut said, usize::MAX).unwrap().unwrap());
    assert_eq!(reader.i32().unwrap(), 7);
    if response_header_version(api, version) == 1 {
        reader.skip_tags().unwrap();
    }
    (ResponseBody::decode(api, version, reader).unwrap(), is_over)
}

/// The bytes that it says.
fn said_by(fake: Fake, body: RequestBody, version: i16, reply: impl Fn(&Request) -> Reply) -> (BytesMut, bool) {
    let (api, mut input) = (body.api(), BytesMut::new());
    let header = RequestHeader {
        api_key: api.number(),
        api_version: version,
        correlation_id: 7,
        client_id: Some("client".into()),
    };
    let content = |writer: &mut Writer<'_>| {
        header.encode(writer);
        body.encode(writer, version);
    };
    frame::write(&mut input, content).unwrap();
    let mut session = KafkaSession::new(fake.context());
    session.receive(&mut input, Instant::now()).unwrap();
    while let Some((id, request)) = session.next_request() {
        let reply = reply(&request);
        session.on_reply(id, reply, Instant::now());
    }
    let (mut output, mut said) = (Vec::new(), BytesMut::new());
    session.take_output(&mut output);
    for part in output {
        match part {
            Output::Bytes(bytes) => said.extend_from_slice(&bytes),
            Output::File(_) => panic!("nothing is read from files here"),
        }
    }
    (said, session.is_over())
}

#[test]
fn who_asks_the_former_coordinator_where_a_group_begins_is_made_to_look_for_the_new_one() {
    for version in OffsetFetchRequest::VERSIONS.iter() {
        let ask = |errors: [Option<BrokerError>; 2]| {
            let group = |name: &str| OffsetFetchRequestGroup { group_id: name.into(), ..Default::default() };
            let groups = vec![group("a"), group("b")];
            let request = OffsetFetchRequest { group_id: "a".into(), groups, ..Default::default() };
            let reply = |asked: &Request| {
                let Request::FetchOffsets(fetches) = asked else { panic!("another request") };
                let told = |error: &Option<BrokerError>| error.clone().map_or(Ok(Vec::new()), Err);
                Reply::OffsetsFetched(errors.iter().take(fetches.len()).map(told).collect())
            };
            said_by(Fake::three(), request.into(), version, reply)
        };
        let moving = || Some(BrokerError::Group(GroupError::CoordinatorMoving));
        let moved = || Some(BrokerError::Group(GroupError::CoordinatorMoved(NodeId(2))));
        let (said, over) = ask([moved(), None]);
        assert!(said.is_empty() && over, "{version}: no code says it to every client");
        let others = [[moving(), None], [Some(BrokerError::NotLeader(Some(NodeId(2)))), None], [None, None]];
        for errors in others {
            let (said, over) = ask(errors);
            assert!(!said.is_empty() && !over, "{version}");
        }
        if version >= 8 {
            assert!(ask([None, moved()]).1, "whichever group it is");
        }
    }
}

#[test]
fn who_is_cut_off_says_that_it_knows_nobody_and_sends_the_client_to_others() {
    let ask = |cut_off, coordinator: Option<u64>| {
        let fake = Fake { cut_off, coordinator: coordinator.map(NodeId), ..Fake::three() };
        let request = FindCoordinatorRequest { key: "group".into(), ..Default::default() };
        let (ResponseBody::FindCoordinator(found), over) = told_by(fake, request, 3, unasked) else { panic!() };
        (found.error_code, over)
    };
    let nobody = ErrorCode::CoordinatorNotAvailable.code();
    assert_eq!(ask(true, None), (nobody, true));
    assert_eq!(ask(false, None), (nobody, false), "there will be one");
    assert_eq!(ask(true, Some(2)), (0, false), "it knows somebody");
}

fn unasked(_: &Request) -> Reply {
    panic!("the broker is not asked")
}

/// Another node leads whatever is asked for.
fn elsewhere(request: &Request) -> Reply {
    let error = || BrokerError::NotLeader(Some(NodeId(3)));
    match request {
        Request::Append(parts) => {
            let refused = parts.iter().map(|_| Err(AppendRefusal { error: error(), start: None }));
            Reply::Appended(refused.collect())
        }
        Request::Read(query) => {
            let parts = query.parts.iter().map(|_| Err(error())).collect();
            Reply::Read { parts, waited: Duration::ZERO }
        }
        Request::Offsets(queries) => Reply::Offsets(queries.iter().map(|_| Err(error())).collect()),
        Request::Group(_) => Reply::Group(Err(error())),
        other => panic!("{other:?} is not asked"),
    }
}

#[test]
fn every_version_of_find_coordinator_names_the_node() {
    for version in FindCoordinatorRequest::VERSIONS.iter() {
        let coordinator_keys = vec!["g".into()];
        let request = FindCoordinatorRequest { key: "g".into(), coordinator_keys, ..Default::default() };
        let ResponseBody::FindCoordinator(response) = told(request, version, unasked) else { panic!("another answer") };
        let place = match response.coordinators.first() {
            Some(one) => (one.node_id, one.host.clone(), one.port),
            None => (response.node_id, response.host, response.port),
        };
        assert_eq!(place, (3, "node-3".into(), 9093), "{version}");
    }
}

#[test]
fn metadata_and_describe_cluster_name_the_same_nodes() {
    let names = MetadataRequestTopic { name: Some("a".into()), ..MetadataRequestTopic::default() };
    let described = |_: &Request| Reply::Topics(vec![Ok(topic("a", 1))]);
    for version in MetadataRequest::VERSIONS.iter() {
        let request = MetadataRequest { topics: Some(vec![names.clone()]), ..MetadataRequest::default() };
        let ResponseBody::Metadata(metadata) = told(request, version, described) else { panic!("another answer") };
        let ResponseBody::DescribeCluster(cluster) = told(DescribeClusterRequest::default(), 2, unasked) else {
            panic!("another answer")
        };
        let nodes: Vec<_> = metadata.brokers.iter().map(|node| (node.node_id, node.host.clone(), node.port)).collect();
        let again: Vec<_> = cluster.brokers.iter().map(|node| (node.broker_id, node.host.clone(), node.port)).collect();
        assert_eq!(nodes, again, "{version}");
        assert_eq!(nodes.len(), 3);
        assert_eq!(cluster.controller_id, 1);
        assert_eq!(metadata.controller_id, if version == 0 { -1 } else { 1 });
        assert_eq!(metadata.topics[0].partitions[0].leader_id, 1);
    }
}

#[test]
fn who_leads_elsewhere_is_on_the_wire_from_the_first_version_that_has_it() {
    let record = Record { value: Some(Bytes::from_static(b"v")), ..Record::default() };
    let batch = BatchBuilder { records: vec![record], ..BatchBuilder::default() }.encode();
    let not_leader = ErrorCode::NotLeaderOrFollower.code();
    for (version, leader) in [(9, -1), (10, 3), (12, 3)] {
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch.clone()) }];
        let topic_data = vec![TopicProduceData { name: "elsewhere".into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, topic_data, ..ProduceRequest::default() };
        let ResponseBody::Produce(response) = told(request, version, elsewhere) else { panic!("another answer") };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.current_leader.leader_id), (not_leader, leader), "{version}");
        assert_eq!(response.node_endpoints.len(), usize::from(leader == 3), "{version}");
    }
    let partitions = vec![FetchPartition::default()];
    let topics = vec![FetchTopic { topic: "elsewhere".into(), partitions, ..FetchTopic::default() }];
    let request = FetchRequest { topics, max_bytes: 1, ..FetchRequest::default() };
    let ResponseBody::Fetch(response) = told(request, 12, elsewhere) else { panic!("another answer") };
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.current_leader.leader_id), (not_leader, -1));
}

#[test]
fn other_requests_are_sent_to_look_again() {
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() }];
    let topics = vec![ListOffsetsTopic { name: "elsewhere".into(), partitions }];
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    let ResponseBody::ListOffsets(response) = told(request, 7, elsewhere) else { panic!("another answer") };
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NotLeaderOrFollower.code());
    let request = HeartbeatRequest { group_id: "g".into(), ..HeartbeatRequest::default() };
    let ResponseBody::Heartbeat(response) = told(request, 4, elsewhere) else { panic!("another answer") };
    assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
}
